#include "rms_norm.h"

#include <cmath>

namespace sparing {

void rms_norm(const float* x, const float* weight, float eps, int64_t D, float* y) {
  float part[8] = {};
  int64_t d = 0;
  for (; d + 8 <= D; d += 8)
    for (int i = 0; i < 8; ++i) part[i] += x[d + i] * x[d + i];
  for (; d < D; ++d) part[d % 8] += x[d] * x[d];
  const float sum = ((part[0] + part[1]) + (part[2] + part[3])) +
                    ((part[4] + part[5]) + (part[6] + part[7]));
  const float factor = 1.0f / std::sqrt(sum / static_cast<float>(D) + eps);
  for (int64_t i = 0; i < D; ++i) y[i] = x[i] * factor * weight[i];
}

}  // namespace sparing
