// The forward pass: for each layer, norm, query/key/value, place in the cache, attend, add;
// norm, feed forward, add. Rows without logits end when the last layer has placed their keys.
#include <algorithm>

#include "decoder.h"
#include "rms_norm.h"
#include "rope.h"

namespace sparing {

// Workspace, the sequence of each row, the angles, and the embedding of the ids.
void Decoder::prepare(const Batch& batch) {
  batch_ = batch;
  const int64_t D = shape_.width, K = shape_.head_width, Y = K / 2, M = shape_.hidden;
  const int64_t HK = shape_.heads * K, GK = shape_.kv_heads * K;
  const auto grow = [](std::vector<float>& v, int64_t count) {
    if (static_cast<int64_t>(v.size()) < count) v.resize(static_cast<size_t>(count));
  };
  const int64_t N = batch.N, most = std::max(N, batch.L);
  for (auto [buffer, columns] : {std::pair(&x_, D), {&q_, HK}, {&k_, GK}, {&v_, GK}, {&gate_, M},
                                 {&up_, M}, {&cosine_, Y}, {&sine_, Y}})
    grow(*buffer, most * columns);
  for (auto* buffer : {&h_, &spare_}) grow(*buffer, most * std::max(D, HK));
  sequence_.resize(static_cast<size_t>(N));
  int64_t longest = 0;
  for (int64_t r = 0; r < batch.R; ++r) {
    std::fill(sequence_.begin() + batch.starts[r], sequence_.begin() + batch.starts[r + 1], r);
    longest = std::max<int64_t>(longest, batch.positions[batch.starts[r + 1] - 1] + 1);
  }
  for (auto& scratch : scratch_) grow(scratch, attention_floats(longest));
  rows(N, [&](int64_t n) {
    products_.decode(embed_, batch.ids[n], &x_[n * D]);
    rope_angles(batch.positions[n], shape_.rope_frequencies.data(), shape_.rope_scale, Y,
                &cosine_[n * Y], &sine_[n * Y]);
  });
}

// h = norm(x)
void Decoder::norm(const float* weight) {
  const int64_t D = shape_.width;
  rows(batch_.N,
       [&](int64_t n) { rms_norm(&x_[n * D], weight, shape_.norm_eps, D, &h_[n * D]); });
}

// QK-norm and rotation in place, then keys and values into the cache.
void Decoder::place(const LayerWeights& layer, int64_t index) {
  const int64_t H = shape_.heads, G = shape_.kv_heads, K = shape_.head_width, Y = K / 2;
  rows(batch_.N, [&](int64_t n) {
    float *q = &q_[n * H * K], *k = &k_[n * G * K];
    if (shape_.qk_norm) {
      for (int64_t h = 0; h < H; ++h)
        rms_norm(q + h * K, layer.q_norm, shape_.norm_eps, K, q + h * K);
      for (int64_t g = 0; g < G; ++g)
        rms_norm(k + g * K, layer.k_norm, shape_.norm_eps, K, k + g * K);
    }
    rope(q, &cosine_[n * Y], &sine_[n * Y], H, Y);
    rope(k, &cosine_[n * Y], &sine_[n * Y], G, Y);
    write(n, index, k, false);
    write(n, index, &v_[n * G * K], true);
  });
}

// x += down(silu(gate(h)) * up(h))
void Decoder::feed_forward(const LayerWeights& layer) {
  const int64_t M = shape_.hidden;
  multiply({{&layer.gate, h_.data(), gate_.data(), false},
            {&layer.up, h_.data(), up_.data(), false}});
  rows(batch_.N, [&](int64_t n) { swiglu_(&gate_[n * M], &up_[n * M], M); });
  multiply({{&layer.down, gate_.data(), x_.data(), true}});
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

void Decoder::forward(const Batch& batch) {
  const FlushDenormals flush;
  prepare(batch);
  for (int64_t i = 0; i < shape_.layers; ++i) {
    const LayerWeights& layer = layers_[static_cast<size_t>(i)];
    norm(layer.attention_norm);
    multiply({{&layer.query, h_.data(), q_.data(), false},
              {&layer.key, h_.data(), k_.data(), false},
              {&layer.value, h_.data(), v_.data(), false}});
    place(layer, i);
    attend(i);
    if (i + 1 == shape_.layers) narrow();
    if (batch_.N == 0) return;
    multiply({{&layer.output, h_.data(), x_.data(), true}});
    norm(layer.mlp_norm);
    feed_forward(layer);
  }
  norm(final_norm_);
  multiply({{&head_, h_.data(), batch_.out, false}});
}

}  // namespace sparing
