#include "packed.h"

#include "../lanes/neon.h"

namespace sparing {
namespace {

struct I {
  int32x4_t low, high;
};

inline int32x4_t dot(int32x4_t sum, int8x16_t w, int8x16_t x) { return vdotq_s32(sum, w, x); }

template <Kind KIND>
inline void unit(const uint8_t* codes, int8x16_t (&out)[4]);
template <Kind KIND>
inline void pair_sums(const uint8_t* codes, int64_t group, const int8_t* x, const int8_t* next,
                      int32_t begin, int32_t next_begin, I (*total)[2]);

}  // namespace
}  // namespace sparing

#define SPARING_PAIRS
#include "packed_arm.h"

namespace sparing {
namespace {

// Two units side by side are two rows of eight columns in each register, and meet eight columns of
// two rows of x: one instruction, four sums.
template <Kind KIND>
inline void pair_sums(const uint8_t* codes, int64_t group, const int8_t* x, const int8_t* next,
                      int32_t begin, int32_t next_begin, I (*total)[2]) {
  const int32x2_t pair = vset_lane_s32(next_begin, vdup_n_s32(begin), 1);
  int32x4_t sum[8];  // of rows 2 i and 2 i + 1, each with x and next
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) sum[i] = vcombine_s32(pair, pair);
  for (int64_t d = 0; d < group; d += 8, codes += 2 * unit_bytes<KIND>) {
    fetch(codes);
    int8x16_t left[4], right[4];
    unit<KIND>(codes, left);
    unit<KIND>(codes + unit_bytes<KIND>, right);
    const int8x16_t rows = vcombine_s8(vld1_s8(x + d), vld1_s8(next + d));
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const int32x4_t a = vreinterpretq_s32_s8(left[i]), b = vreinterpretq_s32_s8(right[i]);
      sum[2 * i] = vmmlaq_s32(sum[2 * i], vreinterpretq_s8_s32(vzip1q_s32(a, b)), rows);
      sum[2 * i + 1] = vmmlaq_s32(sum[2 * i + 1], vreinterpretq_s8_s32(vzip2q_s32(a, b)), rows);
    }
  }
#pragma GCC unroll 2
  for (int c = 0; c < 2; ++c) {
    total[0][c] = {vuzp1q_s32(sum[4 * c], sum[4 * c + 1]),
                   vuzp1q_s32(sum[4 * c + 2], sum[4 * c + 3])};
    total[1][c] = {vuzp2q_s32(sum[4 * c], sum[4 * c + 1]),
                   vuzp2q_s32(sum[4 * c + 2], sum[4 * c + 3])};
  }
}

}  // namespace

extern const PackedLinear packed_i8mm;
const PackedLinear packed_i8mm = {layout, false, quantise, narrow, product};

}  // namespace sparing
