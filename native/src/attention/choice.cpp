#include "attention.h"

namespace sparing {

extern const Attention attention_reference;
#ifdef SPARING_X86
extern const Attention attention_avx2;
extern const Attention attention_avx512;
#endif
#ifdef SPARING_ARM
extern const Attention attention_neon;
#endif

const Attention& attention_for(Isa isa) {
#ifdef SPARING_X86
  if (isa == Isa::avx512) return attention_avx512;
  if (isa == Isa::avx2) return attention_avx2;
#endif
#ifdef SPARING_ARM
  if (isa != Isa::reference) return attention_neon;
#endif
  (void)isa;
  return attention_reference;
}

}  // namespace sparing
