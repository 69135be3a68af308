// Rules and results of a draw as arrays of Python; see sparing/kernels/native.py.
#pragma once

#include <vector>

#include "arrays.h"
#include "draw.h"

namespace sparing {

// What Python hands over beside the logits, checked against each other.
class DrawArrays {
 public:
  // temperature, top_p, min_p, repetition, presence, frequency, luck, top_k, reported
  static constexpr size_t columns = 9;

  DrawArrays(const In<double, 2>& rules, const In<int32_t, 1>& seen_starts,
             const In<int32_t, 1>& seen_ids, const In<int32_t, 1>& seen_counts,
             const Out<int32_t, 1>& ids, const Out<double, 1>& logprobs,
             const Out<int32_t, 2>& top_ids, const Out<double, 2>& top_logprobs)
      : rules_(rules.shape(0)) {
    const size_t L = rules.shape(0);
    require(rules.shape(1) == columns, "rules_LC: expected 9 columns");
    require(seen_starts.shape(0) == L + 1, "seen_starts: expected one more than rows");
    require(seen_ids.shape(0) == seen_counts.shape(0), "seen_counts: expected one for each id");
    require(seen_starts.data()[L] >= 0 &&
                static_cast<size_t>(seen_starts.data()[L]) <= seen_ids.shape(0),
            "seen_ids: expected as many as seen_starts ends with");
    require(ids.shape(0) == L && logprobs.shape(0) == L && top_ids.shape(0) == L &&
                top_logprobs.shape(0) == L && top_ids.shape(1) == top_logprobs.shape(1),
            "ids_L, logprobs_L, top_ids_LK, top_logprobs_LK: expected a row for each rule");
    for (size_t row = 0; row < L; ++row) {
      const double* from = rules.data() + row * columns;
      DrawRule& rule = rules_[row];
      rule.temperature = from[0], rule.top_p = from[1], rule.min_p = from[2];
      rule.repetition = from[3], rule.presence = from[4], rule.frequency = from[5];
      rule.luck = from[6], rule.top_k = whole(from[7]), rule.reported = whole(from[8]);
    }
    batch_.L = static_cast<int64_t>(L), batch_.rules = rules_.data();
    batch_.seen_starts = seen_starts.data(), batch_.seen_ids = seen_ids.data();
    batch_.seen_counts = seen_counts.data(), batch_.ids = ids.data();
    batch_.logprobs = logprobs.data(), batch_.K = static_cast<int64_t>(top_ids.shape(1));
    batch_.top_ids = top_ids.data(), batch_.top_logprobs = top_logprobs.data();
  }

  // With the logits that the rules are for, row by row.
  DrawBatch of(const Out<float, 2>& logits) const {
    require(logits.shape(0) == rules_.size(), "logits_LV: expected a row for each rule");
    DrawBatch whole = batch_;
    whole.V = static_cast<int64_t>(logits.shape(1)), whole.logits = logits.data();
    return whole;
  }

 private:
  static int64_t whole(double value) {
    require(value >= -1 && value < 4294967296.0, "top_k, logprobs: expected up to 2^32");
    return static_cast<int64_t>(value);
  }

  std::vector<DrawRule> rules_;
  DrawBatch batch_;  // without logits
};

}  // namespace sparing
