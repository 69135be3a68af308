#include <cstdint>

namespace {
constexpr int lanes = 4;
}

#include "body.h"

namespace sparing {

extern const DrawKernels draw_avx2;
const DrawKernels draw_avx2{peaks_of, weights_of};

}  // namespace sparing
