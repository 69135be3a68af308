#include "linear.h"

#include "../lanes/avx2.h"

#include "../lanes/dots.h"

#include "body.h"

namespace sparing {

extern const Linear linear_avx2;
const Linear linear_avx2 = {product, decode};

}  // namespace sparing
