#include "attention.h"

namespace sparing {

void attention_reference(const AttentionTask& task);
#ifdef SPARING_X86
void attention_avx2(const AttentionTask& task);
void attention_avx512(const AttentionTask& task);
#endif
#ifdef SPARING_ARM
void attention_neon(const AttentionTask& task);
#endif

Attention attention_for(Isa isa) {
#ifdef SPARING_X86
  if (isa == Isa::avx512) return attention_avx512;
  if (isa == Isa::avx2) return attention_avx2;
#endif
#ifdef SPARING_ARM
  if (isa == Isa::neon) return attention_neon;
#endif
  (void)isa;
  return attention_reference;
}

}  // namespace sparing
