#include "packed.h"

#include "../lanes/avx512.h"

namespace sparing {
namespace {

using I = __m512i;
constexpr Layout layout = Layout::whole;
constexpr int64_t ahead = 4096;  // bytes; memory answers by the time the codes are there

inline F to_float(I x) { return _mm512_cvtepi32_ps(x); }
inline I load_bytes(const void* p) { return _mm512_loadu_si512(p); }
inline void fetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p) + ahead, _MM_HINT_T0);
}
// sum + weights times four bytes, or two bf16, of a row, the same in every lane. The compiler would
// load those by an instruction of their own.
#ifdef SPARING_SIMDE
inline I four(const void* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm512_set1_epi32(bits);
}
inline I add_codes(I sum, I weights, const int8_t* row) {
  return _mm512_dpbusd_epi32(sum, weights, four(row));
}
inline F add_pair(F sum, I weights, const uint16_t* row) {
  return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)four(row));
}
#else
struct Four {
  char bytes[4];
};
inline I add_codes(I sum, I weights, const int8_t* row) {
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(sum)
      : "v"(weights), "m"(*reinterpret_cast<const Four*>(row)));
  return sum;
}
inline F add_pair(F sum, I weights, const uint16_t* row) {
  asm("vdpbf16ps %2%{1to16%}, %1, %0"
      : "+v"(sum)
      : "v"(weights), "m"(*reinterpret_cast<const Four*>(row)));
  return sum;
}
#endif

// Two sums a row, for even and odd steps: one row alone would wait for its own last sum.
template <int R, Kind KIND>
inline void group_sums(const uint8_t* codes, int64_t group, const int8_t* const* x, int64_t d,
                       const int32_t* const* start, int64_t s, I (&total)[R][1]) {
  const I low = _mm512_set1_epi8(15);
  constexpr int sums = R < 8 ? 2 : 1;
  I sum[R][2];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    sum[r][0] = _mm512_set1_epi32(start[r][s]);
    sum[r][1] = _mm512_setzero_si512();
  }
  for (const int64_t end = d + group; d < end; d += 8) {
    I first, second;
    fetch(codes);
    if (KIND == Kind::int8) {
      fetch(codes + 64);
      first = load_bytes(codes), second = load_bytes(codes + 64);
      codes += 128;
    } else {
      const I both = load_bytes(codes);
      first = _mm512_and_si512(both, low);
      second = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
      codes += 64;
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      sum[r][0] = add_codes(sum[r][0], first, x[r] + d);
      sum[r][sums - 1] = add_codes(sum[r][sums - 1], second, x[r] + d + 4);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
    total[r][0] = sums == 2 ? _mm512_add_epi32(sum[r][0], sum[r][1]) : sum[r][0];
}

template <Kind KIND>
inline void numbers(const uint8_t* panel, int64_t d, F* out) {
  fetch(panel + d * 64);
  out[0] = load(reinterpret_cast<const float*>(panel) + d * 16);
}

}  // namespace
}  // namespace sparing

#include "packed_body.h"

