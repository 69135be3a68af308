// Keys and values of whole sequences, for one layer at a time.
#include <algorithm>

#include "stack.h"

namespace sparing {
namespace {

constexpr int64_t block_tokens = 64;

}  // namespace

void Sheet::lay(int64_t H, int64_t K, int64_t R, const int32_t* starts) {
  layout_.kind = KvKind::fp32;
  layout_.G = H, layout_.K = K, layout_.block_tokens = block_tokens;
  R_ = R, P_ = 1;
  starts_.assign(starts, starts + R + 1);
  lengths_.resize(static_cast<size_t>(R));
  for (int64_t r = 0; r < R; ++r) {
    lengths_[static_cast<size_t>(r)] = starts[r + 1] - starts[r];
    P_ = std::max<int64_t>(P_, (starts[r + 1] - starts[r] + block_tokens - 1) / block_tokens);
  }
  positions_.resize(static_cast<size_t>(starts[R]));
  sequence_.resize(static_cast<size_t>(starts[R]));
  blocks_.assign(static_cast<size_t>(R * P_), -1);
  int32_t taken = 0;
  for (int64_t r = 0; r < R; ++r) {
    const int64_t length = lengths_[static_cast<size_t>(r)];
    for (int64_t i = 0; i * block_tokens < length; ++i)
      blocks_[static_cast<size_t>(r * P_ + i)] = taken++;
    for (int64_t t = 0; t < length; ++t) {
      positions_[static_cast<size_t>(starts[r] + t)] = static_cast<int32_t>(t);
      sequence_[static_cast<size_t>(starts[r] + t)] = static_cast<int32_t>(r);
    }
  }
  const int64_t bytes = taken * layout_.block_bytes();
  for (Lines* buffer : {&keys_, &values_})
    if (buffer->bytes() < bytes) buffer->take(bytes);
}

void Sheet::write(Workers& workers, const float* k, const float* v) {
  const int64_t features = layout_.G * layout_.K;
  workers.rows(static_cast<int64_t>(positions_.size()), [&](int64_t n) {
    const auto row = static_cast<size_t>(n);
    const int64_t position = positions_[row];
    const int64_t block =
        blocks_[static_cast<size_t>(sequence_[row] * P_ + position / block_tokens)];
    kv_write_keys(layout_, keys_.data(), block, position % block_tokens, k + n * features);
    kv_write_values(layout_, values_.data(), block, position % block_tokens, v + n * features);
  });
}

AttentionRows Sheet::rows() const {
  AttentionRows rows;
  rows.H = layout_.G;
  rows.R = R_, rows.P = P_;
  rows.starts = starts_.data(), rows.positions = positions_.data();
  rows.lengths = lengths_.data(), rows.blocks = blocks_.data();
  rows.layout = layout_;
  rows.keys = keys_.data(), rows.values = values_.data();
  return rows;
}

}  // namespace sparing
