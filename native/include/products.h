// Products of float32 rows with weights in any format, shared out among the threads of a pool.
//
// Callers hand in float rows; which weights meet them rounded to int8 is decided here. A row's
// result has the same bits whatever other rows are there and for any number of threads.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "linear.h"
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

  // All of them over N rows each, as one set of tasks (the N of each product is not read).
  void multiply(std::initializer_list<Product> products, int64_t N);
  // Each over its own number of rows, which may be 0; for the experts of a mixture.
  void multiply(const std::vector<Product>& products);

  // row[d] = W[z, d] in float32, as an embedding.
  void decode(const Matrix& w, int64_t z, float* row) const { linear_.decode(w, z, row); }

  Activations activations() const { return activations_; }

 private:
  Linear linear_;
  Activations activations_;
  Pool* pool_;
  std::vector<Product> asked_;               // of the call under way
  std::vector<std::vector<float>> scratch_;  // one per thread
};

}  // namespace sparing
