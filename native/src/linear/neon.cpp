#include "linear.h"

#include "../lanes/neon.h"

#include "../lanes/dots.h"

#include "body.h"

namespace sparing {

extern const Linear linear_neon;
const Linear linear_neon = {product, decode};

}  // namespace sparing
