#include <immintrin.h>

#include "peak.h"

// An opaque use of a register, of no instructions: without it the compiler would compute the same
// product once and take it out of the loop.
#define SPARING_OPAQUE(x) __asm__ volatile("" : "+x"(x))

namespace sparing {
namespace {

// Enough independent sums to cover the latency of every instruction used, and to leave registers
// for the operands.
constexpr int sums = 10;

uint64_t low64(__m256i x) {
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm256_castsi256_si128(x)));
}

uint64_t fp32(int64_t rounds) {
  __m256 sum[sums];
  for (auto& each : sum) each = _mm256_setzero_ps();
  __m256 x = _mm256_set1_ps(0.5f);
  for (int64_t round = 0; round < rounds; ++round) {
    SPARING_OPAQUE(x);
    for (auto& each : sum) each = _mm256_fmadd_ps(x, x, each);
  }
  __m256 all = sum[0];
  for (int i = 1; i < sums; ++i) all = _mm256_add_ps(all, sum[i]);
  return low64(_mm256_castps_si256(all));
}

uint64_t int8(int64_t rounds) {
  __m256i sum[sums];
  for (auto& each : sum) each = _mm256_setzero_si256();
  __m256i x = _mm256_set1_epi8(3);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round)
    for (auto& each : sum) {
      SPARING_OPAQUE(x);
      each = _mm256_add_epi32(each, _mm256_madd_epi16(_mm256_maddubs_epi16(x, x), ones));
    }
  __m256i all = sum[0];
  for (int i = 1; i < sums; ++i) all = _mm256_add_epi32(all, sum[i]);
  return low64(all);
}

// Products of 4-bit codes are summed in 16 bits eight deep before they are widened.
uint64_t int4(int64_t rounds) {
  __m256i sum[4];
  for (auto& each : sum) each = _mm256_setzero_si256();
  __m256i x = _mm256_set1_epi8(3);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round) {
    __m256i narrow[4];
    for (auto& each : narrow) each = _mm256_setzero_si256();
    for (int depth = 0; depth < 8; ++depth)
      for (auto& each : narrow) {
        SPARING_OPAQUE(x);
        each = _mm256_add_epi16(each, _mm256_maddubs_epi16(x, x));
      }
    for (int i = 0; i < 4; ++i) sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(narrow[i], ones));
  }
  __m256i all = sum[0];
  for (int i = 1; i < 4; ++i) all = _mm256_add_epi32(all, sum[i]);
  return low64(all);
}

uint64_t read(const void* data, int64_t bytes) {
  const auto* words = static_cast<const __m256i*>(data);
  __m256i some[8];
  for (auto& each : some) each = _mm256_setzero_si256();
  for (int64_t i = 0; i < bytes / 32; i += 8) {
    // The hardware's own prefetch stops at the end of a page.
    _mm_prefetch(reinterpret_cast<const char*>(words + i) + 4096, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(words + i) + 4160, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(words + i) + 4224, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(words + i) + 4288, _MM_HINT_T0);
    for (int j = 0; j < 8; ++j) some[j] = _mm256_or_si256(some[j], _mm256_load_si256(words + i + j));
  }
  for (int j = 1; j < 8; ++j) some[0] = _mm256_or_si256(some[0], some[j]);
  return low64(some[0]);
}

}  // namespace

const Peaks peaks_avx2 = {{fp32, int64_t{2} * 8 * sums},
                          {nullptr, 0},
                          {int8, int64_t{2} * 32 * sums},
                          {int4, int64_t{2} * 32 * 8 * 4},
                          read};

}  // namespace sparing
