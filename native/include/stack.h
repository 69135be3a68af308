// The blocks that encoders and encoder-decoders are made of, and what they compute with.
//
// A stack holds its weights and its workspace; the caller fills rows of x, asks for the steps of a
// block in their order, and reads x. Rows are independent but for attention.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attend.h"
#include "encoder_shape.h"
#include "lines.h"
#include "pool.h"
#include "products.h"
#include "slots.h"
#include "activation.h"

namespace sparing {

// Threads, and the operations that are shared among them.
struct Workers {
  Workers(Isa isa, Activations activations, int threads);

  // Calls row(n) for every n below count, some at a time on each thread.
  template <class Row>
  void rows(int64_t count, const Row& row) {
    constexpr int64_t chunk = 8;
    pool.run((count + chunk - 1) / chunk, [&](int64_t task, int) {
      const int64_t end = count < (task + 1) * chunk ? count : (task + 1) * chunk;
      for (int64_t n = task * chunk; n < end; ++n) row(n);
    });
  }

  Isa isa;
  Pool pool;
  Products products;
  Attend attend;
};

// Keys and values of one layer for sequences that are there from their beginning to their end;
// filled anew for each layer.
class Sheet {
 public:
  // Room for R sequences of H heads; rows of sequence r are starts[r] .. starts[r + 1].
  void lay(int64_t H, int64_t K, int64_t R, const int32_t* starts);
  // k and v are [N, H, K].
  void write(Workers& workers, const float* k, const float* v);
  // Everything but q, out and rule; each sequence attends within itself.
  AttentionRows rows() const;

 private:
  KvLayout layout_;
  std::vector<int32_t> starts_, positions_, lengths_, blocks_, sequence_;
  int64_t R_ = 0, P_ = 0;
  Lines keys_, values_;
};

struct Maps {
  NormWeights norm;
  Affine query, key, value, output;
};

struct BlockWeights {
  Maps self, cross;
  NormWeights mlp_norm;
  Affine gate, up, down;  // gate where gated
};

class Stack {
 public:
  // Names its weights `prefix`..., for the caller to fill.
  Stack(const StackShape& shape, const std::string& prefix, Slots& slots, Workers& workers);
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  // Workspace for N rows. x stays valid until the next call; its contents do not.
  void grow(int64_t N);
  float* x() { return x_.data(); }
  const float* queries() const { return q_.data(); }
  const float* keys() const { return k_.data(); }
  const float* values() const { return v_.data(); }

  // All blocks, the R sequences attending within themselves, and the final norm.
  void run(int64_t R, const int32_t* starts);

  // The steps of block `index` over N rows of x.
  void project(int64_t index, int64_t N);  // queries, keys and values of x
  void ask(int64_t index, int64_t N);      // queries to the encoder
  void give(int64_t index, const float* rows, int64_t N);  // keys and values for `ask`, of rows
  // Attends as `rows` says (q, out and rule are filled in here), and adds to x.
  void attend(int64_t index, AttentionRows rows, int64_t N, bool cross);
  void feed_forward(int64_t index, int64_t N);
  void finish(int64_t N);  // the final norm, in place

  // to = norm(from), [N, D]; to may be from.
  void norm(const NormWeights& weights, const float* from, float* to, int64_t N);
  // to += down(activation(up(from))), [N, D].
  void through(const Affine& gate, const Affine& up, const Affine& down, const float* from,
               float* to, int64_t N);

  const StackShape& shape() const { return shape_; }

 private:
  // What a block's map reads: x itself, or its norm.
  const float* input(const NormWeights& weights, int64_t N);
  void settle(const NormWeights& weights, int64_t N);  // the norm after an addition
  AttentionRule rule(bool cross, int64_t longest);

  StackShape shape_;
  Workers& workers_;
  Activate activate_;
  std::vector<BlockWeights> blocks_;
  NormWeights final_norm_;
  const float* relative_ = nullptr;  // [H, 2 span + 1]
  std::vector<float> bias_;          // [H, 2 reach + 1], relative_ by every distance in use
  int64_t reach_ = -1;
  std::vector<float> x_, h_, q_, k_, v_, gate_, up_;
  Sheet sheet_;
};

}  // namespace sparing
