#include "attention.h"

#include "../lanes/neon.h"

#include "../lanes/exponential.h"

namespace sparing {
namespace {

// Eight words of 32 bits, and what body.h asks of them.
struct I {
  int32x4_t low, high;
};
inline I words(const char* p) {
  const auto* bytes = reinterpret_cast<const int8_t*>(p);
  return {vreinterpretq_s32_s8(vld1q_s8(bytes)), vreinterpretq_s32_s8(vld1q_s8(bytes + 16))};
}
template <int n>
inline I left(I x) {
  return {vshlq_n_s32(x.low, n), vshlq_n_s32(x.high, n)};
}
template <int n>
inline I right(I x) {  // keeps the sign
  return {vshrq_n_s32(x.low, n), vshrq_n_s32(x.high, n)};
}
inline I high_half(I x) {
  const int32x4_t mask = vdupq_n_s32(-65536);
  return {vandq_s32(x.low, mask), vandq_s32(x.high, mask)};
}
inline F whole(I x) { return {vcvtq_f32_s32(x.low), vcvtq_f32_s32(x.high)}; }
inline F bits(I x) { return {vreinterpretq_f32_s32(x.low), vreinterpretq_f32_s32(x.high)}; }

// Eight int4 codes, the first lowest.
inline F from_nibbles(const char* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  constexpr int32_t shift[8] = {28, 24, 20, 16, 12, 8, 4, 0};
  const int32x4_t all_of_them = vdupq_n_s32(word);
  return whole(right<28>(
      {vshlq_s32(all_of_them, vld1q_s32(shift)), vshlq_s32(all_of_them, vld1q_s32(shift + 4))}));
}

// x in the lanes begin .. end, `other` in the rest.
inline F between(F x, int64_t begin, int64_t end, F other) {
  float from[W], to[W];
  store(from, x), store(to, other);
  for (int64_t i = 0; i < W; ++i)
    if (i >= begin && i < end) to[i] = from[i];
  return load(to);
}

// Vectors of tokens that ROWS rows take at once, and of columns: the sums fill the registers.
template <int ROWS>
constexpr int token_vectors = ROWS == 1 ? 8 : ROWS == 2 ? 4 : ROWS <= 4 ? 2 : 1;
template <int ROWS>
constexpr int column_vectors = ROWS == 1 ? 8 : ROWS == 2 ? 4 : ROWS <= 4 ? 2 : 1;

}  // namespace
}  // namespace sparing

#include "body.h"

namespace sparing {

extern const Attention attention_neon;
const Attention attention_neon = {attend, part, merge};

}  // namespace sparing
