// Paged attention on the lanes included before this header; attention.h has the contract.
#pragma once

namespace sparing {
namespace {

// Block `index` of the sequence as float32 [block_tokens, K]; bfloat16 is widened into `wide`.
inline const float* block_of(const AttentionTask& task, const void* base, int64_t index,
                             int64_t tokens, float* wide) {
  const int64_t at = task.blocks[index] * task.block_stride;
  if (!task.bf16) return static_cast<const float*>(base) + at;
  const uint16_t* bits = static_cast<const uint16_t*>(base) + at;
  const int64_t count = tokens * task.K;
  int64_t i = 0;
  for (; i + W <= count; i += W) store(wide + i, from_bf16(bits + i));
  for (; i < count; ++i) {
    const uint32_t word = static_cast<uint32_t>(bits[i]) << 16;
    __builtin_memcpy(wide + i, &word, sizeof word);
  }
  return wide;
}

// scores[0 .. count) become exp(score - largest); returns their sum.
inline float softmax(float* scores, int64_t count) {
  float largest = scores[0];
  for (int64_t s = 1; s < count; ++s) largest = scores[s] > largest ? scores[s] : largest;
  const F shift = all(-largest);
  F sum = zero();
  int64_t s = 0;
  for (; s + W <= count; s += W) {
    const F e = exponential(add(load(scores + s), shift));
    store(scores + s, e);
    sum = add(sum, e);
  }
  if (s < count) {
    const F e = keep(exponential(add(load_part(scores + s, count - s), shift)), count - s);
    store_part(scores + s, e, count - s);
    sum = add(sum, e);
  }
  float out[4];
  sum4(sum, zero(), zero(), zero(), out);
  return out[0];
}

// sum[0 .. C * W) += sum over tokens of weight[token] * value[token], tokens in order.
template <int C>
inline void accumulate(const float* weight, int64_t tokens, const float* value, int64_t K,
                       float* sum) {
  F part[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) part[c] = load(sum + c * W);
  for (int64_t s = 0; s < tokens; ++s) {
    const F p = all(weight[s]);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) part[c] = fma(p, load(value + s * K + c * W), part[c]);
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) store(sum + c * W, part[c]);
}

inline void accumulate_head(const float* weight, int64_t tokens, const float* value, int64_t K,
                            float* sum) {
  int64_t k = 0;
  for (; k + 8 * W <= K; k += 8 * W) accumulate<8>(weight, tokens, value + k, K, sum + k);
  for (; k + 4 * W <= K; k += 4 * W) accumulate<4>(weight, tokens, value + k, K, sum + k);
  for (; k + W <= K; k += W) accumulate<1>(weight, tokens, value + k, K, sum + k);
  if (k < K) {
    F part = load_part(sum + k, K - k);
    for (int64_t s = 0; s < tokens; ++s)
      part = fma(all(weight[s]), load_part(value + s * K + k, K - k), part);
    store_part(sum + k, part, K - k);
  }
}

void attend(const AttentionTask& task) {
  const int64_t T = task.T, R = task.R, K = task.K, S = task.position + T;
  float* q = task.scratch;           // [T, R, K], scaled
  float* sum = q + T * R * K;        // [T, R, K]
  float* score = sum + T * R * K;    // [T, R, S]
  float* wide = score + T * R * S;   // [block_tokens, K]
  for (int64_t t = 0; t < T; ++t)
    for (int64_t i = 0; i < R * K; ++i) {
      q[t * R * K + i] = task.q[t * task.row_stride + i] * task.scale;
      sum[t * R * K + i] = 0.0f;
    }
  for (int64_t begin = 0; begin < S; begin += task.block_tokens) {
    const int64_t tokens = S - begin < task.block_tokens ? S - begin : task.block_tokens;
    const float* key = block_of(task, task.keys, begin / task.block_tokens, tokens, wide);
    dots(q, K, T * R, key, K, tokens, K,
         [&](int64_t i, int64_t s, float value) { score[i * S + begin + s] = value; });
  }
  float* out = task.out;
  for (int64_t i = 0; i < T * R; ++i) {
    const float total = softmax(score + i * S, task.position + i / R + 1);
    out[i / R * task.row_stride + i % R * K] = total;  // kept until the values are summed
  }
  for (int64_t begin = 0; begin < S; begin += task.block_tokens) {
    const int64_t tokens = S - begin < task.block_tokens ? S - begin : task.block_tokens;
    const float* value = block_of(task, task.values, begin / task.block_tokens, tokens, wide);
    for (int64_t i = 0; i < T * R; ++i) {
      const int64_t seen = task.position + i / R + 1 - begin;
      if (seen > 0)
        accumulate_head(score + i * S + begin, seen < tokens ? seen : tokens, value, K,
                        sum + i * K);
    }
  }
  for (int64_t i = 0; i < T * R; ++i) {
    float* row = out + i / R * task.row_stride + i % R * K;
    const float factor = 1.0f / row[0];
    for (int64_t k = 0; k < K; ++k) row[k] = sum[i * K + k] * factor;
  }
}

}  // namespace
}  // namespace sparing
