// The paged cache, and attention over it.
#include <stdexcept>

#include "decoder.h"

namespace sparing {

void Decoder::make_cache(int64_t blocks, int64_t block_tokens, KvKind kind) {
  KvLayout layout;
  layout.kind = kind, layout.G = shape_.kv_heads, layout.K = shape_.head_width;
  layout.block_tokens = block_tokens;
  int64_t bytes = 4;  // the widest number; scales and padding are in the second factor
  for (const int64_t factor :
       {shape_.layers, int64_t{2}, blocks, shape_.kv_heads, block_tokens, layout.width() + 1})
    if (factor < 1 || __builtin_mul_overflow(bytes, factor, &bytes))
      throw std::invalid_argument("cache: expected positive extents whose product fits 64 bits");
  bytes = 2 * shape_.layers * blocks * layout.block_bytes();
  cache_.reset();
  blocks_ = 0;
  constexpr int64_t line = 64;
  cache_.reset(static_cast<char*>(std::calloc(static_cast<size_t>(bytes + line), 1)));
  if (!cache_) throw std::bad_alloc();
  cache_base_ = cache_.get() + (line - reinterpret_cast<uintptr_t>(cache_.get()) % line) % line;
  blocks_ = blocks;
  layout_ = layout;
}

char* Decoder::cache_of(int64_t layer, bool values) const {
  return cache_base_ + (2 * layer + (values ? 1 : 0)) * blocks_ * layout_.block_bytes();
}

// Head by head into the row's place in the cache.
void Decoder::write(int64_t row, int64_t layer, const float* from, bool values) {
  const int64_t tokens = layout_.block_tokens, position = batch_.positions[row];
  const int64_t block = batch_.blocks[sequence_[row] * batch_.P + position / tokens];
  char* base = cache_of(layer, values);
  if (values)
    kv_write_values(layout_, base, block, position % tokens, from);
  else
    kv_write_keys(layout_, base, block, position % tokens, from);
}

AttentionRule Decoder::rule_of(int64_t layer) const {
  AttentionRule rule;
  rule.scale = shape_.query_scale;
  rule.softcap = shape_.attention_softcap;
  rule.window = shape_.layer[static_cast<size_t>(layer)].window;
  return rule;
}

// h = attention of q over the cache.
void Decoder::attend(int64_t index) {
  AttentionRows rows;
  rows.q = q_.data(), rows.out = h_.data(), rows.H = shape_.heads;
  rows.R = batch_.R, rows.P = batch_.P;
  rows.starts = batch_.starts, rows.positions = batch_.positions, rows.blocks = batch_.blocks;
  rows.layout = layout_;
  rows.keys = cache_of(index, false), rows.values = cache_of(index, true);
  rows.rule = rule_of(index);
  attend_.run(rows);
}

}  // namespace sparing
