// Encoders of texts and images as one object: embedding, blocks, and the head that maps pooled
// rows.
//
// Weights are not copied: the caller keeps the arrays alive and unchanged. check_* must have passed
// before a call.
// Numerics   Float32 between the operations. The rows of a sequence have the same bits whatever
//            else is in the batch, and for any number of threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stack.h"

namespace sparing {

class Encoder {
 public:
  Encoder(EncoderShape shape, Isa isa, Activations activations, int threads);

  const EncoderShape& shape() const { return shape_; }
  int threads() const { return workers_.pool.threads(); }
  Slots& slots() { return slots_; }
  // Throws std::invalid_argument naming the first weight that is still missing.
  void finish() const { slots_.check_filled(); }
  // Rows of one image.
  int64_t image_rows() const { return shape_.positions; }
  int64_t image_patches() const { return shape_.positions - (shape_.first_row ? 1 : 0); }

  // Throws std::invalid_argument when an id is not in the vocabulary, a sequence is empty or
  // longer than the positions, or `starts` do not rise from 0 to N.
  void check_text(const int32_t* ids, int64_t N, const int32_t* starts, int64_t R) const;
  // As above, of any rows that were computed before.
  void check_starts(int64_t N, const int32_t* starts, int64_t R) const;

  // out [N, D]: the rows of R texts after the last block and the final norm.
  void encode_text(const int32_t* ids, const int32_t* starts, int64_t R, float* out);
  // patches [B, patches, numbers] -> out [B, image_rows, D].
  void encode_images(const float* patches, int64_t B, float* out);
  // rows [N, D] -> out [R, D]: each sequence by attention from the learned query.
  void probe(const float* rows, const int32_t* starts, int64_t R, float* out);
  // pooled [B, D] -> out [B, head_width, or D when the head is a norm alone].
  void head(const float* pooled, int64_t B, float* out);

 private:
  void run(const int32_t* starts, int64_t R, float* out);

  EncoderShape shape_;
  Workers workers_;
  Slots slots_;
  Stack stack_;

  Matrix embed_, positions_, types_;
  Affine patch_, head_;
  const float* first_ = nullptr;
  NormWeights embed_norm_, head_norm_;
  const float* probe_query_ = nullptr;
  Maps probe_;
  Affine probe_up_, probe_down_;
  Sheet sheet_;
  std::vector<float> embedded_, probed_, pooled_;
};

}  // namespace sparing
