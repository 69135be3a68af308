#include "isa.h"

namespace sparing {

#ifdef SPARING_X86
bool can_run(Isa isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
  return isa == Isa::reference;
}
#elif defined(SPARING_ARM)
bool can_run(Isa isa) {
  return isa == Isa::neon || isa == Isa::reference;  // every 64-bit Arm has it
}
#else
bool can_run(Isa isa) { return isa == Isa::reference; }
#endif

Isa best_isa() {
  constexpr Isa best_first[] = {Isa::avx512, Isa::avx2, Isa::neon};
  for (const Isa isa : best_first)
    if (can_run(isa)) return isa;
  return Isa::reference;
}

}  // namespace sparing
