// Sixteen float32 lanes of AVX-512 F, BW, VL and DQ. For files built with those flags only;
// nothing here has external linkage, so no such code can reach the rest of the program.
// SPARING_SIMDE replaces the instructions by portable code, for tests on other processors.
#pragma once

#ifdef SPARING_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include "avx512_missing.h"  // tests/kernels
#else
#include <immintrin.h>
#endif

#include <cstdint>

namespace sparing {
namespace {

using F = __m512;
constexpr int64_t W = 16;

inline F zero() { return _mm512_setzero_ps(); }
inline F all(float x) { return _mm512_set1_ps(x); }
inline F load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, F x) { _mm512_storeu_ps(p, x); }
inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F min(F a, F b) { return _mm512_min_ps(a, b); }

// Lanes below `count` on.
inline __mmask16 first(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
// The first `count` floats, the other lanes zero; memory beyond them is not touched.
inline F load_part(const float* p, int64_t count) {
  return _mm512_maskz_loadu_ps(first(count), p);
}
inline void store_part(float* p, F x, int64_t count) {
  _mm512_mask_storeu_ps(p, first(count), x);
}
// x in the lanes below `count`, zero elsewhere.
inline F keep(F x, int64_t count) { return _mm512_maskz_mov_ps(first(count), x); }

// The two halves added lane by lane.
inline __m256 halves(F x) {
  return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}
// The sums of four vectors: halves, then ((0+1)+(2+3)) + ((4+5)+(6+7)).
inline void sum4(F a, F b, F c, F d, float* out) {
  const __m256 t = _mm256_hadd_ps(_mm256_hadd_ps(halves(a), halves(b)),
                                  _mm256_hadd_ps(halves(c), halves(d)));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(t), _mm256_extractf128_ps(t, 1)));
}

inline F from_bf16(const uint16_t* p) {
  const __m512i wide =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
inline F from_half(const void* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
inline F from_int8(const int8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
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
  out[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(nibbles(p)));
}

inline F round(F x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// 2^n for whole n in [-126, 127].
inline F power2(F n) {
  const __m512i bits = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
}

}  // namespace
}  // namespace sparing
