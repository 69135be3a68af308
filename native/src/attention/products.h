// The two products of attention over one tile of positions, on the lanes included before:
// scores = queries . keys, sums across head columns with one lane per token; and
// sums += weights . values, sums across tokens with one lane per column.
//
// Register tiles only change how many are under way at once, never the bits of one: a score adds
// its columns in order, a sum its tokens in order.
#pragma once

#include "attention.h"
#include "numbers.h"

namespace sparing {
namespace {

// Keys and values of one tile, panel by panel of 16 positions.
struct Panels {
  const char* key[attention_tile / 16];
  const char* value[attention_tile / 16];
  const char* next_key[attention_tile / 16];  // of the tile after, fetched ahead line by line
  const char* next_value[attention_tile / 16];
  const float* key_scale[attention_tile / 16];
  const float* value_scale[attention_tile / 16];
};

template <KvKind kind, int ROWS, int VECTORS, int e = 0>
inline void score_word(const I (&x)[VECTORS], const float* q, int64_t width,
                       F (&sum)[ROWS][VECTORS]) {
  F key[VECTORS];
#pragma GCC unroll 8
  for (int v = 0; v < VECTORS; ++v) key[v] = number<kind, e>(x[v]);
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r) {
    const F query = all(q[r * width + e]);
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) sum[r][v] = fma(query, key[v], sum[r][v]);
  }
  if constexpr (e + 1 < word_count(kind))
    score_word<kind, ROWS, VECTORS, e + 1>(x, q, width, sum);
}

// Scores of ROWS queries for VECTORS * W tokens from lane `from` of the tile.
template <KvKind kind, int ROWS, int VECTORS>
inline void score_tile(const Panels& panels, int64_t from, const float* q, int64_t width,
                       float* score) {
  const char *at[VECTORS], *next[VECTORS];
#pragma GCC unroll 8
  for (int v = 0; v < VECTORS; ++v) {
    const int64_t lane = from + v * W;
    at[v] = panels.key[lane / 16] + lane % 16 * 4;
    next[v] = panels.next_key[lane / 16];
  }
  F sum[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) sum[r][v] = zero();
  constexpr int E = word_count(kind);
  for (int64_t k = 0, offset = 0; k < width; k += E, offset += 64) {
    I x[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) x[v] = words(at[v] + offset);
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v += 16 / W < VECTORS ? 16 / W : VECTORS)
      __builtin_prefetch(next[v] + offset);
    score_word<kind, ROWS, VECTORS>(x, q + k, width, sum);
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) store(score + r * attention_tile + from + v * W, sum[r][v]);
}

// Rows that are computed together: numbers that are not float32 are turned into it once for all.
template <KvKind kind>
constexpr int group_rows = kind == KvKind::fp32 ? 4 : 8;
template <int count>
struct Rows {
  static constexpr int value = count;
};

// Scores of `rows` queries for the tokens begin .. end of the tile and some beside them.
template <KvKind kind, int ROWS>
inline void score_rows(const Panels& panels, int64_t begin, int64_t end, const float* q,
                       int64_t width, float* score) {
  constexpr int64_t step = token_vectors<ROWS> * W;
  for (int64_t from = begin / step * step; from < end; from += step)
    score_tile<kind, ROWS, token_vectors<ROWS>>(panels, from, q, width, score);
}
// Calls call(Rows<n>()) for n = rows, which is 1 to `most`.
template <int most, class Call>
inline void with_rows(int64_t rows, const Call& call) {
  if (rows == most) return call(Rows<most>());
  if constexpr (most > 1) with_rows<most - 1>(rows, call);
}
template <KvKind kind>
inline void scores(const Panels& panels, int64_t begin, int64_t end, const float* q, int64_t rows,
                   int64_t width, float* score) {
  with_rows<group_rows<kind>>(rows, [&](auto count) {
    score_rows<kind, count.value>(panels, begin, end, q, width, score);
  });
}

// VECTORS * W columns from k of ROWS sums, `stride` floats apart: each times its factor, then the
// tokens begin .. end in order.
template <KvKind kind, int ROWS, int VECTORS>
inline void sum_tile(const Panels& panels, int64_t begin, int64_t end, const float* weight,
                     const float* factor, int64_t k, int64_t width, float* sums, int64_t stride) {
  F sum[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v)
      sum[r][v] = mul(load(sums + r * stride + k + v * W), all(factor[r]));
  constexpr int kind_bits = 32 / word_count(kind);
  const int64_t bytes = width * kind_bits / 8;
  for (int64_t s = begin; s < end;) {
    const char* row = panels.value[s / 16] + s % 16 * bytes;
    const int64_t ahead = panels.next_value[s / 16] - panels.value[s / 16] + k * kind_bits / 8;
    const int64_t stop = (s / 16 + 1) * 16 < end ? (s / 16 + 1) * 16 : end;
    for (; s < stop; ++s, row += bytes) {
      F value[VECTORS];
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) value[v] = columns<kind>(row, k + v * W);
#pragma GCC unroll 8
      for (int line = 0; line < VECTORS * W * kind_bits; line += 512)
        __builtin_prefetch(row + ahead + line / 8);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        const F p = all(weight[r * attention_tile + s]);
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) sum[r][v] = fma(p, value[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) store(sums + r * stride + k + v * W, sum[r][v]);
}
template <KvKind kind, int ROWS>
inline void sum_rows(const Panels& panels, int64_t begin, int64_t end, const float* weight,
                     const float* factor, int64_t width, float* sums, int64_t stride) {
  constexpr int wide = column_vectors<ROWS>;
  int64_t k = 0;
  for (; k + wide * W <= width; k += wide * W)
    sum_tile<kind, ROWS, wide>(panels, begin, end, weight, factor, k, width, sums, stride);
  for (; k < width; k += 16)  // width is a multiple of 16
    sum_tile<kind, ROWS, 16 / W>(panels, begin, end, weight, factor, k, width, sums, stride);
}

}  // namespace
}  // namespace sparing
