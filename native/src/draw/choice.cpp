#include "kernels.h"

namespace sparing {

extern const DrawKernels draw_reference;
#ifdef SPARING_X86
extern const DrawKernels draw_avx2;
extern const DrawKernels draw_avx512;
#endif

const DrawKernels& draw_kernels_for(Isa isa) {
#ifdef SPARING_X86
  if (isa == Isa::avx512) return draw_avx512;
  if (isa == Isa::avx2) return draw_avx2;
#endif
  (void)isa;
  return draw_reference;
}

}  // namespace sparing
