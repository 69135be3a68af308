// Paged attention on the lanes included before this header; attention.h has the contract.
#pragma once

#include "products.h"
#include "tanh.h"

namespace sparing {
namespace {

constexpr float finite = 3.0e38f;  // scores beyond it are held there, so that none is infinite
constexpr float nothing = -__builtin_inff();
constexpr int64_t row_extra = 16;  // floats of a state beside its sum
constexpr int64_t convert_rows = 8;  // with more rows a tile is turned into float32 first

// Rows of one task and what is kept of each. A state is a sum of `width` numbers, then its weight
// and its largest score.
struct Work {
  const AttentionTask* task;
  int64_t rows, width, stride;  // T * R; of a head; of a state
  float* q;                     // [rows, width], scaled
  float* total;                 // [rows, stride]
  float* state;                 // [rows, stride], of one chunk
  float* score;                 // [rows, attention_tile]
  float* factor;                // [rows]
  float* keys;                  // [attention_tile, width] float32 panels
  float* values;                // [attention_tile, width]
  float* key_scale;             // [attention_tile]
  float* value_scale;           // [attention_tile]
};

inline Work work_of(const AttentionTask& task) {
  Work work;
  work.task = &task;
  work.rows = task.T * task.R, work.width = task.layout.width();
  work.stride = work.width + row_extra;
  const auto misaligned = reinterpret_cast<uintptr_t>(task.scratch) % 64 / sizeof(float);
  work.q = task.scratch + (misaligned ? 16 - misaligned : 0);
  work.keys = work.q + work.rows * work.width;
  work.values = work.keys + attention_tile * work.width;
  work.score = work.values + attention_tile * work.width;
  work.total = work.score + work.rows * attention_tile;
  work.state = work.total + work.rows * work.stride;
  work.key_scale = work.state + work.rows * work.stride;
  work.value_scale = work.key_scale + attention_tile;
  work.factor = work.value_scale + attention_tile;
  return work;
}

inline void clear(const Work& work, float* states) {
  for (int64_t row = 0; row < work.rows; ++row) {
    float* state = states + row * work.stride;
    for (int64_t k = 0; k < work.width; k += W) store(state + k, zero());
    state[work.width] = 0.0f;
    state[work.width + 1] = nothing;
  }
}

inline void take_queries(const Work& work) {
  const AttentionTask& task = *work.task;
  const int64_t K = task.layout.K;
  for (int64_t row = 0; row < work.rows; ++row) {
    const float* from = task.q + row / task.R * task.row_stride + row % task.R * K;
    float* to = work.q + row * work.width;
    for (int64_t k = 0; k < K; ++k) to[k] = from[k] * task.rule.scale;
    for (int64_t k = K; k < work.width; ++k) to[k] = 0.0f;
  }
}

// Scores of the tokens begin .. end of the tile at position `at`, row by row, become weights
// exp(score - largest), and what scales the row's sum so far. Returns nothing seen as factor 1.
inline void softmax(const Work& work, const Panels& panels, int64_t row, int64_t at, int64_t begin,
                    int64_t end) {
  const AttentionRule& rule = work.task->rule;
  float* score = work.score + row * attention_tile;
  float* state = work.state + row * work.stride;
  const int64_t h = work.task->head * work.task->R + row % work.task->R;
  const int64_t distance = at - (work.task->position + row / work.task->R);
  const bool scaled = work.task->layout.scaled();
  F most = all(nothing);
  for (int64_t s = begin / W * W; s < end; s += W) {
    F x = load(score + s);
    if (scaled) x = mul(x, load(panels.key_scale[s / 16] + s % 16));
    if (rule.softcap > 0.0f)
      x = mul(all(rule.softcap), hyperbolic_tangent(div(x, all(rule.softcap))));
    const int64_t low = s < begin ? begin - s : 0, high = s + W > end ? end - s : W;
    if (rule.bias || rule.slopes) {
      float side[W];
      for (int64_t lane = 0; lane < W; ++lane) {
        const int64_t away = distance + s + lane;
        float value = 0.0f;
        if (rule.bias && lane >= low && lane < high) value = rule.bias[h * rule.bias_stride + away];
        if (rule.slopes) value -= rule.slopes[h] * static_cast<float>(away < 0 ? -away : away);
        side[lane] = value;
      }
      x = add(x, load(side));
    }
    x = max(all(-finite), min(all(finite), x));
    if (low > 0 || high < W) x = between(x, low, high, all(nothing));
    store(score + s, x);
    most = max(most, x);
  }
  float lane[W];
  store(lane, most);
  const float before = state[work.width + 1];
  float largest = before;
  for (int64_t i = 0; i < W; ++i) largest = lane[i] > largest ? lane[i] : largest;
  state[work.width + 1] = largest;
  const F shift = all(-largest);
  F sum = zero();
  for (int64_t s = begin / W * W; s < end; s += W) {
    F e = exponential(add(load(score + s), shift));
    const int64_t low = s < begin ? begin - s : 0, high = s + W > end ? end - s : W;
    if (low > 0 || high < W) e = between(e, low, high, zero());
    sum = add(sum, e);
    if (scaled) e = mul(e, load(panels.value_scale[s / 16] + s % 16));
    store(score + s, e);
  }
  float total[4], factor[W];
  sum4(sum, zero(), zero(), zero(), total);
  store(factor, exponential(all(before - largest)));
  work.factor[row] = before == largest ? 1.0f : factor[0];
  state[work.width] = state[work.width] * work.factor[row] + total[0];
}

// Where the panels of the tile at position `at` stand; those outside begin .. end are not read,
// and repeat one that is there.
inline Panels find(const Work& work, int64_t at, int64_t begin, int64_t end) {
  const AttentionTask& task = *work.task;
  const KvLayout& layout = task.layout;
  const int64_t tokens = layout.block_tokens, bytes = 16 * layout.row_bytes();
  Panels panels;
  const int64_t low = begin / 16, high = (end - 1) / 16;
  for (int64_t p = 0; p < attention_tile / 16; ++p) {
    const int64_t s = at + 16 * (p < low ? low : p > high ? high : p);
    const int64_t head =
        task.blocks[s / tokens] * layout.block_bytes() + task.head * layout.head_bytes();
    const int64_t slot = s % tokens;
    panels.key[p] = panels.next_key[p] = task.keys + head + slot / 16 * bytes;
    panels.value[p] = panels.next_value[p] = task.values + head + slot / 16 * bytes;
    if (!layout.scaled()) continue;
    const int64_t scale = head + layout.code_bytes() + 4 * slot;
    panels.key_scale[p] = reinterpret_cast<const float*>(task.keys + scale);
    panels.value_scale[p] = reinterpret_cast<const float*>(task.values + scale);
  }
  return panels;
}

inline void use_float32(const Work& work, Panels& panels) {
  for (int64_t p = 0; p < attention_tile / 16; ++p) {
    panels.key[p] = reinterpret_cast<const char*>(work.keys + 16 * p * work.width);
    panels.value[p] = reinterpret_cast<const char*>(work.values + 16 * p * work.width);
    panels.next_key[p] = panels.key[p], panels.next_value[p] = panels.value[p];
  }
}

// The tile as float32, its scales left beside it.
template <KvKind kind>
inline void convert(const Work& work, Panels& panels, int64_t begin, int64_t end) {
  for (int64_t p = begin / 16; p <= (end - 1) / 16; ++p) {
    widen_keys<kind>(panels.key[p], panels.next_key[p] - panels.key[p], work.width,
                     work.keys + 16 * p * work.width);
    widen_values<kind>(panels.value[p], panels.next_value[p] - panels.value[p], work.width,
                       work.values + 16 * p * work.width);
  }
  use_float32(work, panels);
}

// As `find` and `convert` for blocks that do not hold whole panels, number by number.
inline Panels gather(const Work& work, int64_t at, int64_t begin, int64_t end) {
  const AttentionTask& task = *work.task;
  const KvLayout& layout = task.layout;
  Panels panels;
  use_float32(work, panels);
  for (int64_t p = 0; p < attention_tile / 16; ++p) {
    panels.key_scale[p] = work.key_scale + 16 * p;
    panels.value_scale[p] = work.value_scale + 16 * p;
  }
  for (int64_t s = begin; s < end; ++s) {
    const int64_t block = task.blocks[(at + s) / layout.block_tokens];
    const int64_t slot = (at + s) % layout.block_tokens;
    float* key = work.keys + s / 16 * 16 * work.width + s % 16;
    float* value = work.values + s * work.width;
    for (int64_t k = 0; k < work.width; ++k) {
      key[16 * k] = kv_key_code(layout, task.keys, block, task.head, slot, k);
      value[k] = kv_value_code(layout, task.values, block, task.head, slot, k);
    }
    if (!layout.scaled()) continue;
    work.key_scale[s] = kv_scale(layout, task.keys, block, task.head, slot);
    work.value_scale[s] = kv_scale(layout, task.values, block, task.head, slot);
  }
  return panels;
}

template <KvKind kind>
inline void add_values(const Work& work, const Panels& panels, int64_t row, int64_t rows,
                       int64_t begin, int64_t end, const float* factor) {
  const float* weight = work.score + row * attention_tile;
  float* sums = work.state + row * work.stride;
  with_rows<group_rows<kind>>(rows, [&](auto count) {
    sum_rows<kind, count.value>(panels, begin, end, weight, factor, work.width, sums, work.stride);
  });
}

// Tokens of the tile at `at` that a row sees within the chunk.
inline Span seen_in(const Work& work, int64_t row, int64_t at, int64_t begin, int64_t end) {
  Span span = seen_by(*work.task, row / work.task->R);
  span.begin = (span.begin > begin ? span.begin : begin) - at;
  span.end = (span.end < end ? span.end : end) - at;
  if (span.begin < 0) span.begin = 0;
  if (span.end > attention_tile) span.end = attention_tile;
  if (span.end < span.begin) span.end = span.begin;
  return span;
}

// Weighted values of the tile for rows that see different tokens: what all see together, what is
// before and after row by row, so that a row reads nothing that it does not see.
template <KvKind kind>
inline void values_of(const Work& work, const Panels& panels, int64_t row, int64_t rows,
                      const Span* seen) {
  const float one = 1.0f;
  const float* factor = work.factor + row;
  int64_t begin = 0, end = attention_tile;
  for (int64_t r = 0; r < rows; ++r) {
    begin = seen[r].begin > begin ? seen[r].begin : begin;
    end = seen[r].end < end ? seen[r].end : end;
  }
  const bool apart = begin >= end;  // nothing that all see
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t stop = apart ? seen[r].end : begin;
    if (seen[r].begin >= stop) continue;
    add_values<kind>(work, panels, row + r, 1, seen[r].begin, stop, factor + r);
    work.factor[row + r] = 1.0f;
  }
  if (apart) return;
  add_values<kind>(work, panels, row, rows, begin, end, factor);
  for (int64_t r = 0; r < rows; ++r)
    if (seen[r].end > end) add_values<kind>(work, panels, row + r, 1, end, seen[r].end, &one);
}

// One tile for all rows; tokens begin .. end of it are seen by some.
template <KvKind kind>
inline void tile_of(const Work& work, const Panels& panels, int64_t at, int64_t begin, int64_t end,
                    const Span& chunk) {
  constexpr int most = group_rows<kind>;
  const auto group = [&](int64_t row) { return work.rows - row < most ? work.rows - row : most; };
  for (int64_t row = 0; row < work.rows; row += most)  // first all that read the keys
    scores<kind>(panels, begin, end, work.q + row * work.width, group(row), work.width,
                 work.score + row * attention_tile);
  for (int64_t row = 0; row < work.rows; row += most) {
    const int64_t rows = group(row);
    Span seen[most];
    for (int64_t r = 0; r < rows; ++r) {
      seen[r] = seen_in(work, row + r, at, chunk.begin, chunk.end);
      work.factor[row + r] = 1.0f;
      if (seen[r].begin < seen[r].end)
        softmax(work, panels, row + r, at, seen[r].begin, seen[r].end);
    }
    values_of<kind>(work, panels, row, rows, seen);
  }
}

template <KvKind kind>
inline void run_tile(const Work& work, int64_t at, int64_t begin, int64_t end, const Span& chunk,
                     int64_t last) {
  if (work.task->layout.panel() != 16)
    return tile_of<KvKind::fp32>(work, gather(work, at, begin, end), at, begin, end, chunk);
  Panels panels = find(work, at, begin, end);
  const int64_t after = at + attention_tile;
  if (after < last) {
    const int64_t left = last - after;
    const Panels next = find(work, after, 0, left < attention_tile ? left : attention_tile);
    for (int64_t p = 0; p < attention_tile / 16; ++p)
      panels.next_key[p] = next.key[p], panels.next_value[p] = next.value[p];
  }
  if (kind == KvKind::fp32 || work.rows <= convert_rows)
    return tile_of<kind>(work, panels, at, begin, end, chunk);
  convert<kind>(work, panels, begin, end);
  tile_of<KvKind::fp32>(work, panels, at, begin, end, chunk);
}

// What the rows see of one chunk -> work.state.
inline void run_chunk(const Work& work, int64_t chunk) {
  clear(work, work.state);
  Span span = seen_by_any(*work.task);
  const int64_t last = span.end;
  if (span.begin < chunk * attention_chunk) span.begin = chunk * attention_chunk;
  if (span.end > (chunk + 1) * attention_chunk) span.end = (chunk + 1) * attention_chunk;
  for (int64_t at = span.begin / attention_tile * attention_tile; at < span.end;
       at += attention_tile) {
    const int64_t begin = span.begin > at ? span.begin - at : 0;
    const int64_t end = span.end - at < attention_tile ? span.end - at : attention_tile;
    switch (work.task->layout.kind) {
      case KvKind::fp32: run_tile<KvKind::fp32>(work, at, begin, end, span, last); break;
      case KvKind::bf16: run_tile<KvKind::bf16>(work, at, begin, end, span, last); break;
      case KvKind::int8: run_tile<KvKind::int8>(work, at, begin, end, span, last); break;
      case KvKind::int4: run_tile<KvKind::int4>(work, at, begin, end, span, last); break;
    }
  }
}

inline float exponential_of(float x) {
  float out[W];
  store(out, exponential(all(x)));
  return out[0];
}

// work.total becomes the state of its positions and those of `states` together.
inline void join(const Work& work, const float* states) {
  for (int64_t row = 0; row < work.rows; ++row) {
    float* total = work.total + row * work.stride;
    const float* more = states + row * work.stride;
    const float before = total[work.width + 1], now = more[work.width + 1];
    if (more[work.width] == 0.0f) continue;  // nothing was seen
    const float largest = now > before ? now : before;
    const float a = before == largest ? 1.0f : exponential_of(before - largest);
    const float b = now == largest ? 1.0f : exponential_of(now - largest);
    for (int64_t k = 0; k < work.width; k += W)
      store(total + k, add(mul(load(total + k), all(a)), mul(load(more + k), all(b))));
    total[work.width] = total[work.width] * a + more[work.width] * b;
    total[work.width + 1] = largest;
  }
}

// The weighted means; a sink adds to the weight and has no value.
inline void finish(const Work& work) {
  const AttentionTask& task = *work.task;
  const int64_t K = task.layout.K;
  for (int64_t row = 0; row < work.rows; ++row) {
    const float* total = work.total + row * work.stride;
    float weight = total[work.width], scale = 1.0f;
    const float largest = total[work.width + 1];
    if (task.rule.sinks && weight != 0.0f) {
      const float sink = task.rule.sinks[task.head * task.R + row % task.R];
      const float most = sink > largest ? sink : largest;
      scale = exponential_of(largest - most);
      weight = weight * scale + exponential_of(sink - most);
    }
    const float factor = weight == 0.0f ? 0.0f : scale / weight;
    float* out = task.out + row / task.R * task.row_stride + row % task.R * K;
    for (int64_t k = 0; k < K; ++k) out[k] = total[k] * factor;
  }
}

void attend(const AttentionTask& task) {
  const Work work = work_of(task);
  take_queries(work);
  clear(work, work.total);
  const Span span = seen_by_any(task);
  for (int64_t chunk = span.begin / attention_chunk; chunk * attention_chunk < span.end; ++chunk) {
    run_chunk(work, chunk);
    join(work, work.state);
  }
  finish(work);
}

void part(const AttentionTask& task, int64_t chunk, float* states) {
  Work work = work_of(task);
  work.state = states;
  take_queries(work);
  run_chunk(work, chunk);
}

void merge(const AttentionTask& task, int64_t chunks, const float* states) {
  const Work work = work_of(task);
  clear(work, work.total);
  for (int64_t chunk = 0; chunk < chunks; ++chunk)
    join(work, states + chunk * work.rows * work.stride);
  finish(work);
}

}  // namespace
}  // namespace sparing
