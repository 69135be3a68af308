// The forward pass: for each layer, norm, query/key/value, place in the cache, attend, add;
// norm, feed forward, add. Rows without logits end when the last layer has placed their keys.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "decoder.h"
#include "rms_norm.h"
#include "rope.h"

namespace sparing {
namespace {

constexpr int64_t query_tile = 12;  // query vectors of one attention task
constexpr int64_t row_chunk = 8;    // rows of one task of the row-wise steps

// Output rows per task: some four tasks a thread, none so small that handing it out shows.
int64_t chunk_of(int64_t Z, int64_t D, int64_t N, int threads) {
  const int64_t even = Z / (4 * threads);
  const int64_t least = 16384 / (D * std::min<int64_t>(N, 64)) + 1;
  return (std::max(even, least) + 7) / 8 * 8;
}

uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace

template <class Row>
void Decoder::rows(int64_t count, const Row& row) {
  pool_.run((count + row_chunk - 1) / row_chunk, [&](int64_t task, int) {
    const int64_t end = std::min(count, (task + 1) * row_chunk);
    for (int64_t n = task * row_chunk; n < end; ++n) row(n);
  });
}

// Workspace, the sequence of each row, the angles, and the embedding of the ids.
void Decoder::prepare(const Batch& batch) {
  batch_ = batch;
  const int64_t D = shape_.width, K = shape_.head_width, Y = K / 2, M = shape_.hidden;
  const int64_t HK = shape_.heads * K, GK = shape_.kv_heads * K, R = shape_.heads / shape_.kv_heads;
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
  const int64_t tile = std::max<int64_t>(1, query_tile / R);
  const int64_t floats = std::max(attention_scratch(tile, R, K, longest, block_tokens_),
                                  linear_tile * std::max({D, M, HK}));
  for (auto& scratch : scratch_) grow(scratch, floats);
  rows(N, [&](int64_t n) {
    linear_.decode(embed_, batch.ids[n], &x_[n * D]);
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

// Several products over all rows, as one set of tasks.
void Decoder::multiply(std::initializer_list<Product> products) {
  int64_t total = 0;
  const auto tasks_of = [&](const Matrix& w) {
    const int64_t chunk = chunk_of(w.Z, w.D, batch_.N, threads());
    return (w.Z + chunk - 1) / chunk;
  };
  for (const Product& product : products) total += tasks_of(product.map->weight);
  pool_.run(total, [&](int64_t task, int thread) {
    const Product* product = products.begin();
    while (task >= tasks_of(product->map->weight)) task -= tasks_of(product++->map->weight);
    const Matrix& w = product->map->weight;
    const int64_t chunk = chunk_of(w.Z, w.D, batch_.N, threads());
    linear_.product(w, product->map->bias, product->x, batch_.N, product->y, w.Z, product->add,
                    task * chunk, std::min(w.Z, (task + 1) * chunk), scratch_[thread].data());
  });
}

// Head by head into the row's place in the cache.
void Decoder::write(int64_t row, int64_t layer, const float* from, bool values) {
  const int64_t G = shape_.kv_heads, K = shape_.head_width, position = batch_.positions[row];
  const int64_t block = batch_.blocks[sequence_[row] * batch_.P + position / block_tokens_];
  char* base = cache_of(layer, values);
  for (int64_t g = 0; g < G; ++g) {
    const int64_t at = ((block * G + g) * block_tokens_ + position % block_tokens_) * K;
    if (!bf16_) {
      std::memcpy(base + 4 * at, from + g * K, static_cast<size_t>(K) * 4);
      continue;
    }
    for (int64_t k = 0; k < K; ++k) {
      const uint16_t bits = to_bf16(from[g * K + k]);
      std::memcpy(base + 2 * (at + k), &bits, 2);
    }
  }
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

// h = attention of q over the cache; a task is a few rows of one sequence and one key-value head.
void Decoder::attend(int64_t index) {
  const int64_t H = shape_.heads, G = shape_.kv_heads, K = shape_.head_width, R = H / G;
  const int64_t tile = std::max<int64_t>(1, query_tile / R);
  std::vector<std::pair<int64_t, int64_t>> spans;  // first row, rows
  for (int64_t r = 0; r < batch_.R; ++r)
    for (int64_t n = batch_.starts[r]; n < batch_.starts[r + 1]; n += tile)
      spans.emplace_back(n, std::min<int64_t>(tile, batch_.starts[r + 1] - n));
  const int64_t bytes = bf16_ ? 2 : 4, head = block_tokens_ * K;
  pool_.run(static_cast<int64_t>(spans.size()) * G, [&](int64_t task, int thread) {
    const auto [row, count] = spans[static_cast<size_t>(task / G)];
    const int64_t g = task % G;
    AttentionTask work;
    work.q = &q_[row * H * K + g * R * K];
    work.out = &h_[row * H * K + g * R * K];
    work.row_stride = H * K;
    work.T = count, work.R = R, work.K = K;
    work.position = batch_.positions[row];
    work.keys = cache_of(index, false) + g * head * bytes;
    work.values = cache_of(index, true) + g * head * bytes;
    work.bf16 = bf16_;
    work.block_stride = G * head, work.block_tokens = block_tokens_;
    work.blocks = batch_.blocks + sequence_[row] * batch_.P;
    work.scale = 1.0f / std::sqrt(static_cast<float>(K));
    work.scratch = scratch_[thread].data();
    attention_(work);
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
