// x[i] = f(x[i]) * up[i] in place, or x[i] = f(x[i]) where up is null.
//
// silu x / (1 + exp(-x)); gelu x (1 + erf(x / sqrt 2)) / 2; gelu_tanh the same with
// tanh(sqrt(2 / pi) (x + 0.044715 x^3)) in place of erf; relu max(x, 0);
// quick_gelu x / (1 + exp(-1.702 x)).
// Numerics   float32; within 1e-6 of |x up| of the exact value. Elements are independent; a NaN
//            stays a NaN.
#pragma once

#include <cstdint>

#include "isa.h"

namespace sparing {

enum class Activation : int { silu = 0, gelu = 1, gelu_tanh = 2, relu = 3, quick_gelu = 4 };

using Activate = void (*)(float* x, const float* up, int64_t count);

Activate activation_for(Isa isa, Activation kind);

}  // namespace sparing
