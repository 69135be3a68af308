// An encoder and a decoder that attends to it, behind the paged interface of a decoder.
//
// A sequence is its source, then its target. The ids of a source are kept until all of it is
// there; then it is encoded, and each layer of the decoder gets its keys and values. Targets are
// computed as in any decoder.
// Layout     Two caches share the blocks: position s of the source stands in slot s of the one,
//            position t of the target (the first is 0) in slot t of the other.
// Numerics   As decoder.h. Weights are not copied; check() must have passed before forward().
#pragma once

#include <cstdint>
#include <vector>

#include "encoder_shape.h"
#include "lines.h"
#include "stack.h"

namespace sparing {

struct Seq2SeqBatch {
  int64_t N = 0, R = 0, P = 0, L = 0;  // rows, sequences, block-table columns, rows with logits
  const int32_t* ids = nullptr;         // [N]
  const int32_t* positions = nullptr;   // [N]; consecutive within a sequence
  const int32_t* starts = nullptr;      // [R + 1]
  const int32_t* blocks = nullptr;      // [R, P]
  const int32_t* sources = nullptr;     // [R] positions of each sequence that are its source
  const int32_t* logit_rows = nullptr;  // [L], rising; of targets
  float* out = nullptr;                 // [L, vocab]
};

class Seq2Seq {
 public:
  Seq2Seq(Seq2SeqShape shape, Isa isa, Activations activations, int threads);

  const Seq2SeqShape& shape() const { return shape_; }
  int threads() const { return workers_.pool.threads(); }
  Slots& slots() { return slots_; }
  void finish();

  // Room for blocks * block_tokens positions, zeroed; what was there is lost.
  void make_cache(int64_t blocks, int64_t block_tokens, KvKind kind);

  // Throws std::invalid_argument when a batch asks for anything outside its arrays, the cache,
  // the vocabulary or the context, or wants logits of a source.
  void check(const Seq2SeqBatch& batch) const;
  void forward(const Seq2SeqBatch& batch);

 private:
  enum Plane : int { self = 0, cross = 1 };
  char* plane(int64_t layer, Plane which, bool values);
  void write(int64_t layer, Plane which, int64_t row, int64_t slot, const float* k, const float* v);
  const int32_t* table(int64_t sequence) const { return batch_.blocks + sequence * batch_.P; }

  int32_t* kept() { return reinterpret_cast<int32_t*>(kept_.data()); }

  void split();            // rows into sources to encode and targets
  void encode_sources();   // keys and values of sources that are complete
  void decode_targets();
  void score();

  Seq2SeqShape shape_;
  Workers workers_;
  Slots slots_;
  Stack encoder_, decoder_;
  Matrix embed_;
  Affine head_;

  KvLayout layout_;
  int64_t blocks_ = 0;
  Lines cache_;                // [layers][self, cross][keys, values][blocks][block bytes]
  Lines kept_;                 // [blocks * block_tokens] ids of sources, int32

  Seq2SeqBatch batch_;  // of the call under way
  // Sources that are complete with this batch: their sequences, and where the rows of each begin.
  std::vector<int32_t> complete_, source_starts_;
  // Target rows: row of the batch, sequence of the batch and position in the target of each;
  // then the sequences that have any, with their first row, length and block table.
  std::vector<int32_t> target_rows_, target_sequences_, target_positions_;
  std::vector<int32_t> asking_, target_starts_, target_lengths_, source_lengths_, target_blocks_;
  std::vector<float> scored_;
};

}  // namespace sparing
