// The feed-forward map of a block, and how what attention or mlp found joins the stream.
#include "decoder.h"

namespace sparing {

// x += scale * post(map(from))
void Decoder::join(const Affine& map, const float* from, const Norm& post) {
  if (post.weight == nullptr && shape_.residual_scale == 1.0f) {
    multiply({{&map, from, x_.data(), true}});
    return;
  }
  multiply({{&map, from, spare_.data(), false}});
  add(spare_, post);
}

// x += scale * post(from), which is spoilt.
void Decoder::add(std::vector<float>& from, const Norm& post) {
  const int64_t D = shape_.width;
  const float scale = shape_.residual_scale;
  rows(batch_.N, [&](int64_t n) {
    float *row = &from[n * D], *x = &x_[n * D];
    if (post.weight != nullptr) norm_row(post, row, row);
    for (int64_t d = 0; d < D; ++d) x[d] += scale * row[d];
  });
}

// gate = activation(gate(from)) * up(from), or activation(up(from)) without a gate: [N, hidden].
void Decoder::through(const FeedForward& maps, const float* from, int64_t hidden) {
  if (shape_.gated)
    multiply({{&maps.gate, from, gate_.data(), false}, {&maps.up, from, up_.data(), false}});
  else
    multiply({{&maps.up, from, gate_.data(), false}});
  activate(batch_.N, hidden);
}

// gate = activation(gate) * up, or activation(gate) without a gate: [count, hidden].
void Decoder::activate(int64_t count, int64_t hidden) {
  rows(count, [&](int64_t n) {
    activate_(&gate_[n * hidden], shape_.gated ? &up_[n * hidden] : nullptr, hidden);
  });
}

void Decoder::feed_forward(const LayerWeights& layer, const float* from) {
  if (!layer.experts.empty()) {
    expert_maps(layer, from);
    return;
  }
  through(layer.mlp, from, shape_.hidden);
  join(layer.mlp.down, gate_.data(), layer.mlp_post_norm);
}

}  // namespace sparing
