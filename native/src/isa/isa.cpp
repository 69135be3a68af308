#include "isa.h"

namespace sparing {

bool can_run(Isa isa) {
  if (isa == Isa::reference) return true;
#ifdef SPARING_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
  return false;
#endif
}

Isa best_isa() {
  if (can_run(Isa::avx512)) return Isa::avx512;
  if (can_run(Isa::avx2)) return Isa::avx2;
  return Isa::reference;
}

}  // namespace sparing
