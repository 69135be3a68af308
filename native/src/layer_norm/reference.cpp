#include "layer_norm.h"

#include <cmath>

namespace sparing {
namespace {

// Sum of part(d) over d in eight interleaved partial sums.
template <class Part>
float sum(int64_t D, const Part& part) {
  float sums[8] = {};
  int64_t d = 0;
  for (; d + 8 <= D; d += 8)
    for (int i = 0; i < 8; ++i) sums[i] += part(d + i);
  for (; d < D; ++d) sums[d % 8] += part(d);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
         ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t D,
                float* y) {
  const float count = static_cast<float>(D);
  const float mean = sum(D, [&](int64_t d) { return x[d]; }) / count;
  const float square = sum(D, [&](int64_t d) { return (x[d] - mean) * (x[d] - mean); }) / count;
  const float factor = 1.0f / std::sqrt(square + eps);
  for (int64_t d = 0; d < D; ++d) y[d] = (x[d] - mean) * factor * weight[d] + bias[d];
}

}  // namespace sparing
