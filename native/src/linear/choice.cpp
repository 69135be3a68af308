#include "linear.h"
#include "packed.h"

namespace sparing {

extern const Linear linear_reference;
extern const PackedLinear packed_reference;
#ifdef SPARING_X86
extern const Linear linear_avx2, linear_avx512;
extern const PackedLinear packed_avx2, packed_avx512;
#endif
#ifdef SPARING_ARM
extern const Linear linear_neon;
extern const PackedLinear packed_neon, packed_dotprod, packed_i8mm;
#endif

const Linear& linear_for(Isa isa) {
#ifdef SPARING_X86
  if (isa == Isa::avx512) return linear_avx512;
  if (isa == Isa::avx2) return linear_avx2;
#endif
#ifdef SPARING_ARM
  if (isa != Isa::reference) return linear_neon;
#endif
  (void)isa;
  return linear_reference;
}

const PackedLinear& packed_linear_for(Isa isa) {
#ifdef SPARING_X86
  if (isa == Isa::avx512) return packed_avx512;
  if (isa == Isa::avx2) return packed_avx2;
#endif
#ifdef SPARING_ARM
  if (isa == Isa::i8mm) return packed_i8mm;
  if (isa == Isa::dotprod) return packed_dotprod;
  if (isa == Isa::neon) return packed_neon;
#endif
  (void)isa;
  return packed_reference;
}

}  // namespace sparing
