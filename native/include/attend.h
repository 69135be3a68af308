// Attention of a ragged set of rows over the keys and values of one layer, shared among threads.
// The decoder calls it for its paged cache, an encoder for a cache of one layer that it fills anew.
//
// Bits  As attention.h promises: the same for any number of threads and any batch.
#pragma once

#include <cstdint>
#include <vector>

#include "attention.h"
#include "pool.h"

namespace sparing {

struct AttentionRows {
  const float* q = nullptr;            // [N, H, K]
  float* out = nullptr;                // [N, H, K]
  int64_t H = 0;                       // query heads, a multiple of layout.G
  int64_t R = 0, P = 0;                // sequences, columns of the block table
  const int32_t* starts = nullptr;     // [R + 1]; rows of sequence r are starts[r] .. starts[r + 1]
  const int32_t* positions = nullptr;  // [N]; consecutive within a sequence
  const int32_t* lengths = nullptr;    // [R] positions in the cache; null: up to the last row's
  const int32_t* blocks = nullptr;     // [R, P]
  KvLayout layout;
  const char* keys = nullptr;  // of this layer: block 0
  const char* values = nullptr;
  AttentionRule rule;
};

class Attend {
 public:
  Attend(Isa isa, Pool& pool);
  void run(const AttentionRows& rows);

 private:
  struct Item {
    int64_t sequence, row, T, head;
    int64_t first, chunks;      // of positions
    int64_t work, state;        // chunks and floats of the items before this one
  };

  void plan(const AttentionRows& rows);
  AttentionTask task_of(const AttentionRows& rows, const Item& item, int thread);
  void run_split(const AttentionRows& rows);

  const Attention& attention_;
  Pool& pool_;
  std::vector<Item> items_;
  std::vector<std::vector<float>> scratch_;  // one per thread
  std::vector<float> states_;
};

}  // namespace sparing
