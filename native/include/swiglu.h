// gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i], in place.
//
// Numerics   float32; exp within 3e-7 relative in the vector variants. Elements are independent.
#pragma once

#include <cstdint>

#include "isa.h"

namespace sparing {

using Swiglu = void (*)(float* gate, const float* up, int64_t count);

Swiglu swiglu_for(Isa isa);

}  // namespace sparing
