#include "attention.h"

#include <algorithm>
#include <cmath>

namespace sparing {
namespace {

constexpr float finite = 3.0e38f;

float score_of(const AttentionTask& task, int64_t t, int64_t r, int64_t s, const float* q,
               const float* key) {
  const AttentionRule& rule = task.rule;
  double sum = 0.0;
  for (int64_t k = 0; k < task.layout.K; ++k) sum += static_cast<double>(q[k]) * key[k];
  float score = static_cast<float>(sum) * rule.scale;
  if (rule.softcap > 0.0f) score = rule.softcap * std::tanh(score / rule.softcap);
  const int64_t h = task.head * task.R + r, distance = s - (task.position + t);
  if (rule.bias) score += rule.bias[h * rule.bias_stride + distance];
  if (rule.slopes) score -= rule.slopes[h] * static_cast<float>(std::abs(distance));
  if (score > finite) return finite;  // so that none is infinite
  return score < -finite ? -finite : score;
}

// A state is the sum of K numbers, its weight and the largest score; `width` apart.
struct State {
  float* sum;
  float &weight, &largest;
};
State state_at(const AttentionTask& task, float* states, int64_t row) {
  const int64_t width = task.layout.width();
  float* at = states + row * (width + 16);
  return {at, at[width], at[width + 1]};
}

// Softmax of the positions of one chunk: scores first, then the weighted sum.
void attend_chunk(const AttentionTask& task, int64_t chunk, int64_t t, int64_t r, State state) {
  const int64_t K = task.layout.K, tokens = task.layout.block_tokens;
  const Span seen = seen_by(task, t);
  const int64_t begin = std::max(seen.begin, chunk * attention_chunk);
  const int64_t end = std::min(seen.end, (chunk + 1) * attention_chunk);
  std::fill(state.sum, state.sum + K, 0.0f);
  state.weight = 0.0f, state.largest = -INFINITY;
  float score[attention_chunk];
  float* row = task.scratch;
  const float* q = task.q + t * task.row_stride + r * K;
  for (int64_t s = begin; s < end; ++s) {
    kv_read_key(task.layout, task.keys, task.blocks[s / tokens], task.head, s % tokens, row);
    score[s - begin] = score_of(task, t, r, s, q, row);
    state.largest = std::max(state.largest, score[s - begin]);
  }
  for (int64_t s = begin; s < end; ++s) {
    const float weight = std::exp(score[s - begin] - state.largest);
    state.weight += weight;
    kv_read_value(task.layout, task.values, task.blocks[s / tokens], task.head, s % tokens, row);
    for (int64_t k = 0; k < K; ++k) state.sum[k] += weight * row[k];
  }
}

void part(const AttentionTask& task, int64_t chunk, float* states) {
  for (int64_t row = 0; row < task.T * task.R; ++row)
    attend_chunk(task, chunk, row / task.R, row % task.R, state_at(task, states, row));
}

// total becomes the state of its positions and those of `more` together.
void join(State total, State more, int64_t K) {
  if (more.weight == 0.0f) return;
  const float largest = std::max(total.largest, more.largest);
  const float old = std::exp(total.largest - largest), now = std::exp(more.largest - largest);
  for (int64_t k = 0; k < K; ++k) total.sum[k] = total.sum[k] * old + more.sum[k] * now;
  total.weight = total.weight * old + more.weight * now;
  total.largest = largest;
}

// The weighted mean; a sink adds to the weight and has no value.
void finish(const AttentionTask& task, int64_t t, int64_t r, State total) {
  const int64_t K = task.layout.K;
  float scale = 1.0f;
  if (task.rule.sinks && total.weight > 0.0f) {
    const float sink = task.rule.sinks[task.head * task.R + r];
    const float largest = std::max(total.largest, sink);
    scale = std::exp(total.largest - largest);
    total.weight = total.weight * scale + std::exp(sink - largest);
  }
  float* out = task.out + t * task.row_stride + r * K;
  for (int64_t k = 0; k < K; ++k)
    out[k] = total.weight == 0.0f ? 0.0f : total.sum[k] * scale / total.weight;
}

void merge(const AttentionTask& task, int64_t chunks, const float* states) {
  const int64_t K = task.layout.K, rows = task.T * task.R;
  float* sum = task.scratch + attention_tile;
  for (int64_t row = 0; row < rows; ++row) {
    float weight = 0.0f, largest = -INFINITY;
    std::fill(sum, sum + K, 0.0f);
    const State total{sum, weight, largest};
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      float* state = const_cast<float*>(states) + chunk * attention_state(task.T, task.R, K);
      join(total, state_at(task, state, row), K);
    }
    finish(task, row / task.R, row % task.R, total);
  }
}

void attend(const AttentionTask& task) {
  const int64_t K = task.layout.K, width = task.layout.width();
  float* sum = task.scratch + width;
  float* state = sum + width;
  for (int64_t t = 0; t < task.T; ++t)
    for (int64_t r = 0; r < task.R; ++r) {
      float weight = 0.0f, largest = -INFINITY;
      std::fill(sum, sum + K, 0.0f);
      const State total{sum, weight, largest}, now{state, state[width], state[width + 1]};
      const Span seen = seen_by(task, t);
      for (int64_t chunk = seen.begin / attention_chunk; chunk * attention_chunk < seen.end;
           ++chunk) {
        attend_chunk(task, chunk, t, r, now);
        join(total, now, K);
      }
      finish(task, t, r, total);
    }
}

}  // namespace

extern const Attention attention_reference;
const Attention attention_reference = {attend, part, merge};

}  // namespace sparing
