#include "attention.h"

#include <cmath>
#include <cstring>

namespace sparing {
namespace {

// Row of K floats at position s, widened when the cache is bfloat16.
void fetch(const AttentionTask& task, const void* base, int64_t s, float* row) {
  const int64_t block = task.blocks[s / task.block_tokens];
  const int64_t at = block * task.block_stride + s % task.block_tokens * task.K;
  if (!task.bf16) {
    std::memcpy(row, static_cast<const float*>(base) + at,
                static_cast<size_t>(task.K) * sizeof(float));
    return;
  }
  for (int64_t k = 0; k < task.K; ++k) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(base)[at + k]) << 16;
    std::memcpy(row + k, &bits, sizeof bits);
  }
}

void attend_one(const AttentionTask& task, const float* q, float* out, int64_t S) {
  float* score = task.scratch;
  float* row = task.scratch + S;
  float largest = -INFINITY;
  for (int64_t s = 0; s < S; ++s) {
    fetch(task, task.keys, s, row);
    float sum = 0.0f;
    for (int64_t k = 0; k < task.K; ++k) sum += q[k] * row[k];
    score[s] = sum * task.scale;
    largest = score[s] > largest ? score[s] : largest;
  }
  float total = 0.0f;
  for (int64_t k = 0; k < task.K; ++k) out[k] = 0.0f;
  for (int64_t s = 0; s < S; ++s) {
    const float weight = std::exp(score[s] - largest);
    total += weight;
    fetch(task, task.values, s, row);
    for (int64_t k = 0; k < task.K; ++k) out[k] += weight * row[k];
  }
  for (int64_t k = 0; k < task.K; ++k) out[k] /= total;
}

}  // namespace

void attention_reference(const AttentionTask& task);
void attention_reference(const AttentionTask& task) {
  for (int64_t t = 0; t < task.T; ++t)
    for (int64_t r = 0; r < task.R; ++r) {
      const int64_t at = t * task.row_stride + r * task.K;
      attend_one(task, task.q + at, task.out + at, task.position + t + 1);
    }
}

}  // namespace sparing
