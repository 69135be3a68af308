#include <cstdint>

namespace {
constexpr int lanes = 8;
}

#include "body.h"

namespace sparing {

extern const DrawKernels draw_avx512;
const DrawKernels draw_avx512{peaks_of, weights_of};

}  // namespace sparing
