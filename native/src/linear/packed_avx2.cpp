#include "packed.h"

#include "../lanes/avx2.h"

namespace sparing {
namespace {

using I = __m256i;
constexpr Layout layout = Layout::eights;
constexpr int64_t ahead = 2048;  // bytes; memory answers by the time the codes are there

inline F to_float(I x) { return _mm256_cvtepi32_ps(x); }
inline I load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void fetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p) + ahead, _MM_HINT_T0);
}
// Four codes of a row in every lane.
inline I four(const int8_t* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm256_set1_epi32(bits);
}

// Keeps the compiler from adding products to each other first, which needs more registers than
// there are: a quarter faster.
inline void stay(I (&sum)[2]) { asm("" : "+x"(sum[0]), "+x"(sum[1])); }

// Sums in 16 bits. A product of two pairs is within 15 * 127 * 2; less the zero point, which
// `start` takes off, within 8 * 127 * 2: sixteen of them fit, whatever wraps around between.
template <int R, int COLUMNS>
inline void nibble_sums(const uint8_t* codes, int64_t group, const int8_t* const* x, int64_t d,
                        const int32_t* const* start, int64_t s, I (&total)[R][2]) {
  const I low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) total[r][0] = total[r][1] = _mm256_setzero_si256();
  for (const int64_t end = d + group; d < end; d += COLUMNS, ++s, codes += 8 * COLUMNS) {
    I sum[R][2];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_set1_epi32(start[r][s]);
#pragma GCC unroll 16
    for (int k = 0; k < COLUMNS; k += 4) {
      if (k % 8 == 0) fetch(codes + 8 * k);
      const I both = load_bytes(codes + 8 * k);
      const I first = _mm256_and_si256(both, low);
      const I second = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const I row = four(x[r] + d + k);
        sum[r][0] = _mm256_add_epi16(sum[r][0], _mm256_maddubs_epi16(first, row));
        sum[r][1] = _mm256_add_epi16(sum[r][1], _mm256_maddubs_epi16(second, row));
        stay(sum[r]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c)
        total[r][c] = _mm256_add_epi32(total[r][c], _mm256_madd_epi16(sum[r][c], ones));
  }
}

// |w| times x with the sign of w: a pair is within 128 * 127 * 2, which 16 bits hold.
template <int R>
inline void byte_sums(const uint8_t* codes, int64_t group, const int8_t* const* x, int64_t d,
                      I (&total)[R][2]) {
  const I ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) total[r][0] = total[r][1] = _mm256_setzero_si256();
  for (const int64_t end = d + group; d < end; d += 4, codes += 64) {
    fetch(codes);
    I code[2], size[2];
#pragma GCC unroll 2
    for (int c = 0; c < 2; ++c) {
      code[c] = load_bytes(codes + 32 * c);
      size[c] = _mm256_abs_epi8(code[c]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const I row = four(x[r] + d);
#pragma GCC unroll 2
      for (int c = 0; c < 2; ++c) {
        const I pairs = _mm256_maddubs_epi16(size[c], _mm256_sign_epi8(row, code[c]));
        total[r][c] = _mm256_add_epi32(total[r][c], _mm256_madd_epi16(pairs, ones));
      }
      stay(total[r]);
    }
  }
}

template <int R, Kind KIND>
inline void group_sums(const uint8_t* codes, int64_t group, const int8_t* const* x, int64_t d,
                       const int32_t* const* start, int64_t s, I (&total)[R][2]) {
  if (KIND == Kind::int8)
    byte_sums<R>(codes, group, x, d, total);
  else if (group >= 64)
    nibble_sums<R, 64>(codes, group, x, d, start, s, total);
  else if (group == 32)
    nibble_sums<R, 32>(codes, group, x, d, start, s, total);
  else
    nibble_sums<R, 16>(codes, group, x, d, start, s, total);
}

template <Kind KIND>
inline void numbers(const uint8_t* panel, int64_t d, F* out) {
  if (KIND == Kind::fp32) {
    fetch(panel + d * 64);
    out[0] = load(reinterpret_cast<const float*>(panel) + d * 16);
    out[1] = load(reinterpret_cast<const float*>(panel) + d * 16 + 8);
    return;
  }
  if (d % 2 == 0) fetch(panel + d * 32);  // once a line: a fifth faster
  const I both = load_bytes(panel + d * 32);
  out[0] = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
  out[1] = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(-65536)));
}

}  // namespace
}  // namespace sparing

#include "packed_body.h"

