// The decoder family as one object: weights by name, a paged cache, and a forward pass over a
// ragged set of rows.
//
// Weights are not copied: the caller keeps the arrays alive and unchanged. Nothing here checks what
// a forward call asks for; src/decoder/check.cpp does, and the binding calls it first.
// Numerics   Float32, but for what products.h rounds. A row's logits have the same bits whatever else is in the batch,
//            however its prompt was split, and for any number of threads.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "activation.h"
#include "attend.h"
#include "decoder_shape.h"
#include "pool.h"
#include "products.h"

namespace sparing {

struct Norm {
  const float* weight = nullptr;  // null where the layer has no such norm
  const float* bias = nullptr;    // of layer norms
};

struct FeedForward {
  Affine gate, up, down;
};

struct LayerWeights {
  Norm attention_norm, attention_post_norm, mlp_norm, mlp_post_norm;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  Affine query, key, value, output;
  FeedForward mlp;
  Affine router, shared_router;
  std::vector<FeedForward> experts;
  FeedForward shared;
};

struct Batch {
  int64_t N = 0, R = 0, P = 0, L = 0;  // rows, sequences, block-table columns, rows with logits
  const int32_t* ids = nullptr;         // [N]
  const int32_t* positions = nullptr;   // [N]; consecutive within a sequence
  const int32_t* starts = nullptr;      // [R + 1]; rows of sequence r are starts[r] .. starts[r + 1]
  const int32_t* blocks = nullptr;      // [R, P]
  const int32_t* logit_rows = nullptr;  // [L]
  const int32_t* lengths = nullptr;     // [R] tokens known of each sequence, those to come among
                                        // them; null for up to its last row
  float* out = nullptr;                 // [L, vocab]
};

class Decoder {
 public:
  Decoder(DecoderShape shape, Isa isa, int threads, Activations activations);

  const DecoderShape& shape() const { return shape_; }
  int64_t blocks() const { return blocks_; }
  int64_t block_tokens() const { return layout_.block_tokens; }
  int threads() const { return pool_.threads(); }
  Pool& pool() { return pool_; }

  // Throws std::invalid_argument for a name that the shape does not have or another shape.
  // Returns whether the arrays of `matrix` must stay: those of a packed copy need not.
  bool set_matrix(const std::string& name, const Matrix& matrix);
  void set_vector(const std::string& name, const float* data, int64_t count);
  // Throws std::invalid_argument naming the first weight that is still missing.
  void finish();

  // Sets aside keys and values for blocks * block_tokens positions, zeroed; the old ones are lost.
  void make_cache(int64_t blocks, int64_t block_tokens, KvKind kind);

  // Throws std::invalid_argument when a batch asks for anything outside its arrays, the cache,
  // the vocabulary or the context, or writes a position twice.
  void check(const Batch& batch) const;

  void forward(const Batch& batch);

 private:
  struct Slot {
    int64_t Z = 0, D = 0;  // D is 0 for a vector of Z
    Matrix* matrix = nullptr;
    const float** vector = nullptr;
    bool filled = false;
  };
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };

  void name_affine(const std::string& name, Affine* affine, int64_t Z, int64_t D, bool bias);
  void name_vector(const std::string& name, const float** vector, int64_t count);
  void name_norm(const std::string& name, Norm* norm);
  void name_feed_forward(const std::string& name, FeedForward* maps, int64_t hidden);
  void name_layer(int64_t index);
  Slot& slot(const std::string& name, int64_t Z, int64_t D);

  void prepare(const Batch& batch);
  void embed(int64_t row);
  void turn_angles(int64_t row);
  void norm_row(const Norm& norm, const float* x, float* y) const;
  void norm(const Norm& norm, std::vector<float>& to);
  void multiply(std::initializer_list<Product> products) {
    products_.multiply(products, batch_.N);
  }
  void place(const LayerWeights& layer, int64_t index);
  void attend(int64_t index);
  AttentionRule rule_of(int64_t layer) const;
  void join(const Affine& map, const float* from, const Norm& post);
  void add(std::vector<float>& from, const Norm& post);
  void feed_forward(const LayerWeights& layer, const float* from);
  void through(const FeedForward& maps, const float* from, int64_t hidden);
  void activate(int64_t count, int64_t hidden);
  void route(const LayerWeights& layer, const float* from);
  void gather(const float* from);
  void expert_maps(const LayerWeights& layer, const float* from);
  void score();
  void narrow();
  // Calls row(n) for every n below count, some at a time on each thread.
  template <class Row>
  void rows(int64_t count, const Row& row) {
    constexpr int64_t chunk = 8;
    pool_.run((count + chunk - 1) / chunk, [&](int64_t task, int) {
      const int64_t end = count < (task + 1) * chunk ? count : (task + 1) * chunk;
      for (int64_t n = task * chunk; n < end; ++n) row(n);
    });
  }
  void write(int64_t row, int64_t layer, const float* from, bool values);
  char* cache_of(int64_t layer, bool values) const;

  DecoderShape shape_;
  Activate activate_;
  Pool pool_;
  Products products_;
  Attend attend_;

  std::map<std::string, Slot> slots_;
  Matrix embed_, positions_;
  Norm final_norm_;
  Affine head_;
  std::vector<LayerWeights> layers_;

  std::unique_ptr<char, Free> cache_;  // [layers, 2, blocks] of blocks as in kv_layout.h
  char* cache_base_ = nullptr;         // its first whole line
  int64_t blocks_ = 0;
  KvLayout layout_;

  Batch batch_;  // of the call under way; N shrinks to L in the last layer
  std::vector<int32_t> sequence_;  // of each row
  std::vector<float> x_, h_, spare_, q_, k_, v_, gate_, up_;
  std::vector<float> cosine_, sine_;  // [rotations, N, Y]
  std::vector<float> parallel_;       // the mlp's input, where attention and mlp read the same
  struct Choice {
    int32_t expert, row;
    float weight;
  };
  // Of a layer of experts: choices of row n at [n X, (n + 1) X) by rising expert, and where in
  // the gathered rows (which stand expert by expert) each choice is.
  std::vector<Choice> choices_;
  std::vector<int64_t> place_, first_, next_;
  std::vector<Product> products_asked_;
  std::vector<float> router_, shared_router_, gathered_, experts_out_;
};

}  // namespace sparing
