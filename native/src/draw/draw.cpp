// The phases of a draw: look at all logits, weigh them, and choose; rows and parts of rows are
// shared out among the threads.
#include "draw.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels.h"
#include "select.h"

namespace sparing {
namespace {

constexpr int64_t part_blocks = 256;  // blocks of one task: 64 KiB of logits

int64_t blocks_of(int64_t V) { return (V + draw_block - 1) / draw_block; }
int64_t parts_of(int64_t V) { return (blocks_of(V) + part_blocks - 1) / part_blocks; }

// 1 / temperature, finite: what is below the peak then weighs nothing, and the peak 1.
double scale_of(const DrawRule& rule) { return std::min(1.0 / rule.temperature, 1e300); }

// Whether a choice needs the weights of all logits, and not those of the top k.
bool needs_all(const DrawRule& rule, int64_t V) {
  return rule.temperature > 0 && (rule.top_k == 0 || rule.top_k >= V);
}

bool is_penalised(const DrawBatch& batch, int64_t row) {
  return batch.seen_starts[row] < batch.seen_starts[row + 1];
}

void require(bool ok, const char* message) {
  if (!ok) throw std::invalid_argument(message);
}

}  // namespace

Drawer::Drawer(Isa isa) : kernels_(draw_kernels_for(isa)) {}
Drawer::~Drawer() = default;

void Drawer::check(const DrawBatch& batch) {
  require(batch.V > 0 && batch.V < (int64_t{1} << 31), "logits_LV: expected 1 to 2^31 - 1 columns");
  require(batch.seen_starts[0] == 0, "seen_starts: expected a first value of 0");
  for (int64_t row = 0; row < batch.L; ++row) {
    const DrawRule& rule = batch.rules[row];
    require(rule.temperature >= 0 && rule.temperature < 1e9, "temperature: expected 0 to 1e9");
    require(rule.top_p > 0 && rule.top_p <= 1, "top_p: expected a share in (0, 1]");
    require(rule.min_p >= 0 && rule.min_p <= 1, "min_p: expected a share in [0, 1]");
    require(rule.luck >= 0 && rule.luck <= 1, "luck: expected a number in [0, 1]");
    require(rule.repetition > 0, "repetition_penalty: expected a positive number");
    require(std::isfinite(rule.presence) && std::isfinite(rule.frequency),
            "penalties: expected finite numbers");
    require(rule.top_k >= 0, "top_k: expected 0 or more");
    require(rule.reported >= -1 && rule.reported <= batch.K, "logprobs: expected -1 to K");
    require(batch.seen_starts[row] <= batch.seen_starts[row + 1],
            "seen_starts: expected rising values");
  }
  for (int64_t i = 0; i < batch.seen_starts[batch.L]; ++i)
    require(batch.seen_ids[i] >= 0 && batch.seen_ids[i] < batch.V,
            "seen_ids: expected tokens of the vocabulary");
}

void Drawer::draw(const DrawBatch& batch, Pool& pool) {
  if (static_cast<int64_t>(rows_.size()) < batch.L) rows_.resize(static_cast<size_t>(batch.L));
  if (static_cast<int>(rooms_.size()) < pool.threads())
    rooms_.resize(static_cast<size_t>(pool.threads()));
  for (int64_t row = 0; row < batch.L; ++row) {
    rows_[row].peaks.resize(static_cast<size_t>(blocks_of(batch.V)));
    rows_[row].sums.resize(static_cast<size_t>(blocks_of(batch.V)));
    rows_[row].whole.resize(static_cast<size_t>(parts_of(batch.V)));
  }
  look(batch, false, pool);
  weigh(batch, true, pool);
  if (batch.seen_starts[batch.L] > 0) {
    for (int64_t row = 0; row < batch.L; ++row) penalise(batch, row);
    look(batch, true, pool);
  }
  weigh(batch, false, pool);
  pool.run(batch.L, [&](int64_t row, int thread) {
    DrawRoom& room = rooms_[static_cast<size_t>(thread)];
    batch.ids[row] = rows_[row].finite ? choose(batch, row, room) : -1;
    restore(batch, row);
    if (batch.ids[row] >= 0 && batch.rules[row].reported >= 0) report(batch, row, room);
  });
}

// The largest logit of every block; of penalised rows alone when `penalised`.
void Drawer::look(const DrawBatch& batch, bool penalised, Pool& pool) {
  const int64_t parts = parts_of(batch.V);
  pool.run(batch.L * parts, [&](int64_t task, int) {
    const int64_t row = task / parts, block = task % parts * part_blocks;
    if (penalised && !is_penalised(batch, row)) return;
    const int64_t first = block * draw_block;
    const int64_t count = std::min(part_blocks * draw_block, batch.V - first);
    rows_[row].whole[task % parts] =
        kernels_.peaks(batch.logits + row * batch.V + first, count, &rows_[row].peaks[block]);
  });
  for (int64_t row = 0; row < batch.L; ++row) {
    Row& known = rows_[row];
    known.peak = *std::max_element(known.peaks.begin(), known.peaks.end());
    known.finite = std::isfinite(known.peak) &&
                   std::all_of(known.whole.begin(), known.whole.end(), [](char c) { return c; });
  }
}

// The sum of every block's weights: of the model's own for rows that report them when `own`, else
// under the rule for rows that choose among all.
void Drawer::weigh(const DrawBatch& batch, bool own, Pool& pool) {
  const int64_t parts = parts_of(batch.V), blocks = blocks_of(batch.V);
  const auto wanted = [&](int64_t row) {
    const DrawRule& rule = batch.rules[row];
    return rows_[row].finite && (own ? rule.reported >= 0 : needs_all(rule, batch.V));
  };
  bool any = false;
  for (int64_t row = 0; row < batch.L; ++row) any = any || wanted(row);
  if (!any) return;
  pool.run(batch.L * parts, [&](int64_t task, int) {
    const int64_t row = task / parts, begin = task % parts * part_blocks;
    if (!wanted(row)) return;
    Row& known = rows_[row];
    const double scale = own ? 1.0 : scale_of(batch.rules[row]);
    const float* x = batch.logits + row * batch.V;
    double weights[draw_block];
    for (int64_t b = begin; b < std::min(blocks, begin + part_blocks); ++b) {
      const int64_t first = b * draw_block, count = std::min(draw_block, batch.V - first);
      known.sums[b] = kernels_.weights(x + first, count, known.peak, scale, weights);
    }
  });
  for (int64_t row = 0; own && row < batch.L; ++row)
    if (wanted(row)) {
      double total = 0;
      for (const double sum : rows_[row].sums) total += sum;
      rows_[row].log_total = std::log(total) + rows_[row].peak;
    }
}

// Repetition multiplies, presence and frequency subtract; the logits before are kept.
void Drawer::penalise(const DrawBatch& batch, int64_t row) {
  const DrawRule& rule = batch.rules[row];
  Row& known = rows_[row];
  known.before.clear();
  for (int32_t i = batch.seen_starts[row]; i < batch.seen_starts[row + 1]; ++i) {
    float& logit = batch.logits[row * batch.V + batch.seen_ids[i]];
    known.before.push_back(logit);
    double value = logit;
    value = value > 0 ? value / rule.repetition : value * rule.repetition;
    const int32_t count = batch.seen_counts[i];
    if (count > 0) value -= rule.presence + rule.frequency * count;
    logit = static_cast<float>(value);
  }
}

void Drawer::restore(const DrawBatch& batch, int64_t row) {
  for (int32_t i = batch.seen_starts[row]; i < batch.seen_starts[row + 1]; ++i)
    batch.logits[row * batch.V + batch.seen_ids[i]] =
        rows_[row].before[static_cast<size_t>(i - batch.seen_starts[row])];
}

// The model's own log-probability of the token drawn, and of the likeliest.
void Drawer::report(const DrawBatch& batch, int64_t row, DrawRoom& room) {
  const float* x = batch.logits + row * batch.V;
  Row& known = rows_[row];
  const double log_total = known.log_total;
  batch.logprobs[row] = x[batch.ids[row]] - log_total;
  const int64_t count = std::min(batch.rules[row].reported, batch.V);
  if (count == 0) return;
  if (is_penalised(batch, row)) kernels_.peaks(x, batch.V, known.peaks.data());
  find_largest(x, batch.V, known.peaks, count, room);
  std::sort(room.found.begin(), room.found.end(), more_likely);
  for (int64_t k = 0; k < count; ++k) {
    batch.top_ids[row * batch.K + k] = room.found[k].id;
    batch.top_logprobs[row * batch.K + k] = room.found[k].logit - log_total;
  }
}

// The token of a row whose largest logit is finite.
int32_t Drawer::choose(const DrawBatch& batch, int64_t row, DrawRoom& room) const {
  const DrawRule& rule = batch.rules[row];
  const Row& known = rows_[row];
  const float* x = batch.logits + row * batch.V;
  if (rule.temperature <= 0) return first_peak(x, batch.V, known.peaks, known.peak);
  const double scale = scale_of(rule);
  const bool all = needs_all(rule, batch.V);
  if (all && rule.top_p >= 1 && rule.min_p <= 0) {
    const Place place = find_block(known.sums, rule.luck);
    const int64_t first = place.block * draw_block, count = std::min(draw_block, batch.V - first);
    double weights[draw_block];
    kernels_.weights(x + first, count, known.peak, scale, weights);
    return static_cast<int32_t>(first + find_place(place, weights, count));
  }
  double total = 0;
  if (all) {
    for (const double sum : known.sums) total += sum;
    const double least =
        rule.top_p < 1 ? (1 - rule.top_p) * total / static_cast<double>(batch.V) : rule.min_p;
    find_above(kernels_, x, batch.V, known.peaks, known.peak, scale, least, room);
  } else {
    find_largest(x, batch.V, known.peaks, rule.top_k, room);
    total = weigh_found(kernels_, known.peak, scale, room);
  }
  if (rule.top_p < 1) keep_nucleus(rule.top_p * total, room);
  if (rule.min_p > 0) keep_above(rule.min_p, room);
  return choose_found(rule.luck, room);
}

}  // namespace sparing
