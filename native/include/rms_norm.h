// y = x / sqrt(mean(x^2) + eps) * weight for one row of D; y may be x.
//
// Numerics   float32; the squares are summed in eight interleaved partial sums, then pairwise.
#pragma once

#include <cstdint>

namespace sparing {

void rms_norm(const float* x, const float* weight, float eps, int64_t D, float* y);

}  // namespace sparing
