// y = x W^T + bias for weights of any of the five formats, with exact float32 activations.
//
// Layout     x [N, D] and y [N, y_stride] row-major float32; W [Z, D] row-major:
//            fp32 as is; bf16 as uint16 bits; int8 codes; int4 two to a byte, even column in the
//            low nibble, stored value + 8; int3 eight to three bytes, a stream of bits per row,
//            lowest first, stored value + 4. Codes carry float32 scales, and perhaps float32
//            offsets, [Z, D / group].
// Numerics   A weight is decoded to float32 (code times scale, rounded, plus offset, rounded), and
//            a product is summed over d in an order fixed by D and the variant alone. So an output
//            has the same bits for any number of rows, any split of Z, and for a quantised matrix
//            and its decoded float32 twin.
// Overlap    y overlaps nothing; data needs the alignment of its element only.
// Agreement  (D / 8 + 6) half steps of float32 on sum |x w|, from the exact value.
#pragma once

#include <cstdint>

#include "isa.h"

namespace sparing {

enum class Kind : int { fp32 = 0, bf16 = 1, int8 = 2, int4 = 3, int3 = 4 };

// How packed weights lie; packed.h has the two.
enum class Layout : int { eights = 0, whole = 1 };

struct Matrix {
  const void* data = nullptr;
  const float* scale = nullptr;   // [Z, D / group]; int8, int4 and int3 only
  const float* offset = nullptr;  // as scale; null for symmetric codes
  int64_t Z = 0, D = 0;
  int64_t group = 0;  // columns per scale; int8, int4 and int3 only
  Kind kind = Kind::fp32;
  bool packed = false;   // data is as packed.h says and holds scales and offsets too
  bool half = false;     // packed: those are half floats
  bool shifted = false;  // packed: there are offsets
  Layout layout = Layout::eights;  // packed
};

constexpr int64_t linear_tile = 4;  // output rows decoded together; scratch is this times D floats

struct Linear {
  // y[n, z] = x[n] . W[z] + bias[z] for z in [z_begin, z_end); added to y when `add`.
  // bias may be null. scratch holds linear_tile * D floats of the calling thread.
  void (*product)(const Matrix& w, const float* bias, const float* x, int64_t N, float* y,
                  int64_t y_stride, bool add, int64_t z_begin, int64_t z_end, float* scratch);
  // row[d] = W[z, d] in float32.
  void (*decode)(const Matrix& w, int64_t z, float* row);
};

const Linear& linear_for(Isa isa);

}  // namespace sparing
