// The forward pass: for each layer, norm, query/key/value, place in the cache, attend, add;
// norm, feed forward, add. Rows without logits end when the last layer has placed their keys.
#include <algorithm>
#include <cmath>

#include "decoder.h"
#include "layer_norm.h"
#include "rms_norm.h"
#include "rope.h"

namespace sparing {

// Workspace, the sequence of each row, the angles, and the embedding of the ids.
void Decoder::prepare(const Batch& batch) {
  batch_ = batch;
  const int64_t D = shape_.width, K = shape_.head_width, E = shape_.experts;
  const int64_t X = shape_.experts_per_token;
  const int64_t M = std::max({shape_.hidden, X * shape_.expert_hidden, shape_.shared_hidden});
  const int64_t HK = shape_.heads * K, GK = shape_.kv_heads * K;
  const int64_t Y = shape_.rotations.empty() ? 0 : shape_.rotations[0].frequencies.size();
  const auto turns = static_cast<int64_t>(shape_.rotations.size()) * Y;
  const auto grow = [](auto& v, int64_t count) {
    if (static_cast<int64_t>(v.size()) < count) v.resize(static_cast<size_t>(count));
  };
  const int64_t N = batch.N, most = std::max(N, batch.L);
  for (auto [buffer, columns] :
       {std::pair(&x_, D), {&q_, HK}, {&k_, GK}, {&v_, GK}, {&gate_, M}, {&up_, M},
        {&cosine_, turns}, {&sine_, turns}, {&parallel_, shape_.parallel ? D : 0},
        {&router_, E}, {&shared_router_, shape_.shared_hidden ? int64_t{1} : int64_t{0}},
        {&gathered_, X * D}, {&experts_out_, X * D}})
    grow(*buffer, most * columns);
  for (auto* buffer : {&h_, &spare_}) grow(*buffer, most * std::max(D, HK));
  grow(choices_, most * X);
  grow(place_, most * X);
  for (auto* counts : {&first_, &next_}) grow(*counts, E + 1);
  sequence_.resize(static_cast<size_t>(N));
  for (int64_t r = 0; r < batch.R; ++r)
    std::fill(sequence_.begin() + batch.starts[r], sequence_.begin() + batch.starts[r + 1], r);
  rows(N, [&](int64_t n) {
    embed(n);
    turn_angles(n);
  });
}

// x = scale * embedding of the row's id, and of its position
void Decoder::embed(int64_t n) {
  const int64_t D = shape_.width;
  float* x = &x_[n * D];
  products_.decode(embed_, batch_.ids[n], x);
  if (shape_.embedding_scale != 1.0f)
    for (int64_t d = 0; d < D; ++d) x[d] *= shape_.embedding_scale;
  if (!shape_.learned_positions) return;
  float* position = &spare_[n * D];
  products_.decode(positions_, batch_.positions[n], position);
  for (int64_t d = 0; d < D; ++d) x[d] += position[d];
}

// Cosines and sines of the row's position, for every rotation.
void Decoder::turn_angles(int64_t n) {
  const int32_t r = sequence_[static_cast<size_t>(n)];
  const int64_t length = batch_.lengths != nullptr
                             ? batch_.lengths[r]
                             : batch_.positions[batch_.starts[r + 1] - 1] + 1;
  for (size_t i = 0; i < shape_.rotations.size(); ++i) {
    const Rotation& rotation = shape_.rotations[i];
    const auto Y = static_cast<int64_t>(rotation.frequencies.size());
    const bool beyond = !rotation.long_frequencies.empty() && length > rotation.original;
    const int64_t at = (static_cast<int64_t>(i) * batch_.N + n) * Y;
    rope_angles(batch_.positions[n],
                (beyond ? rotation.long_frequencies : rotation.frequencies).data(),
                rotation.scale, Y, &cosine_[at], &sine_[at]);
  }
}

void Decoder::norm_row(const Norm& norm, const float* x, float* y) const {
  if (shape_.norm == NormKind::layer)
    layer_norm(x, norm.weight, norm.bias, shape_.norm_eps, shape_.width, y);
  else
    rms_norm(x, norm.weight, shape_.norm_eps, shape_.width, y);
}

// to = norm(x)
void Decoder::norm(const Norm& norm, std::vector<float>& to) {
  const int64_t D = shape_.width;
  rows(batch_.N, [&](int64_t n) { norm_row(norm, &x_[n * D], &to[n * D]); });
}

// QK-norm and rotation in place, then keys and values into the cache.
void Decoder::place(const LayerWeights& layer, int64_t index) {
  const int64_t H = shape_.heads, G = shape_.kv_heads, K = shape_.head_width;
  const int rotation = shape_.layer[static_cast<size_t>(index)].rotation;
  const int64_t Y = rotation < 0 ? 0 : shape_.rotations[rotation].frequencies.size();
  rows(batch_.N, [&](int64_t n) {
    float *q = &q_[n * H * K], *k = &k_[n * G * K];
    if (shape_.qk_norm == QkNorm::full) {
      rms_norm(q, layer.q_norm, shape_.norm_eps, H * K, q);
      rms_norm(k, layer.k_norm, shape_.norm_eps, G * K, k);
    } else if (shape_.qk_norm == QkNorm::head) {
      for (int64_t h = 0; h < H; ++h)
        rms_norm(q + h * K, layer.q_norm, shape_.norm_eps, K, q + h * K);
      for (int64_t g = 0; g < G; ++g)
        rms_norm(k + g * K, layer.k_norm, shape_.norm_eps, K, k + g * K);
    }
    if (rotation >= 0) {
      const int64_t at = (rotation * batch_.N + n) * Y;
      rope(q, &cosine_[at], &sine_[at], H, K, Y);
      rope(k, &cosine_[at], &sine_[at], G, K, Y);
    }
    write(n, index, k, false);
    write(n, index, &v_[n * G * K], true);
  });
}

// Leaves in x and h only the rows that are to have logits: the rest of the last layer is theirs.
void Decoder::narrow() {
  const auto pick = [&](std::vector<float>& from, int64_t columns) {
    rows(batch_.L, [&](int64_t i) {
      const float* row = &from[batch_.logit_rows[i] * columns];
      std::copy(row, row + columns, &spare_[i * columns]);
    });
    std::copy(spare_.begin(), spare_.begin() + batch_.L * columns, from.begin());
  };
  pick(x_, shape_.width);
  pick(h_, shape_.heads * shape_.head_width);
  batch_.N = batch_.L;
}

// The head's products, scaled and capped; a piece of a row is a task.
void Decoder::score() {
  constexpr int64_t piece = 4096;
  const int64_t V = shape_.vocab, pieces = (V + piece - 1) / piece;
  const float scale = shape_.logit_scale, cap = shape_.logit_softcap;
  multiply({{&head_, h_.data(), batch_.out, false}});
  if (scale == 1.0f && cap == 0.0f) return;
  pool_.run(batch_.N * pieces, [&](int64_t task, int) {
    float* logit = batch_.out + task / pieces * V;
    const int64_t begin = task % pieces * piece, end = std::min(V, begin + piece);
    for (int64_t v = begin; v < end; ++v) {
      logit[v] *= scale;
      if (cap > 0.0f) logit[v] = cap * std::tanh(logit[v] / cap);
    }
  });
}

void Decoder::forward(const Batch& batch) {
  const FlushDenormals flush;
  prepare(batch);
  const bool pre = shape_.norm_place != NormPlace::post;
  for (int64_t i = 0; i < shape_.layers; ++i) {
    const LayerWeights& layer = layers_[static_cast<size_t>(i)];
    if (pre) norm(layer.attention_norm, h_);
    const float* from = pre ? h_.data() : x_.data();
    multiply({{&layer.query, from, q_.data(), false},
              {&layer.key, from, k_.data(), false},
              {&layer.value, from, v_.data(), false}});
    place(layer, i);
    attend(i);
    if (i + 1 == shape_.layers) narrow();
    if (batch_.N == 0) return;
    if (shape_.parallel) norm(layer.mlp_norm, parallel_);
    join(layer.output, h_.data(), layer.attention_post_norm);
    if (pre && !shape_.parallel) norm(layer.mlp_norm, h_);
    feed_forward(layer, shape_.parallel ? parallel_.data() : pre ? h_.data() : x_.data());
  }
  norm(final_norm_, h_);
  score();
}

}  // namespace sparing
