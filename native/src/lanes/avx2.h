// Eight float32 lanes of AVX2, FMA and F16C. For files built with those flags only; nothing here has
// external linkage, so no such code can reach the rest of the program.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace sparing {
namespace {

using F = __m256;
constexpr int64_t W = 8;

inline F zero() { return _mm256_setzero_ps(); }
inline F all(float x) { return _mm256_set1_ps(x); }
inline F load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, F x) { _mm256_storeu_ps(p, x); }
inline F add(F a, F b) { return _mm256_add_ps(a, b); }
inline F mul(F a, F b) { return _mm256_mul_ps(a, b); }
inline F div(F a, F b) { return _mm256_div_ps(a, b); }
inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline F max(F a, F b) { return _mm256_max_ps(a, b); }
inline F min(F a, F b) { return _mm256_min_ps(a, b); }

// Lanes below `count` on.
inline __m256i first(int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
// The first `count` floats, the other lanes zero; memory beyond them is not touched.
inline F load_part(const float* p, int64_t count) { return _mm256_maskload_ps(p, first(count)); }
inline void store_part(float* p, F x, int64_t count) { _mm256_maskstore_ps(p, first(count), x); }
// x in the lanes below `count`, zero elsewhere.
inline F keep(F x, int64_t count) { return _mm256_and_ps(x, _mm256_castsi256_ps(first(count))); }

// The sums of four vectors, each ((0+1)+(2+3)) + ((4+5)+(6+7)).
inline void sum4(F a, F b, F c, F d, float* out) {
  const F t = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
}

inline F from_bf16(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline F from_half(const void* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline F from_int8(const int8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
// Sixteen codes from eight bytes, as sixteen signed bytes in column order.
inline __m128i nibbles(const uint8_t* p) {
  const __m128i raw = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  const __m128i mask = _mm_set1_epi8(15);
  const __m128i low = _mm_and_si128(raw, mask);
  const __m128i high = _mm_and_si128(_mm_srli_epi16(raw, 4), mask);
  return _mm_sub_epi8(_mm_unpacklo_epi8(low, high), _mm_set1_epi8(8));
}
// Sixteen int4 weights as 16 / W vectors.
inline void from_int4(const uint8_t* p, F* out) {
  const __m128i codes = nibbles(p);
  out[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
  out[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(codes, 8)));
}

inline F round(F x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^n for whole n in [-126, 127].
inline F power2(F n) {
  const __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}

}  // namespace
}  // namespace sparing
