#include "swiglu.h"

#include "../lanes/avx2.h"

#include "../lanes/exponential.h"

#include "body.h"

namespace sparing {

void swiglu_avx2(float* gate, const float* up, int64_t count);
void swiglu_avx2(float* gate, const float* up, int64_t count) { gated(gate, up, count); }

}  // namespace sparing
