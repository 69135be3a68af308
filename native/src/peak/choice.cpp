#include "peak.h"

namespace sparing {

const Peaks& peaks_for(Isa isa) {
#ifdef SPARING_X86
  // AVX-512 without VNNI and BF16 has no loops of its own: its int8 and bf16 limits are unknown.
  if (isa == Isa::avx512 && __builtin_cpu_supports("avx512vnni") &&
      __builtin_cpu_supports("avx512bf16"))
    return peaks_avx512;
  if (isa == Isa::avx512 || isa == Isa::avx2) return peaks_avx2;
#endif
  (void)isa;
  return peaks_reference;
}

}  // namespace sparing
