#include "swiglu.h"

#include <cmath>

namespace sparing {

void swiglu_reference(float* gate, const float* up, int64_t count);
void swiglu_reference(float* gate, const float* up, int64_t count) {
  for (int64_t i = 0; i < count; ++i) gate[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

}  // namespace sparing