namespace sparing {
namespace {

template <int R, Kind KIND>
inline void any_tile(const Matrix& w, const uint8_t* panel, const Rows& rows, int64_t n,
                     F (&sum)[R][C]) {
  if (KIND == Kind::fp32 || KIND == Kind::bf16)
    tile_of_numbers<R, KIND>(w, panel, rows.x + n * w.D, sum);
  else
    tile_of<R, KIND>(w, panel, rows, n, sum);
}

// Largest size of a group's numbers; NaN or infinite where one of them is not finite.
inline float most_of(const float* x, int64_t group) {
  const F sign = _mm256_set1_ps(-0.0f);
  F most = zero(), odd = zero();
  for (int64_t k = 0; k < group; k += 8) {
    const F size = _mm256_andnot_ps(sign, load(x + k));
    most = max(most, size);
    odd = _mm256_or_ps(odd, _mm256_cmp_ps(size, size, _CMP_UNORD_Q));
  }
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  half = _mm_max_ss(half, _mm_shuffle_ps(half, half, 1));
  return _mm256_movemask_ps(odd) ? __builtin_nanf("") : _mm_cvtss_f32(half);
}

// Sixteen numbers times `inverse` to codes.
inline __m128i sixteen_codes(const float* x, F inverse) {
  const I a = _mm256_cvtps_epi32(mul(load(x), inverse));
  const I b = _mm256_cvtps_epi32(mul(load(x + 8), inverse));
  const I words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
  return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

void quantise(const float* x, int64_t D, int64_t group, int32_t zero, const RowCodes& out) {
  const int64_t columns = group < 64 || zero == 0 ? group : 64;
  const __m128i factor = _mm_set1_epi16(static_cast<int16_t>(-zero));
  int32_t* start = out.start;
  for (int64_t j = 0; j < D / group; ++j) {
    const float most = most_of(x + j * group, group);
    const bool finite = most < __builtin_inff();
    const float inverse = finite && most >= 1e-30f ? 127.0f / most : 0.0f;
    int32_t total = 0;
    for (int64_t begin = j * group; begin < (j + 1) * group; begin += columns) {
      __m128i pairs = _mm_setzero_si128();  // of even columns, then of odd pairs, four times
      for (int64_t d = begin; d < begin + columns; d += 16) {
        const __m128i code =
            finite ? sixteen_codes(x + d, all(inverse)) : _mm_setzero_si128();
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out.code + d), code);
        pairs = _mm_add_epi16(pairs, _mm_maddubs_epi16(_mm_set1_epi8(1), code));
      }
      pairs = _mm_add_epi16(pairs, _mm_srli_si128(pairs, 8));
      pairs = _mm_add_epi16(pairs, _mm_srli_si128(pairs, 4));
      *start++ = _mm_cvtsi128_si32(_mm_mullo_epi16(pairs, factor));
      total += _mm_cvtsi128_si32(_mm_madd_epi16(pairs, _mm_set1_epi16(1)));
    }
    out.scale[j] = !finite ? __builtin_nanf("") : inverse > 0.0f ? most / 127.0f : 0.0f;
    out.sum[j] = out.scale[j] * static_cast<float>(total);
  }
}

void narrow(const float*, int64_t, uint16_t*) {}

template <Kind KIND>
constexpr TileCall codes_calls[] = {tile_to_y<1, KIND>, tile_to_y<2, KIND>, tile_to_y<3, KIND>};
template <Kind KIND>
constexpr TileCall number_calls[] = {tile_to_y<1, KIND>, tile_to_y<2, KIND>, tile_to_y<3, KIND>,
                                     tile_to_y<4, KIND>, tile_to_y<5, KIND>, tile_to_y<6, KIND>};

void product(const Matrix& w, const float* bias, const Rows& rows, float* y, bool add,
             int64_t begin, int64_t end) {
  const bool codes = has_codes(w.kind);
  const int64_t most = !codes ? 6 : w.kind == Kind::int8 || w.group < 64 ? 2 : 3;  // measured
  const TileCall* calls = w.kind == Kind::int8   ? codes_calls<Kind::int8>
                          : w.kind == Kind::bf16 ? number_calls<Kind::bf16>
                          : w.kind == Kind::fp32 ? number_calls<Kind::fp32>
                                                 : codes_calls<Kind::int4>;
  blocks(calls, most, codes ? w.D : 4 * w.D, w, bias, rows, y, add, begin, end);
}

}  // namespace

extern const PackedLinear packed_avx2;
const PackedLinear packed_avx2 = {layout, false, quantise, narrow, product};

}  // namespace sparing
