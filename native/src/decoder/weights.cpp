// Names and shapes of the weights, and the cache.
#include <stdexcept>

#include "decoder.h"

namespace sparing {
namespace {

std::string extent(int64_t Z, int64_t D) {
  return "[" + std::to_string(Z) + (D ? ", " + std::to_string(D) : "") + "]";
}

}  // namespace

Decoder::Decoder(DecoderShape shape, Isa isa, int threads, Activations activations)
    : shape_(std::move(shape)),
      attention_(attention_for(isa)),
      swiglu_(swiglu_for(isa)),
      pool_(threads),
      products_(isa, activations, &pool_),
      layers_(static_cast<size_t>(shape_.layers)),
      scratch_(static_cast<size_t>(threads)) {
  const int64_t D = shape_.width, K = shape_.head_width, M = shape_.hidden;
  const int64_t HK = shape_.heads * K, GK = shape_.kv_heads * K;
  slots_["embed.weight"] = {shape_.vocab, D, &embed_, nullptr, false};
  name_vector("final_norm.weight", &final_norm_, D);
  if (!shape_.tied) name_affine("head", &head_, shape_.vocab, D, false);
  for (size_t i = 0; i < layers_.size(); ++i) {
    LayerWeights& layer = layers_[i];
    const std::string at = "layers." + std::to_string(i) + ".";
    name_vector(at + "attention_norm.weight", &layer.attention_norm, D);
    name_vector(at + "mlp_norm.weight", &layer.mlp_norm, D);
    if (shape_.qk_norm) {
      name_vector(at + "attention.q_norm.weight", &layer.q_norm, K);
      name_vector(at + "attention.k_norm.weight", &layer.k_norm, K);
    }
    name_affine(at + "attention.query", &layer.query, HK, D, shape_.qkv_bias);
    name_affine(at + "attention.key", &layer.key, GK, D, shape_.qkv_bias);
    name_affine(at + "attention.value", &layer.value, GK, D, shape_.qkv_bias);
    name_affine(at + "attention.output", &layer.output, D, HK, shape_.output_bias);
    name_affine(at + "mlp.gate", &layer.gate, M, D, shape_.mlp_bias);
    name_affine(at + "mlp.up", &layer.up, M, D, shape_.mlp_bias);
    name_affine(at + "mlp.down", &layer.down, D, M, shape_.mlp_bias);
  }
}

void Decoder::name_affine(const std::string& name, Affine* affine, int64_t Z, int64_t D,
                          bool bias) {
  slots_[name + ".weight"] = {Z, D, &affine->weight, nullptr, false};
  if (bias) name_vector(name + ".bias", &affine->bias, Z);
}

void Decoder::name_vector(const std::string& name, const float** vector, int64_t count) {
  slots_[name] = {count, 0, nullptr, vector, false};
}

Decoder::Slot& Decoder::slot(const std::string& name, int64_t Z, int64_t D) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) throw std::invalid_argument(name + ": this model has no such weight");
  Slot& slot = found->second;
  if (slot.Z != Z || slot.D != D)
    throw std::invalid_argument(name + ": expected shape " + extent(slot.Z, slot.D) + ", got " +
                                extent(Z, D));
  return slot;
}

bool Decoder::set_matrix(const std::string& name, const Matrix& matrix) {
  Slot& found = slot(name, matrix.Z, matrix.D);
  if (matrix.packed && matrix.layout != products_.layout())
    throw std::invalid_argument(name + ": packed for another instruction set");
  const bool rows_only = found.matrix == &embed_ && !shape_.tied;
  *found.matrix = rows_only ? matrix : products_.adopt(matrix);
  found.filled = true;
  return found.matrix->data == matrix.data;
}

void Decoder::set_vector(const std::string& name, const float* data, int64_t count) {
  Slot& found = slot(name, count, 0);
  *found.vector = data;
  found.filled = true;
}

void Decoder::finish() {
  for (const auto& entry : slots_)
    if (!entry.second.filled) throw std::invalid_argument(entry.first + ": weight is missing");
  if (shape_.tied) head_.weight = embed_;
}

}  // namespace sparing
