// The steps of a block.
#include "stack.h"

#include <algorithm>

#include "layer_norm.h"
#include "rms_norm.h"

namespace sparing {

Workers::Workers(Isa isa, Activations activations, int threads)
    : isa(isa), pool(threads), products(isa, activations, &pool), attend(isa, pool) {}

Stack::Stack(const StackShape& shape, const std::string& prefix, Slots& slots, Workers& workers)
    : shape_(shape),
      workers_(workers),
      activate_(activation_for(workers.isa, shape.activation)),
      blocks_(static_cast<size_t>(shape.layers)) {
  const int64_t D = shape.width, HK = shape.heads * shape.head_width, M = shape.hidden;
  const auto name_maps = [&](const std::string& at, Maps& maps) {
    slots.norm(at + "_norm", &maps.norm, shape.norm, D);
    slots.affine(at + ".query", &maps.query, HK, D, shape.qkv_bias);
    slots.affine(at + ".key", &maps.key, HK, D, shape.qkv_bias);
    slots.affine(at + ".value", &maps.value, HK, D, shape.qkv_bias);
    slots.affine(at + ".output", &maps.output, D, HK, shape.output_bias);
  };
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const std::string at = prefix + "layers." + std::to_string(i) + ".";
    BlockWeights& block = blocks_[i];
    name_maps(at + "attention", block.self);
    if (shape.cross) name_maps(at + "cross", block.cross);
    slots.norm(at + "mlp_norm", &block.mlp_norm, shape.norm, D);
    if (shape.gated) slots.affine(at + "mlp.gate", &block.gate, M, D, shape.mlp_bias);
    slots.affine(at + "mlp.up", &block.up, M, D, shape.mlp_bias);
    slots.affine(at + "mlp.down", &block.down, D, M, shape.mlp_bias);
  }
  if (shape.final_norm) slots.norm(prefix + "final_norm", &final_norm_, shape.norm, D);
  if (shape.span > 0)
    slots.vector(prefix + "relative", &relative_, shape.heads * (2 * shape.span + 1));
}

void Stack::grow(int64_t N) {
  const int64_t D = shape_.width, HK = shape_.heads * shape_.head_width, M = shape_.hidden;
  const auto fit = [&](std::vector<float>& buffer, int64_t columns) {
    if (static_cast<int64_t>(buffer.size()) < N * columns)
      buffer.resize(static_cast<size_t>(N * columns));
  };
  fit(x_, D);
  fit(h_, std::max(D, HK));
  for (auto* buffer : {&q_, &k_, &v_}) fit(*buffer, HK);
  fit(up_, M);
  if (shape_.gated) fit(gate_, M);
}

void Stack::norm(const NormWeights& weights, const float* from, float* to, int64_t N) {
  const int64_t D = shape_.width;
  const bool rms = shape_.norm == NormKind::rms;
  workers_.rows(N, [&](int64_t n) {
    if (rms)
      rms_norm(from + n * D, weights.weight, shape_.norm_eps, D, to + n * D);
    else
      layer_norm(from + n * D, weights.weight, weights.bias, shape_.norm_eps, D, to + n * D);
  });
}

const float* Stack::input(const NormWeights& weights, int64_t N) {
  if (shape_.post) return x_.data();
  norm(weights, x_.data(), h_.data(), N);
  return h_.data();
}

void Stack::settle(const NormWeights& weights, int64_t N) {
  if (shape_.post) norm(weights, x_.data(), x_.data(), N);
}

void Stack::project(int64_t index, int64_t N) {
  const Maps& maps = blocks_[static_cast<size_t>(index)].self;
  const float* from = input(maps.norm, N);
  workers_.products.multiply({{&maps.query, from, q_.data(), false},
                              {&maps.key, from, k_.data(), false},
                              {&maps.value, from, v_.data(), false}},
                             N);
}

void Stack::ask(int64_t index, int64_t N) {
  const Maps& maps = blocks_[static_cast<size_t>(index)].cross;
  workers_.products.multiply({{&maps.query, input(maps.norm, N), q_.data(), false}}, N);
}

void Stack::give(int64_t index, const float* rows, int64_t N) {
  const Maps& maps = blocks_[static_cast<size_t>(index)].cross;
  workers_.products.multiply(
      {{&maps.key, rows, k_.data(), false}, {&maps.value, rows, v_.data(), false}}, N);
}

// T5's bias by distance, as far as `longest` positions are apart. Attention to the encoder has
// none.
AttentionRule Stack::rule(bool cross, int64_t longest) {
  AttentionRule rule;
  rule.scale = shape_.query_scale;
  rule.causal = !cross && shape_.causal;
  if (cross || shape_.span == 0) return rule;
  const int64_t H = shape_.heads, span = shape_.span;
  if (reach_ < longest) {
    reach_ = longest;
    bias_.resize(static_cast<size_t>(H * (2 * reach_ + 1)));
    for (int64_t h = 0; h < H; ++h)
      for (int64_t d = -reach_; d <= reach_; ++d)
        bias_[static_cast<size_t>(h * (2 * reach_ + 1) + reach_ + d)] =
            relative_[h * (2 * span + 1) + span + std::clamp(d, -span, span)];
  }
  rule.bias = bias_.data() + reach_;
  rule.bias_stride = 2 * reach_ + 1;
  return rule;
}

void Stack::attend(int64_t index, AttentionRows rows, int64_t N, bool cross) {
  const BlockWeights& block = blocks_[static_cast<size_t>(index)];
  const Maps& maps = cross ? block.cross : block.self;
  int64_t longest = 0;
  for (int64_t r = 0; r < rows.R; ++r) longest = std::max<int64_t>(longest, rows.lengths[r]);
  rows.q = q_.data(), rows.out = h_.data();
  rows.rule = rule(cross, longest);
  workers_.attend.run(rows);
  workers_.products.multiply({{&maps.output, h_.data(), x_.data(), true}}, N);
  settle(maps.norm, N);
}

void Stack::through(const Affine& gate, const Affine& up, const Affine& down, const float* from,
                    float* to, int64_t N) {
  const int64_t M = shape_.hidden;
  if (shape_.gated) {
    workers_.products.multiply(
        {{&gate, from, gate_.data(), false}, {&up, from, up_.data(), false}}, N);
    workers_.rows(N, [&](int64_t n) { activate_(&gate_[n * M], &up_[n * M], M); });
  } else {
    workers_.products.multiply({{&up, from, up_.data(), false}}, N);
    workers_.rows(N, [&](int64_t n) { activate_(&up_[n * M], nullptr, M); });
  }
  const float* inner = shape_.gated ? gate_.data() : up_.data();
  workers_.products.multiply({{&down, inner, to, true}}, N);
}

void Stack::feed_forward(int64_t index, int64_t N) {
  const BlockWeights& block = blocks_[static_cast<size_t>(index)];
  through(block.gate, block.up, block.down, input(block.mlp_norm, N), x_.data(), N);
  settle(block.mlp_norm, N);
}

void Stack::finish(int64_t N) {
  if (shape_.final_norm) norm(final_norm_, x_.data(), x_.data(), N);
}

void Stack::run(int64_t R, const int32_t* starts) {
  const int64_t N = starts[R];
  sheet_.lay(shape_.heads, shape_.head_width, R, starts);
  for (int64_t i = 0; i < shape_.layers; ++i) {
    project(i, N);
    sheet_.write(workers_, k_.data(), v_.data());
    attend(i, sheet_.rows(), N, false);
    feed_forward(i, N);
  }
  finish(N);
}

}  // namespace sparing
