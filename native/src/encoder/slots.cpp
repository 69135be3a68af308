#include "slots.h"

#include <stdexcept>

namespace sparing {
namespace {

std::string extent(int64_t Z, int64_t D) {
  return "[" + std::to_string(Z) + (D ? ", " + std::to_string(D) : "") + "]";
}

}  // namespace

void Slots::matrix(const std::string& name, Matrix* place, int64_t Z, int64_t D) {
  slots_[name] = {Z, D, place, nullptr, false, false};
}

void Slots::rows(const std::string& name, Matrix* place, int64_t Z, int64_t D) {
  slots_[name] = {Z, D, place, nullptr, true, false};
}

void Slots::vector(const std::string& name, const float** place, int64_t count) {
  slots_[name] = {count, 0, nullptr, place, false, false};
}

void Slots::affine(const std::string& name, Affine* place, int64_t Z, int64_t D, bool bias) {
  matrix(name + ".weight", &place->weight, Z, D);
  if (bias) vector(name + ".bias", &place->bias, Z);
}

void Slots::norm(const std::string& name, NormWeights* place, NormKind kind, int64_t D) {
  vector(name + ".weight", &place->weight, D);
  if (kind == NormKind::layer) vector(name + ".bias", &place->bias, D);
}

Slots::Slot& Slots::slot(const std::string& name, int64_t Z, int64_t D) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) throw std::invalid_argument(name + ": this model has no such weight");
  Slot& slot = found->second;
  if (slot.Z != Z || slot.D != D)
    throw std::invalid_argument(name + ": expected shape " + extent(slot.Z, slot.D) + ", got " +
                                extent(Z, D));
  return slot;
}

bool Slots::set_matrix(const std::string& name, const Matrix& matrix) {
  Slot& found = slot(name, matrix.Z, matrix.D);
  if (matrix.packed && matrix.layout != products_.layout())
    throw std::invalid_argument(name + ": packed for another instruction set");
  *found.matrix = found.rows ? matrix : products_.adopt(matrix);
  found.filled = true;
  return found.matrix->data == matrix.data;
}

void Slots::set_vector(const std::string& name, const float* data, int64_t count) {
  Slot& found = slot(name, count, 0);
  *found.vector = data;
  found.filled = true;
}

void Slots::check_filled() const {
  for (const auto& entry : slots_)
    if (!entry.second.filled) throw std::invalid_argument(entry.first + ": weight is missing");
}

}  // namespace sparing
