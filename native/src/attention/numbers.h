// Keys and values of every kind as float32 lanes; see kv_layout.h. The lanes, and the words of 32
// bits that each variant defines, come before this header.
#pragma once

#include "kv_layout.h"

namespace sparing {
namespace {

constexpr int word_count(KvKind kind) { return 1 << static_cast<int>(kind); }

// Number e of each word of a panel of keys.
template <KvKind kind, int e>
inline F number(I x) {
  if constexpr (kind == KvKind::fp32) return bits(x);
  if constexpr (kind == KvKind::bf16) return e == 0 ? bits(left<16>(x)) : bits(high_half(x));
  if constexpr (kind == KvKind::int8) return whole(right<24>(left<24 - 8 * (e % 4)>(x)));
  return whole(right<28>(left<28 - 4 * (e % 8)>(x)));
}

// W columns of a value, from column k.
template <KvKind kind>
inline F columns(const char* row, int64_t k) {
  if constexpr (kind == KvKind::fp32) return load(reinterpret_cast<const float*>(row) + k);
  if constexpr (kind == KvKind::bf16)
    return from_bf16(reinterpret_cast<const uint16_t*>(row) + k);
  if constexpr (kind == KvKind::int8) return from_int8(reinterpret_cast<const int8_t*>(row) + k);
  return from_nibbles(row + k / 2);
}

// A panel of 16 keys as float32 words, while the one `ahead` bytes on is fetched.
template <KvKind kind, int e = 0>
inline void widen_word(const I& x, float* to) {
  store(to + 16 * e, number<kind, e>(x));
  if constexpr (e + 1 < word_count(kind)) widen_word<kind, e + 1>(x, to);
}
template <KvKind kind>
inline void widen_keys(const char* from, int64_t ahead, int64_t width, float* to) {
  for (int64_t k = 0; k < width; k += word_count(kind), from += 64) {
    __builtin_prefetch(from + ahead);
    for (int64_t lane = 0; lane < 16; lane += W)
      widen_word<kind>(words(from + 4 * lane), to + 16 * k + lane);
  }
}
// 16 rows of values as float32, likewise.
template <KvKind kind>
inline void widen_values(const char* from, int64_t ahead, int64_t width, float* to) {
  const int64_t bytes = width * (32 / word_count(kind)) / 8;
  for (int64_t line = 0; line < 16 * bytes; line += 64) __builtin_prefetch(from + ahead + line);
  for (int64_t s = 0; s < 16; ++s, from += bytes)
    for (int64_t k = 0; k < width; k += W) store(to + s * width + k, columns<kind>(from, k));
}

}  // namespace
}  // namespace sparing
