// The paged cache, and attention over it.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "decoder.h"

namespace sparing {
namespace {

constexpr int64_t query_tile = 12;  // query vectors of one attention task

uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace

void Decoder::make_cache(int64_t blocks, int64_t block_tokens, bool bf16) {
  int64_t bytes = bf16 ? 2 : 4;
  for (const int64_t factor :
       {shape_.layers, int64_t{2}, blocks, shape_.kv_heads, block_tokens, shape_.head_width})
    if (factor < 1 || __builtin_mul_overflow(bytes, factor, &bytes))
      throw std::invalid_argument("cache: expected positive extents whose product fits 64 bits");
  cache_.reset();
  blocks_ = block_tokens_ = 0;
  cache_.reset(static_cast<char*>(std::calloc(static_cast<size_t>(bytes), 1)));
  if (!cache_) throw std::bad_alloc();
  blocks_ = blocks;
  block_tokens_ = block_tokens;
  bf16_ = bf16;
}

char* Decoder::cache_of(int64_t layer, bool values) const {
  const int64_t elements = blocks_ * shape_.kv_heads * block_tokens_ * shape_.head_width;
  return cache_.get() + (2 * layer + (values ? 1 : 0)) * elements * (bf16_ ? 2 : 4);
}

int64_t Decoder::attention_floats(int64_t longest) const {
  const int64_t R = shape_.heads / shape_.kv_heads, tile = std::max<int64_t>(1, query_tile / R);
  return attention_scratch(tile, R, shape_.head_width, longest, block_tokens_);
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
    work.scale = shape_.query_scale;
    work.scratch = scratch_[thread].data();
    attention_(work);
  });
}

}  // namespace sparing
