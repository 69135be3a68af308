#include "kernels.h"

namespace sparing {

extern const DrawKernels draw_reference;
#ifdef SPARING_X86
extern const DrawKernels draw_avx2;
extern const DrawKernels draw_avx512;
#endif
#ifdef SPARING_ARM
extern const DrawKernels draw_neon;
#endif

const DrawKernels& draw_kernels_for(Isa isa) {
#ifdef SPARING_X86
  if (isa == Isa::avx512) return draw_avx512;
  if (isa == Isa::avx2) return draw_avx2;
#endif
#ifdef SPARING_ARM
  if (isa != Isa::reference) return draw_neon;
#endif
  (void)isa;
  return draw_reference;
}

}  // namespace sparing
