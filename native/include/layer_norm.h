// y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias for one row of D; y may be x.
//
// Numerics   float32; mean first, then the squares of the differences, each summed in eight
//            interleaved partial sums, then pairwise. The variance divides by D.
#pragma once

#include <cstdint>

namespace sparing {

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t D,
                float* y);

}  // namespace sparing
