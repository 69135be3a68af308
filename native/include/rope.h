// Rotary position embedding over halves of the leading 2 Y features of a head: pair y is
// (x[y], x[y + Y]); the features beyond are left alone.
#pragma once

#include <cstdint>

namespace sparing {

// cos and sin [Y] of position * inverse_frequency[y], times scale. The angle is rounded to float32.
void rope_angles(int64_t position, const float* inverse_frequency, float scale, int64_t Y,
                 float* cosine, float* sine);

// Rotate `heads` heads of K >= 2 Y floats in place.
void rope(float* x, const float* cosine, const float* sine, int64_t heads, int64_t K, int64_t Y);

}  // namespace sparing
