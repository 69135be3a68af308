// Stand-ins for the AVX-512 intrinsics that SIMDe 0.7 lacks, each a loop over lanes written from
// the pseudo-code in Intel's intrinsics guide.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

using __mmask16 = std::uint16_t;

namespace avx512_missing {

template <class To, class From>
inline To bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "the same number of bytes");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
struct Floats { float at[16]; };
struct Ints { std::int32_t at[16]; };

inline simde__m512 maskz_loadu_ps(__mmask16 mask, const void* from) {
  Floats out = {};
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) out.at[i] = static_cast<const float*>(from)[i];
  return bits<simde__m512>(out);
}
inline void mask_storeu_ps(void* to, __mmask16 mask, simde__m512 a) {
  const Floats x = bits<Floats>(a);
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) static_cast<float*>(to)[i] = x.at[i];
}
inline simde__m256 extractf32x8_ps(simde__m512 a, int half) {
  const Floats x = bits<Floats>(a);
  simde__m256 out;
  std::memcpy(&out, x.at + 8 * half, sizeof out);
  return out;
}
template <class Small, class Vector>
inline simde__m512i widen(const Vector& a) {
  Small from[16];
  static_assert(sizeof from == sizeof a, "sixteen elements");
  std::memcpy(from, &a, sizeof from);
  Ints out;
  for (int i = 0; i < 16; ++i) out.at[i] = from[i];
  return bits<simde__m512i>(out);
}
inline simde__m512 cvtepi32_ps(simde__m512i a) {
  const Ints x = bits<Ints>(a);
  Floats out;
  for (int i = 0; i < 16; ++i) out.at[i] = static_cast<float>(x.at[i]);
  return bits<simde__m512>(out);
}
inline simde__m512i cvtps_epi32(simde__m512 a) {
  const Floats x = bits<Floats>(a);
  Ints out;
  for (int i = 0; i < 16; ++i) out.at[i] = static_cast<std::int32_t>(std::nearbyint(x.at[i]));
  return bits<simde__m512i>(out);
}
inline simde__m512 nearest_ps(simde__m512 a) {
  Floats x = bits<Floats>(a);
  for (float& value : x.at) value = std::nearbyint(value);
  return bits<simde__m512>(x);
}
inline simde__m512i inserti64x4(simde__m512i a, simde__m256i half, int at) {
  Ints out = bits<Ints>(a);
  std::memcpy(out.at + 8 * at, &half, sizeof half);
  return bits<simde__m512i>(out);
}
inline simde__m512i sllv_epi32(simde__m512i a, simde__m512i by) {
  Ints x = bits<Ints>(a);
  const Ints shift = bits<Ints>(by);
  for (int i = 0; i < 16; ++i)
    x.at[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(x.at[i]) << shift.at[i]);
  return bits<simde__m512i>(x);
}
inline simde__m512i srai_epi32(simde__m512i a, unsigned by) {
  Ints x = bits<Ints>(a);
  for (std::int32_t& value : x.at) value >>= by;
  return bits<simde__m512i>(x);
}

inline simde__m512 cvtph_ps(simde__m256i a) {
  std::uint16_t from[16];
  std::memcpy(from, &a, sizeof from);
  Floats out;
  for (int i = 0; i < 16; ++i) {
    const float size = (from[i] & 0x7c00) == 0
                           ? std::ldexp(static_cast<float>(from[i] & 1023), -24)
                           : std::ldexp(static_cast<float>((from[i] & 1023) + 1024),
                                        (from[i] >> 10 & 31) - 25);
    out.at[i] = from[i] & 0x8000 ? -size : size;
  }
  return bits<simde__m512>(out);
}
inline float reduce_max_ps(simde__m512 a) {
  const Floats x = bits<Floats>(a);
  float most = x.at[0];
  for (const float value : x.at) most = most > value ? most : value;
  return most;
}
inline std::int32_t reduce_add_epi32(simde__m512i a) {
  const Ints x = bits<Ints>(a);
  std::int32_t sum = 0;
  for (const std::int32_t value : x.at) sum += value;
  return sum;
}
inline simde__m256i cvtneps_pbh(simde__m512 a) {
  std::uint32_t from[16];
  std::memcpy(from, &a, sizeof from);
  std::uint16_t to[16];
  for (int i = 0; i < 16; ++i) {
    const bool nan = (from[i] & 0x7fffffff) > 0x7f800000;
    const std::uint32_t even = from[i] >> 16 & 1;
    to[i] = static_cast<std::uint16_t>(nan ? from[i] >> 16 | 64 : (from[i] + 0x7fff + even) >> 16);
  }
  simde__m256i out;
  std::memcpy(&out, to, sizeof out);
  return out;
}

}  // namespace avx512_missing

#define _mm512_maskz_loadu_ps avx512_missing::maskz_loadu_ps
#define _mm512_mask_storeu_ps avx512_missing::mask_storeu_ps
#define _mm512_extractf32x8_ps avx512_missing::extractf32x8_ps
#define _mm512_cvtepu16_epi32(a) avx512_missing::widen<std::uint16_t>(a)
#define _mm512_cvtepi8_epi32(a) avx512_missing::widen<std::int8_t>(a)
#define _mm512_cvtepi32_ps avx512_missing::cvtepi32_ps
#define _mm512_cvtps_epi32 avx512_missing::cvtps_epi32
#undef _mm512_inserti64x4
#define _mm512_inserti64x4 avx512_missing::inserti64x4
#undef _mm512_sllv_epi32
#define _mm512_sllv_epi32 avx512_missing::sllv_epi32
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 avx512_missing::srai_epi32
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps(a, mode) avx512_missing::nearest_ps(a)
#define _mm512_cvtph_ps avx512_missing::cvtph_ps
#define _mm512_reduce_max_ps avx512_missing::reduce_max_ps
#define _mm512_reduce_add_epi32 avx512_missing::reduce_add_epi32
#define _mm512_cvtneps_pbh avx512_missing::cvtneps_pbh
