// From logits to tokens: greedy choice, sampling and log-probabilities of many rows, without a
// sort and without a copy of the logits.
//
// Meaning    engine/sampling.py: penalties, then temperature, top-k, top-p, min-p; the token whose
//            share of the unit interval, in order of id, holds the row's luck. Ties keep the lower
//            id. Temperature 0 takes the likeliest. Log-probabilities are the model's own, before
//            penalties and temperature.
// Numerics   exp and sums in float64, 64 logits at a time and then block by block, in an order
//            fixed by the vocabulary alone: a row's token depends on its own logits and rule,
//            whatever else is in the batch and for any number of threads. Penalised logits are
//            rounded to float32.
// Agreement  1e-13 relative for a weight, whatever the variant.
#pragma once

#include <cstdint>
#include <vector>

#include "isa.h"
#include "pool.h"

namespace sparing {

struct DrawRule {
  double temperature = 1, top_p = 1, min_p = 0;
  double repetition = 1, presence = 0, frequency = 0;
  double luck = 0;       // in [0, 1)
  int64_t top_k = 0;     // 0: no limit
  int64_t reported = -1; // most likely tokens to report; -1: no log-probabilities at all
};

struct DrawBatch {
  int64_t L = 0, V = 0;
  float* logits = nullptr;             // [L, V]; penalised rows are changed in place
  const DrawRule* rules = nullptr;     // [L]
  const int32_t* seen_starts = nullptr;  // [L + 1] into the two below
  const int32_t* seen_ids = nullptr;     // distinct earlier tokens of a row that is penalised
  const int32_t* seen_counts = nullptr;  // how often each was generated; 0: in the prompt only
  int32_t* ids = nullptr;         // [L] the token; -1 when the largest logit is not finite
  double* logprobs = nullptr;     // [L] of the token, where asked for
  int64_t K = 0;                  // columns of the two below
  int32_t* top_ids = nullptr;     // [L, K] likeliest first, where asked for
  double* top_logprobs = nullptr; // [L, K]
};

struct DrawKernels;  // src/draw/kernels.h
struct DrawRoom;     // src/draw/select.h

class Drawer {
 public:
  explicit Drawer(Isa isa);
  ~Drawer();

  // Throws std::invalid_argument for a rule or a token out of range; nothing is drawn then.
  static void check(const DrawBatch& batch);

  void draw(const DrawBatch& batch, Pool& pool);

 private:
  // What is known of one row; kept from step to step for its memory.
  struct Row {
    std::vector<float> peaks;   // of each block
    std::vector<double> sums;   // of each block's weights
    std::vector<char> whole;    // of each part: nothing in it is not a number
    std::vector<float> before;  // logits of the penalised tokens
    float peak = 0;
    bool finite = false;    // the largest logit is a number
    double log_total = 0;   // of the model's own weights
  };
  void look(const DrawBatch& batch, bool penalised, Pool& pool);
  void weigh(const DrawBatch& batch, bool own, Pool& pool);
  void penalise(const DrawBatch& batch, int64_t row);
  void restore(const DrawBatch& batch, int64_t row);
  void report(const DrawBatch& batch, int64_t row, DrawRoom& room);
  int32_t choose(const DrawBatch& batch, int64_t row, DrawRoom& room) const;

  const DrawKernels& kernels_;
  std::vector<Row> rows_;
  std::vector<DrawRoom> rooms_;
};

}  // namespace sparing
