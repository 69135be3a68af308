#include "swiglu.h"

#include "../lanes/avx512.h"

#include "../lanes/exponential.h"

#include "body.h"

namespace sparing {

void swiglu_avx512(float* gate, const float* up, int64_t count);
void swiglu_avx512(float* gate, const float* up, int64_t count) { gated(gate, up, count); }

}  // namespace sparing
