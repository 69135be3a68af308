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
      activate_(activation_for(isa, shape_.activation)),
      pool_(threads),
      products_(isa, activations, &pool_),
      attend_(isa, pool_),
      layers_(static_cast<size_t>(shape_.layers)) {
  const int64_t D = shape_.width;
  slots_["embed.weight"] = {shape_.vocab, D, &embed_, nullptr, false};
  if (shape_.learned_positions)
    slots_["positions.weight"] = {shape_.context, D, &positions_, nullptr, false};
  name_norm("final_norm", &final_norm_);
  if (!shape_.tied) name_affine("head", &head_, shape_.vocab, D, false);
  for (int64_t i = 0; i < shape_.layers; ++i) name_layer(i);
}

void Decoder::name_layer(int64_t index) {
  LayerWeights& layer = layers_[static_cast<size_t>(index)];
  const std::string at = "layers." + std::to_string(index) + ".";
  const int64_t D = shape_.width, K = shape_.head_width;
  const int64_t HK = shape_.heads * K, GK = shape_.kv_heads * K;
  if (shape_.norm_place != NormPlace::post) {
    name_norm(at + "attention_norm", &layer.attention_norm);
    name_norm(at + "mlp_norm", &layer.mlp_norm);
  }
  if (shape_.norm_place != NormPlace::pre) {
    name_norm(at + "attention_post_norm", &layer.attention_post_norm);
    name_norm(at + "mlp_post_norm", &layer.mlp_post_norm);
  }
  if (shape_.qk_norm != QkNorm::none) {
    const bool full = shape_.qk_norm == QkNorm::full;
    name_vector(at + "attention.q_norm.weight", &layer.q_norm, full ? HK : K);
    name_vector(at + "attention.k_norm.weight", &layer.k_norm, full ? GK : K);
  }
  name_affine(at + "attention.query", &layer.query, HK, D, shape_.qkv_bias);
  name_affine(at + "attention.key", &layer.key, GK, D, shape_.qkv_bias);
  name_affine(at + "attention.value", &layer.value, GK, D, shape_.qkv_bias);
  name_affine(at + "attention.output", &layer.output, D, HK, shape_.output_bias);
  if (!shape_.layer[static_cast<size_t>(index)].experts) {
    name_feed_forward(at + "mlp", &layer.mlp, shape_.hidden);
    return;
  }
  name_affine(at + "mlp.router", &layer.router, shape_.experts, D, false);
  layer.experts.resize(static_cast<size_t>(shape_.experts));
  for (int64_t e = 0; e < shape_.experts; ++e)
    name_feed_forward(at + "mlp.experts." + std::to_string(e),
                      &layer.experts[static_cast<size_t>(e)], shape_.expert_hidden);
  if (shape_.shared_hidden > 0) {
    name_affine(at + "mlp.shared_router", &layer.shared_router, 1, D, false);
    name_feed_forward(at + "mlp.shared", &layer.shared, shape_.shared_hidden);
  }
}

void Decoder::name_feed_forward(const std::string& name, FeedForward* maps, int64_t hidden) {
  const int64_t D = shape_.width;
  if (shape_.gated) name_affine(name + ".gate", &maps->gate, hidden, D, shape_.mlp_bias);
  name_affine(name + ".up", &maps->up, hidden, D, shape_.mlp_bias);
  name_affine(name + ".down", &maps->down, D, hidden, shape_.mlp_bias);
}

void Decoder::name_norm(const std::string& name, Norm* norm) {
  name_vector(name + ".weight", &norm->weight, shape_.width);
  if (shape_.norm == NormKind::layer) name_vector(name + ".bias", &norm->bias, shape_.width);
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
  const bool rows_only =
      found.matrix == &positions_ || (found.matrix == &embed_ && !shape_.tied);
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
