#include "linear.h"

#include "../lanes/avx512.h"

#include "../lanes/dots.h"

#include "body.h"

namespace sparing {

extern const Linear linear_avx512;
const Linear linear_avx512 = {product, decode};

}  // namespace sparing
