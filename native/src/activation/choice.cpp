#include "activation.h"

namespace sparing {

Activate activation_reference(Activation kind);
#ifdef SPARING_X86
Activate activation_avx2(Activation kind);
Activate activation_avx512(Activation kind);
#endif
#ifdef SPARING_ARM
Activate activation_neon(Activation kind);
#endif

Activate activation_for(Isa isa, Activation kind) {
#ifdef SPARING_X86
  if (isa == Isa::avx512) return activation_avx512(kind);
  if (isa == Isa::avx2) return activation_avx2(kind);
#endif
#ifdef SPARING_ARM
  if (isa != Isa::reference) return activation_neon(kind);
#endif
  (void)isa;
  return activation_reference(kind);
}

}  // namespace sparing
