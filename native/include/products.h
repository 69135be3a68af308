// Products of float32 rows with weights in any format, shared out among the threads of a pool.
//
// Callers hand in float rows; how weights lie and which of them meet rows rounded to int8 is
// decided here. A row's result has the same bits whatever other rows are there and for any number
// of threads.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "linear.h"
#include "packed.h"
#include "packed_store.h"
#include "pool.h"

namespace sparing {

struct Affine {
  Matrix weight;
  const float* bias = nullptr;  // [Z]
};

// y = x W^T + bias, or added to y; x [N, D] and y [N, Z] tight, y overlaps nothing.
struct Product {
  const Affine* map = nullptr;
  const float* x = nullptr;
  float* y = nullptr;
  bool add = false;
  int64_t N = 0;  // rows
};

enum class Activations : int { int8 = 0, exact = 1 };

class Products {
 public:
  // `pool` is not owned and outlives this object.
  Products(Isa isa, Activations activations, Pool* pool);

  // A matrix as products here read it best: packed, in memory of this object, or `plain` itself,
  // whose arrays must then stay. Throws std::bad_alloc, and std::invalid_argument for packed ones
  // of another layout or where activations are exact.
  Matrix adopt(const Matrix& plain);

  // All of them over N rows each, as one set of tasks (the N of each product is not read).
  void multiply(std::initializer_list<Product> products, int64_t N);
  // Each over its own number of rows, which may be 0; for the experts of a mixture.
  void multiply(const std::vector<Product>& products);

  // row[d] = W[z, d] in float32, as an embedding.
  void decode(const Matrix& w, int64_t z, float* row) const;

  Activations activations() const { return activations_; }
  Layout layout() const { return packed_.layout; }

 private:
  // Rows of one x as some of the products want them.
  struct Prepared {
    const float* x;
    int64_t N, D, group;
    Kind kind;
    std::vector<int8_t> code;
    std::vector<float> scale, sum;
    std::vector<int32_t> start;
    std::vector<uint16_t> bits;
    Rows rows;
  };

  const Rows& rows_for(const Product& product);
  void fill(Prepared* prepared);

  Linear linear_;
  PackedLinear packed_;
  Activations activations_;
  Pool* pool_;
  PackedStore store_;
  std::vector<Product> asked_;               // of the call under way
  std::vector<const Rows*> rows_;            // of each product; null where weights are plain
  std::vector<Prepared> prepared_;           // kept, so that a step allocates nothing
  size_t in_use_ = 0;
  std::vector<std::vector<float>> scratch_;  // one per thread
};

}  // namespace sparing
