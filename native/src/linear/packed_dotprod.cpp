#include "packed.h"

#include "../lanes/neon.h"

namespace sparing {
namespace {

struct I {
  int32x4_t low, high;
};

inline int32x4_t dot(int32x4_t sum, int8x16_t w, int8x16_t x) { return vdotq_s32(sum, w, x); }

}  // namespace
}  // namespace sparing

#include "packed_arm.h"

namespace sparing {

extern const PackedLinear packed_dotprod;
const PackedLinear packed_dotprod = {layout, false, quantise, narrow, product};

}  // namespace sparing
