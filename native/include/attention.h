// Causal attention of a few consecutive positions of one sequence, for one key-value head, over
// paged keys and values.
//
// Layout     q and out: row t, query head r at [t * row_stride + r * K], float32. One layer's keys
//            (and values) are [blocks, G, block_tokens, K] of float32 or bfloat16 bits; `keys`
//            points at head g of block 0 and block b stands block_stride elements further on.
// Numerics   Scores, softmax and the weighted sum in float32. Everything that enters the output of
//            a position is summed in the order of positions, so the bits depend on the position
//            and its past alone, not on T, the batch or the block size.
// Overlap    out may not overlap q. scratch: attention_scratch() floats of the calling thread.
// Agreement  1e-5 of the largest |value| with the reference variant.
#pragma once

#include <cstdint>

#include "isa.h"

namespace sparing {

struct AttentionTask {
  const float* q = nullptr;
  float* out = nullptr;
  int64_t row_stride = 0;
  int64_t T = 0, R = 0, K = 0;  // rows, query heads per key-value head, head width
  int64_t position = 0;         // of row 0; row t attends to positions 0 .. position + t
  const void* keys = nullptr;
  const void* values = nullptr;
  bool bf16 = false;
  int64_t block_stride = 0, block_tokens = 0;
  const int32_t* blocks = nullptr;  // the sequence's block table
  float scale = 1.0f;
  float* scratch = nullptr;
};

// Floats of scratch for T rows of R heads over S positions: queries and sums, scores, one block.
static inline int64_t attention_scratch(int64_t T, int64_t R, int64_t K, int64_t S,
                                        int64_t block_tokens) {
  return 2 * T * R * K + T * R * S + block_tokens * K;
}

using Attention = void (*)(const AttentionTask& task);

Attention attention_for(Isa isa);

}  // namespace sparing
