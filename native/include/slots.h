// Weights by name: which there are, what shape each has, and where it goes.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "decoder_shape.h"
#include "products.h"

namespace sparing {

struct NormWeights {
  const float* weight = nullptr;
  const float* bias = nullptr;  // of layer norms
};

class Slots {
 public:
  // `products` holds the packed copies and outlives this object.
  explicit Slots(Products& products) : products_(products) {}

  // Places named here are filled by name later; they must stay where they are. Of a table of rows,
  // which no product reads, no packed copy is made.
  void matrix(const std::string& name, Matrix* place, int64_t Z, int64_t D);
  void rows(const std::string& name, Matrix* place, int64_t Z, int64_t D);
  void vector(const std::string& name, const float** place, int64_t count);
  void affine(const std::string& name, Affine* place, int64_t Z, int64_t D, bool bias);
  void norm(const std::string& name, NormWeights* place, NormKind kind, int64_t D);

  // Throws std::invalid_argument for a name that was not given a place, or another shape.
  // Returns whether the arrays of `matrix` must stay: those of a packed copy need not.
  bool set_matrix(const std::string& name, const Matrix& matrix);
  void set_vector(const std::string& name, const float* data, int64_t count);
  // Throws std::invalid_argument naming the first weight that is still missing.
  void check_filled() const;

 private:
  struct Slot {
    int64_t Z = 0, D = 0;  // D is 0 for a vector of Z
    Matrix* matrix = nullptr;
    const float** vector = nullptr;
    bool rows = false, filled = false;
  };
  Slot& slot(const std::string& name, int64_t Z, int64_t D);

  Products& products_;
  std::map<std::string, Slot> slots_;
};

}  // namespace sparing
