// The forward pass of an encoder and its decoder.
#include "seq2seq.h"

#include <algorithm>
#include <stdexcept>

namespace sparing {

Seq2Seq::Seq2Seq(Seq2SeqShape shape, Isa isa, Activations activations, int threads)
    : shape_(shape),
      workers_(isa, activations, threads),
      slots_(workers_.products),
      encoder_(shape.encoder, "encoder.", slots_, workers_),
      decoder_(shape.decoder, "decoder.", slots_, workers_) {
  const int64_t V = shape_.vocab, D = shape_.decoder.width;
  if (shape_.tied) {
    slots_.matrix("embed.weight", &embed_, V, D);
  } else {
    slots_.rows("embed.weight", &embed_, V, D);
    slots_.affine("head", &head_, V, D, false);
  }
}

void Seq2Seq::finish() {
  slots_.check_filled();
  if (shape_.tied) head_.weight = embed_;
}

void Seq2Seq::make_cache(int64_t blocks, int64_t block_tokens, KvKind kind) {
  KvLayout layout;
  layout.kind = kind;
  layout.G = shape_.decoder.heads, layout.K = shape_.decoder.head_width;
  layout.block_tokens = block_tokens;
  int64_t bytes = 4 * shape_.decoder.layers, slots = 4 * block_tokens;
  if (blocks < 1 || block_tokens < 1 || block_tokens > 4096 ||
      __builtin_mul_overflow(bytes, layout.block_bytes(), &bytes) ||
      __builtin_mul_overflow(bytes, blocks, &bytes) ||
      __builtin_mul_overflow(slots, blocks, &slots))
    throw std::invalid_argument("cache: expected positive extents whose product fits 64 bits");
  blocks_ = 0;
  cache_.take(bytes);
  kept_.take(slots);
  layout_ = layout;
  blocks_ = blocks;
}

char* Seq2Seq::plane(int64_t layer, Plane which, bool values) {
  const int64_t number = (2 * layer + which) * 2 + (values ? 1 : 0);
  return cache_.data() + number * blocks_ * layout_.block_bytes();
}

void Seq2Seq::write(int64_t layer, Plane which, int64_t sequence, int64_t slot, const float* k,
                    const float* v) {
  const int64_t block = table(sequence)[slot / layout_.block_tokens];
  const int64_t place = slot % layout_.block_tokens;
  kv_write_keys(layout_, plane(layer, which, false), block, place, k);
  kv_write_values(layout_, plane(layer, which, true), block, place, v);
}

void Seq2Seq::split() {
  for (auto* list : {&complete_, &target_rows_, &target_sequences_, &target_positions_, &asking_,
                     &target_lengths_, &source_lengths_, &target_blocks_})
    list->clear();
  source_starts_.assign(1, 0);
  target_starts_.assign(1, 0);
  const int64_t T = layout_.block_tokens;
  for (int64_t r = 0; r < batch_.R; ++r) {
    const int32_t source = batch_.sources[r], sequence = static_cast<int32_t>(r);
    const int32_t begin = batch_.starts[r], end = batch_.starts[r + 1];
    for (int32_t n = begin; n < end; ++n) {
      const int32_t position = batch_.positions[n];
      if (position < source) {
        kept()[table(r)[position / T] * T + position % T] = batch_.ids[n];
        continue;
      }
      target_rows_.push_back(n);
      target_sequences_.push_back(sequence);
      target_positions_.push_back(position - source);
    }
    const int32_t last = batch_.positions[end - 1];
    if (batch_.positions[begin] < source && last >= source - 1) {
      complete_.push_back(sequence);
      source_starts_.push_back(source_starts_.back() + source);
    }
    if (last < source) continue;
    asking_.push_back(sequence);
    target_starts_.push_back(static_cast<int32_t>(target_rows_.size()));
    target_lengths_.push_back(last - source + 1);
    source_lengths_.push_back(source);
    target_blocks_.insert(target_blocks_.end(), table(r), table(r) + batch_.P);
  }
}

void Seq2Seq::encode_sources() {
  if (complete_.empty()) return;
  const int64_t D = shape_.encoder.width, T = layout_.block_tokens;
  const int64_t HK = layout_.G * layout_.K, N = source_starts_.back();
  encoder_.grow(N);
  decoder_.grow(N);
  std::vector<int32_t> of(static_cast<size_t>(N));
  for (size_t i = 0; i < complete_.size(); ++i)
    std::fill(of.begin() + source_starts_[i], of.begin() + source_starts_[i + 1],
              static_cast<int32_t>(i));
  const auto slot = [&](int64_t n) { return n - source_starts_[static_cast<size_t>(of[n])]; };
  workers_.rows(N, [&](int64_t n) {
    const int64_t s = slot(n);
    const int32_t* blocks = table(complete_[static_cast<size_t>(of[n])]);
    workers_.products.decode(embed_, kept()[blocks[s / T] * T + s % T], encoder_.x() + n * D);
  });
  encoder_.run(static_cast<int64_t>(complete_.size()), source_starts_.data());
  for (int64_t layer = 0; layer < shape_.decoder.layers; ++layer) {
    decoder_.give(layer, encoder_.x(), N);
    workers_.rows(N, [&](int64_t n) {
      write(layer, cross, complete_[static_cast<size_t>(of[n])], slot(n),
            decoder_.keys() + n * HK, decoder_.values() + n * HK);
    });
  }
}

void Seq2Seq::decode_targets() {
  const auto N = static_cast<int64_t>(target_rows_.size());
  if (N == 0) return;
  const int64_t D = shape_.decoder.width, HK = layout_.G * layout_.K;
  decoder_.grow(N);
  workers_.rows(N, [&](int64_t n) {
    workers_.products.decode(embed_, batch_.ids[target_rows_[static_cast<size_t>(n)]],
                             decoder_.x() + n * D);
  });
  AttentionRows rows;
  rows.H = layout_.G;
  rows.R = static_cast<int64_t>(asking_.size()), rows.P = batch_.P;
  rows.starts = target_starts_.data(), rows.positions = target_positions_.data();
  rows.blocks = target_blocks_.data();
  rows.layout = layout_;
  for (int64_t layer = 0; layer < shape_.decoder.layers; ++layer) {
    decoder_.project(layer, N);
    workers_.rows(N, [&](int64_t n) {
      const auto row = static_cast<size_t>(n);
      write(layer, self, target_sequences_[row], target_positions_[row],
            decoder_.keys() + n * HK, decoder_.values() + n * HK);
    });
    rows.lengths = target_lengths_.data();
    rows.keys = plane(layer, self, false), rows.values = plane(layer, self, true);
    decoder_.attend(layer, rows, N, false);
    decoder_.ask(layer, N);
    rows.lengths = source_lengths_.data();
    rows.keys = plane(layer, cross, false), rows.values = plane(layer, cross, true);
    decoder_.attend(layer, rows, N, true);
    decoder_.feed_forward(layer, N);
  }
  decoder_.finish(N);
}

// Logits of the rows that are to have them.
void Seq2Seq::score() {
  if (batch_.L == 0) return;
  const int64_t D = shape_.decoder.width;
  if (static_cast<int64_t>(scored_.size()) < batch_.L * D)
    scored_.resize(static_cast<size_t>(batch_.L * D));
  for (int64_t i = 0; i < batch_.L; ++i) {
    const auto found =
        std::lower_bound(target_rows_.begin(), target_rows_.end(), batch_.logit_rows[i]);
    const float* from = decoder_.x() + (found - target_rows_.begin()) * D;
    for (int64_t d = 0; d < D; ++d) scored_[i * D + d] = from[d] * shape_.logit_scale;
  }
  workers_.products.multiply({{&head_, scored_.data(), batch_.out, false}}, batch_.L);
}

void Seq2Seq::forward(const Seq2SeqBatch& batch) {
  const FlushDenormals flush;
  batch_ = batch;
  split();
  encode_sources();
  decode_targets();
  score();
}

}  // namespace sparing
