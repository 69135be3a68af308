// Attention of a few consecutive positions of one sequence, for one key-value head, over paged keys
// and values: online softmax over tiles of positions, no memory that grows with the sequence.
//
// score[t, r, s] = cap(q[t, r] . key[s] * scale) + bias - slope * |p - s|,  p = position + t,
//   cap(x) = softcap * tanh(x / softcap). Row t sees s < length, s <= p where causal, and, under a
//   window, p - window < s (and s < p + window where not causal); the rest is not read. A sink
//   joins the sum of exponentials alone. A row that sees nothing is zero.
//
// Layout     q and out: row t, query head r at [t * row_stride + r * K], float32.
// Numerics   Scores, softmax and the weighted sum in float32. Positions are taken in tiles of
//            attention_tile and chunks of attention_chunk that begin at multiples of these;
//            everything is summed in the order of positions and chunks are merged in order. So the
//            bits depend on the row, its position and what it sees, not on T, the batch, the block
//            size, or on whether chunks are computed apart (`part`, then `merge`) or in one pass.
// Overlap    out may not overlap q. scratch: attention_scratch() floats of the calling thread.
// Agreement  1e-5 of the largest |value| with the reference variant.
// Source     Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135; Dao
//            et al. 2023, "Flash-Decoding" (the split); Press et al. 2021, arXiv:2108.12409 (slopes).
#pragma once

#include <cstdint>

#include "isa.h"
#include "kv_layout.h"

namespace sparing {

constexpr int64_t attention_tile = 64;    // positions under one softmax step
constexpr int64_t attention_chunk = 512;  // positions that can be computed apart

// What attention is in one layer; pointers are of all query heads, and null where absent.
struct AttentionRule {
  float scale = 1.0f;
  bool causal = true;
  int64_t window = 0;             // positions seen, the own one included; 0: all
  float softcap = 0.0f;           // 0: none
  const float* slopes = nullptr;  // [H] ALiBi, positive numbers
  const float* sinks = nullptr;   // [H] logits without a value
  // [H, bias_stride] as T5 has it, by distance: s - p stands at h * bias_stride + (s - p).
  // `bias` points at distance 0 of head 0; every distance that a row sees must be there.
  const float* bias = nullptr;
  int64_t bias_stride = 0;
};

struct AttentionTask {
  const float* q = nullptr;
  float* out = nullptr;
  int64_t row_stride = 0;
  int64_t T = 0, R = 0;           // rows, query heads per key-value head
  int64_t head = 0;               // g; q and out point at query head g * R
  int64_t position = 0;           // p of row 0
  int64_t length = 0;             // positions that stand in the cache
  KvLayout layout;
  const char* keys = nullptr;     // of this layer: block 0, head 0
  const char* values = nullptr;
  const int32_t* blocks = nullptr;  // the sequence's block table
  AttentionRule rule;
  float* scratch = nullptr;
};

// The first position seen, and the one after the last; equal when none is.
struct Span {
  int64_t begin = 0, end = 0;
};
static inline Span seen_by(const AttentionTask& task, int64_t t) {
  const AttentionRule& rule = task.rule;
  const int64_t p = task.position + t;
  Span span{0, task.length};
  if (rule.causal && p + 1 < span.end) span.end = p + 1;
  if (rule.window > 0) {
    if (p - rule.window + 1 > span.begin) span.begin = p - rule.window + 1;
    if (p + rule.window < span.end) span.end = p + rule.window;
  }
  if (span.end < span.begin) span.end = span.begin;
  return span;
}

// What any row of the task sees.
static inline Span seen_by_any(const AttentionTask& task) {
  const Span first = seen_by(task, 0), last = seen_by(task, task.T - 1);
  return {first.begin < last.begin ? first.begin : last.begin,
          first.end > last.end ? first.end : last.end};
}

// Floats of scratch for T rows of R heads.
static inline int64_t attention_scratch(int64_t T, int64_t R, int64_t K) {
  const int64_t width = (K + 15) / 16 * 16;
  // queries, two sums and three numbers a row, scores, one tile of keys and values, to 64 bytes
  return T * R * (3 * width + attention_tile + 16) + 2 * attention_tile * (width + 16) + 64;
}
// Floats of the state of one chunk: for each of T * R rows a sum, its weight and its largest score.
static inline int64_t attention_state(int64_t T, int64_t R, int64_t K) {
  return T * R * ((K + 15) / 16 * 16 + 16);
}

struct Attention {
  void (*attend)(const AttentionTask& task);
  // Chunk number `chunk` alone: positions chunk * attention_chunk and on, into `state`.
  void (*part)(const AttentionTask& task, int64_t chunk, float* state);
  // States of `chunks` neighbouring chunks, which hold all that the rows see -> out.
  void (*merge)(const AttentionTask& task, int64_t chunks, const float* states);
};

const Attention& attention_for(Isa isa);

}  // namespace sparing
