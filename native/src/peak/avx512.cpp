#include <immintrin.h>

#include "peak.h"

// As in avx2.cpp.
#define SPARING_OPAQUE(x) __asm__ volatile("" : "+v"(x))

namespace sparing {
namespace {

constexpr int sums = 14;

uint64_t low64(__m512i x) {
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm512_castsi512_si128(x)));
}

uint64_t fp32(int64_t rounds) {
  __m512 sum[sums];
  for (auto& each : sum) each = _mm512_setzero_ps();
  __m512 x = _mm512_set1_ps(0.5f);
  for (int64_t round = 0; round < rounds; ++round) {
    SPARING_OPAQUE(x);
    for (auto& each : sum) each = _mm512_fmadd_ps(x, x, each);
  }
  __m512 all = sum[0];
  for (int i = 1; i < sums; ++i) all = _mm512_add_ps(all, sum[i]);
  return low64(_mm512_castps_si512(all));
}

uint64_t bf16(int64_t rounds) {
  __m512 sum[sums];
  for (auto& each : sum) each = _mm512_setzero_ps();
  __m512i x = _mm512_set1_epi16(0x3f00);
  for (int64_t round = 0; round < rounds; ++round) {
    SPARING_OPAQUE(x);
    for (auto& each : sum)
      each = _mm512_dpbf16_ps(each, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(x));
  }
  __m512 all = sum[0];
  for (int i = 1; i < sums; ++i) all = _mm512_add_ps(all, sum[i]);
  return low64(_mm512_castps_si512(all));
}

uint64_t int8(int64_t rounds) {
  __m512i sum[sums];
  for (auto& each : sum) each = _mm512_setzero_si512();
  __m512i x = _mm512_set1_epi8(3);
  for (int64_t round = 0; round < rounds; ++round) {
    SPARING_OPAQUE(x);
    for (auto& each : sum) each = _mm512_dpbusd_epi32(each, x, x);
  }
  __m512i all = sum[0];
  for (int i = 1; i < sums; ++i) all = _mm512_add_epi32(all, sum[i]);
  return low64(all);
}

uint64_t read(const void* data, int64_t bytes) {
  const auto* words = static_cast<const char*>(data);
  __m512i some[8];
  for (auto& each : some) each = _mm512_setzero_si512();
  for (int64_t at = 0; at < bytes; at += 512)
    for (int j = 0; j < 8; ++j)
      some[j] = _mm512_or_si512(some[j], _mm512_load_si512(words + at + 64 * j));
  for (int j = 1; j < 8; ++j) some[0] = _mm512_or_si512(some[0], some[j]);
  return low64(some[0]);
}

}  // namespace

// Four-bit codes are widened to bytes for the same instruction.
const Peaks peaks_avx512 = {{fp32, int64_t{2} * 16 * sums},
                            {bf16, int64_t{2} * 32 * sums},
                            {int8, int64_t{2} * 64 * sums},
                            {int8, int64_t{2} * 64 * sums},
                            read};

}  // namespace sparing
