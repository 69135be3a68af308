// The two loops of drawing that run over all logits, per instruction set.
#pragma once

#include <cstdint>

#include "isa.h"

namespace sparing {

constexpr int64_t draw_block = 64;  // logits that are summed together

struct DrawKernels {
  // peaks[b] = the largest of block b; false when a logit is not a number.
  bool (*peaks)(const float* x, int64_t count, float* peaks);
  // w[i] = exp((x[i] - peak) * scale), returns their sum; count <= draw_block, no x above peak.
  double (*weights)(const float* x, int64_t count, double peak, double scale, double* w);
};

const DrawKernels& draw_kernels_for(Isa isa);

}  // namespace sparing
