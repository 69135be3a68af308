#include "isa.h"

#ifdef SPARING_X86
#include <cpuid.h>
#elif defined(SPARING_ARM) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace sparing {

#ifdef SPARING_X86
namespace {

bool has_f16c() {  // older compilers do not know it by name
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

}  // namespace

bool can_run(Isa isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    has_f16c();
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
  return isa == Isa::reference;
}
#elif defined(SPARING_ARM)
namespace {

bool has_dotprod() {
#ifdef __linux__
  return getauxval(AT_HWCAP) & (1ul << 20);  // HWCAP_ASIMDDP
#elif defined(__ARM_FEATURE_DOTPROD)
  return true;
#else
  return false;
#endif
}

bool has_i8mm() {
#ifdef __linux__
  return getauxval(AT_HWCAP2) & (1ul << 13);  // HWCAP2_I8MM
#elif defined(__ARM_FEATURE_MATMUL_INT8)
  return true;
#else
  return false;
#endif
}

}  // namespace

bool can_run(Isa isa) {
  if (isa == Isa::i8mm) return has_i8mm() && has_dotprod();
  if (isa == Isa::dotprod) return has_dotprod();
  return isa == Isa::neon || isa == Isa::reference;  // every 64-bit Arm has it
}
#else
bool can_run(Isa isa) { return isa == Isa::reference; }
#endif

Isa best_isa() {
  constexpr Isa best_first[] = {Isa::avx512, Isa::avx2, Isa::i8mm, Isa::dotprod,
                                Isa::neon};
  for (const Isa isa : best_first)
    if (can_run(isa)) return isa;
  return Isa::reference;
}

}  // namespace sparing
