// Packed products on Arm: what packed_body.h asks of a variant, over `dot` and `pair_sums`, which
// the file that includes this has defined. The integer sums of a group are exact, so that all
// variants (and AVX2, whose layout this is) give the same bits.
#pragma once

namespace sparing {
namespace {

constexpr Layout layout = Layout::eights;
constexpr int64_t ahead = 1024;  // bytes

inline F to_float(I x) { return {vcvtq_f32_s32(x.low), vcvtq_f32_s32(x.high)}; }
inline F from_half(const uint8_t* p) {
  const uint16x8_t half = vld1q_u16(reinterpret_cast<const uint16_t*>(p));
  return {vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(half))),
          vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(half)))};
}
inline void fetch(const uint8_t* p) { __builtin_prefetch(p + ahead); }

// Four columns of the sixteen rows of a panel, as stored; four rows to a register.
template <Kind KIND>
inline void unit(const uint8_t* codes, int8x16_t (&out)[4]) {
  if (KIND == Kind::int8) {
    for (int i = 0; i < 4; ++i) out[i] = vld1q_s8(reinterpret_cast<const int8_t*>(codes) + 16 * i);
    return;
  }
  for (int i = 0; i < 2; ++i) {
    const uint8x16_t both = vld1q_u8(codes + 16 * i);
    out[i] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
    out[2 + i] = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
  }
}
template <Kind KIND>
constexpr int64_t unit_bytes = KIND == Kind::int8 ? 64 : 32;

// Four codes of a row in every lane.
inline int8x16_t four(const int8_t* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(bits));
}

template <Kind KIND>
inline void one_sum(const uint8_t* codes, int64_t group, const int8_t* x, int32_t begin,
                    I (&total)[2]) {
  int32x4_t sum[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) sum[i] = vdupq_n_s32(begin);
  for (const int8_t* end = x + group; x < end; x += 4, codes += unit_bytes<KIND>) {
    fetch(codes);
    int8x16_t code[4];
    unit<KIND>(codes, code);
    const int8x16_t row = four(x);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sum[i] = dot(sum[i], code[i], row);
  }
  total[0] = {sum[0], sum[1]};
  total[1] = {sum[2], sum[3]};
}

// What the sum of a group begins with: the correction for the zero point.
inline int32_t begin_of(Kind kind, int64_t group, const int32_t* start, int64_t s) {
  if (kind == Kind::int8) return 0;
  return group > 64 ? start[s] + start[s + 1] : start[s];
}

template <int R, Kind KIND>
inline void group_sums(const uint8_t* codes, int64_t group, const int8_t* const* x, int64_t d,
                       const int32_t* const* start, int64_t s, I (&total)[R][2]) {
  int r = 0;
#ifdef SPARING_PAIRS
  for (; r + 2 <= R; r += 2)
    pair_sums<KIND>(codes, group, x[r] + d, x[r + 1] + d, begin_of(KIND, group, start[r], s),
                    begin_of(KIND, group, start[r + 1], s), &total[r]);
#endif
  for (; r < R; ++r)
    one_sum<KIND>(codes, group, x[r] + d, begin_of(KIND, group, start[r], s), total[r]);
}

template <Kind KIND>
inline void numbers(const uint8_t* panel, int64_t d, F* out) {
  if (KIND == Kind::fp32) {
    fetch(panel + d * 64);
    out[0] = load(reinterpret_cast<const float*>(panel) + d * 16);
    out[1] = load(reinterpret_cast<const float*>(panel) + d * 16 + 8);
    return;
  }
  fetch(panel + d * 32);
  const auto* words = reinterpret_cast<const uint32_t*>(panel) + d * 8;
  const uint32x4_t low = vld1q_u32(words), high = vld1q_u32(words + 4);
  const uint32x4_t mask = vdupq_n_u32(0xffff0000u);
  out[0] = {vreinterpretq_f32_u32(vshlq_n_u32(low, 16)),
            vreinterpretq_f32_u32(vshlq_n_u32(high, 16))};
  out[1] = {vreinterpretq_f32_u32(vandq_u32(low, mask)),
            vreinterpretq_f32_u32(vandq_u32(high, mask))};
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

// Largest size of a group's numbers; NaN where one of them is, which the maximum here hands on.
inline float most_of(const float* x, int64_t group) {
  float32x4_t most = vdupq_n_f32(0.0f);
  for (int64_t k = 0; k < group; k += 4) most = vmaxq_f32(most, vabsq_f32(vld1q_f32(x + k)));
  return vmaxvq_f32(most);
}

// Eight numbers times `inverse` to codes.
inline int8x8_t eight_codes(const float* x, float inverse) {
  const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
  const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
  return vqmovn_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)));
}

void quantise(const float* x, int64_t D, int64_t group, int32_t zero, const RowCodes& out) {
  const int64_t columns = group < 64 || zero == 0 ? group : 64;
  int32_t* start = out.start;
  for (int64_t j = 0; j < D / group; ++j) {
    const float most = most_of(x + j * group, group);
    const bool finite = most < __builtin_inff();
    const float inverse = finite && most >= 1e-30f ? 127.0f / most : 0.0f;
    int32_t total = 0;
    for (int64_t begin = j * group; begin < (j + 1) * group; begin += columns) {
      int32_t sum = 0;
      for (int64_t d = begin; d < begin + columns; d += 8) {
        const int8x8_t code = finite ? eight_codes(x + d, inverse) : vdup_n_s8(0);
        vst1_s8(out.code + d, code);
        sum += vaddlv_s8(code);
      }
      *start++ = -zero * sum;
      total += sum;
    }
    out.scale[j] = !finite ? __builtin_nanf("") : inverse > 0.0f ? most / 127.0f : 0.0f;
    out.sum[j] = out.scale[j] * static_cast<float>(total);
  }
}

void narrow(const float*, int64_t, uint16_t*) {}

template <Kind KIND>
constexpr TileCall codes_calls[] = {tile_to_y<1, KIND>, tile_to_y<2, KIND>, tile_to_y<3, KIND>,
                                    tile_to_y<4, KIND>};
template <Kind KIND>
constexpr TileCall number_calls[] = {tile_to_y<1, KIND>, tile_to_y<2, KIND>, tile_to_y<3, KIND>,
                                     tile_to_y<4, KIND>, tile_to_y<5, KIND>, tile_to_y<6, KIND>};

void product(const Matrix& w, const float* bias, const Rows& rows, float* y, bool add,
             int64_t begin, int64_t end) {
  const bool codes = has_codes(w.kind);
  const TileCall* calls = w.kind == Kind::int8   ? codes_calls<Kind::int8>
                          : w.kind == Kind::bf16 ? number_calls<Kind::bf16>
                          : w.kind == Kind::fp32 ? number_calls<Kind::fp32>
                                                 : codes_calls<Kind::int4>;
  blocks(calls, codes ? 4 : 6, codes ? w.D : 4 * w.D, w, bias, rows, y, add, begin, end);
}

}  // namespace
}  // namespace sparing
