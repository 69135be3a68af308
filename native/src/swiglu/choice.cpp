#include "swiglu.h"

namespace sparing {

void swiglu_reference(float* gate, const float* up, int64_t count);
#ifdef SPARING_X86
void swiglu_avx2(float* gate, const float* up, int64_t count);
void swiglu_avx512(float* gate, const float* up, int64_t count);
#endif
#ifdef SPARING_ARM
void swiglu_neon(float* gate, const float* up, int64_t count);
#endif

Swiglu swiglu_for(Isa isa) {
#ifdef SPARING_X86
  if (isa == Isa::avx512) return swiglu_avx512;
  if (isa == Isa::avx2) return swiglu_avx2;
#endif
#ifdef SPARING_ARM
  if (isa == Isa::neon) return swiglu_neon;
#endif
  (void)isa;
  return swiglu_reference;
}

}  // namespace sparing
