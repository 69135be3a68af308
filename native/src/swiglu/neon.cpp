#include "swiglu.h"

#include "../lanes/neon.h"

#include "../lanes/exponential.h"

#include "body.h"

namespace sparing {

void swiglu_neon(float* gate, const float* up, int64_t count);
void swiglu_neon(float* gate, const float* up, int64_t count) { gated(gate, up, count); }

}  // namespace sparing