namespace sparing {
namespace {

// bf16 on both sides, two columns an instruction; a row is padded to whole pairs with zero.
template <int R>
inline void tile_of_pairs(const Matrix& w, const uint8_t* panel, const uint16_t* x,
                          F (&sum)[R][1]) {
  const int64_t pairs = (w.D + 1) / 2, block = float_block / 2;
  for (int64_t begin = 0; begin < pairs; begin += block) {
    const int64_t end = pairs - begin < block ? pairs : begin + block;
    F part[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) part[r] = zero();
    for (int64_t p = begin; p < end; ++p) {
      fetch(panel + p * 64);
      const I weight = load_bytes(panel + p * 64);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) part[r] = add_pair(part[r], weight, x + (r * pairs + p) * 2);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r][0] = add(sum[r][0], part[r]);
  }
}

template <int R, Kind KIND>
inline void any_tile(const Matrix& w, const uint8_t* panel, const Rows& rows, int64_t n,
                     F (&sum)[R][C]) {
  if (KIND == Kind::fp32)
    tile_of_numbers<R, KIND>(w, panel, rows.x + n * w.D, sum);
  else if (KIND == Kind::bf16)
    tile_of_pairs<R>(w, panel, rows.bits + n * ((w.D + 1) / 2 * 2), sum);
  else
    tile_of<R, KIND>(w, panel, rows, n, sum);
}

void quantise(const float* x, int64_t D, int64_t group, int32_t zero, const RowCodes& out) {
  for (int64_t j = 0; j < D / group; ++j) {
    const float* from = x + j * group;
    F most = all(0.0f);
    __mmask16 odd = 0;
    for (int64_t k = 0; k < group; k += 16) {
      const F number = load(from + k);
      most = max(most, _mm512_abs_ps(number));
      odd = static_cast<__mmask16>(odd | _mm512_cmp_ps_mask(number, number, _CMP_UNORD_Q));
    }
    const float size = _mm512_reduce_max_ps(most);
    const bool finite = odd == 0 && size < __builtin_inff();
    const float inverse = finite && size >= 1e-30f ? 127.0f / size : 0.0f;
    I total = _mm512_setzero_si512();
    for (int64_t k = 0; k < group; k += 16) {
      const I code = finite ? _mm512_cvtps_epi32(mul(load(from + k), all(inverse)))
                            : _mm512_setzero_si512();
      total = _mm512_add_epi32(total, code);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out.code + j * group + k),
                       _mm512_cvtsepi32_epi8(code));
    }
    const int32_t sum = _mm512_reduce_add_epi32(total);
    out.scale[j] = !finite ? __builtin_nanf("") : inverse > 0.0f ? size / 127.0f : 0.0f;
    out.sum[j] = out.scale[j] * static_cast<float>(sum);
    out.start[j] = -zero * sum;
  }
}

// Nearest even; a NaN stays a NaN.
void narrow(const float* x, int64_t D, uint16_t* bits) {
  int64_t d = 0;
  for (; d + 16 <= D; d += 16) {
    const __m256i half = (__m256i)_mm512_cvtneps_pbh(load(x + d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(bits + d), half);
  }
  if (d == D) return;
  uint16_t last[16];
  const __m256i half = (__m256i)_mm512_cvtneps_pbh(load_part(x + d, D - d));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(last), half);
  for (int64_t i = 0; d + i < (D + 1) / 2 * 2; ++i) bits[d + i] = last[i];
}

template <Kind KIND>
constexpr TileCall calls_of[] = {tile_to_y<1, KIND>, tile_to_y<2, KIND>,  tile_to_y<3, KIND>,
                                 tile_to_y<4, KIND>, tile_to_y<5, KIND>,  tile_to_y<6, KIND>,
                                 tile_to_y<7, KIND>, tile_to_y<8, KIND>,  tile_to_y<9, KIND>,
                                 tile_to_y<10, KIND>, tile_to_y<11, KIND>, tile_to_y<12, KIND>};

void product(const Matrix& w, const float* bias, const Rows& rows, float* y, bool add,
             int64_t begin, int64_t end) {
  const TileCall* calls = w.kind == Kind::int8   ? calls_of<Kind::int8>
                          : w.kind == Kind::bf16 ? calls_of<Kind::bf16>
                          : w.kind == Kind::fp32 ? calls_of<Kind::fp32>
                                                 : calls_of<Kind::int4>;
  const int64_t row_bytes = w.kind == Kind::fp32 ? 4 * w.D : w.kind == Kind::bf16 ? 2 * w.D : w.D;
  blocks(calls, 12, row_bytes, w, bias, rows, y, add, begin, end);
}

}  // namespace

extern const PackedLinear packed_avx512;
const PackedLinear packed_avx512 = {layout, true, quantise, narrow, product};

}  // namespace sparing
