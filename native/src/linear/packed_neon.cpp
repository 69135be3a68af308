#include "packed.h"

#include "../lanes/neon.h"

namespace sparing {
namespace {

struct I {
  int32x4_t low, high;
};

// sum + the four columns of each of four rows, w times x: what the dot product instruction of
// later processors does. A product of two codes fits 16 bits.
inline int32x4_t dot(int32x4_t sum, int8x16_t w, int8x16_t x) {
  const int32x4_t first = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
  const int32x4_t second = vpaddlq_s16(vmull_high_s8(w, x));
  return vaddq_s32(sum, vpaddq_s32(first, second));
}

}  // namespace
}  // namespace sparing

#include "packed_arm.h"

namespace sparing {

extern const PackedLinear packed_neon;
const PackedLinear packed_neon = {layout, false, quantise, narrow, product};

}  // namespace sparing
