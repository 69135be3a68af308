// Weights packed for streaming: panels of 16 output rows side by side, read from end to end.
//
// A panel is a run of groups of columns; a group is its codes and then, for codes, 16 scales and
// perhaps 16 offsets, as half floats where every one of the matrix is exact in them, else float32.
// Rows beyond Z are zero. How the codes of a group lie is the business of a layout:
//
//   kind   layout  unit of     bytes  byte or word i of the unit
//   int4   eights  4 columns   32     low half: row i / 4, column i % 4; high half: row 8 + i / 4
//   int4   whole   8 columns   64     row i / 4; low half: column i % 4, high half: 4 + i % 4
//   int8   both    4 columns   64     row i / 4, column i % 4; whole stores code + 128
//   bf16   eights  1 column    32     16-bit word i: row i / 2 + 8 * (i % 2)
//   bf16   whole   2 columns   64     16-bit word i: row i / 2, column i % 2
//   fp32   both    1 column    64     row i
//
// int4 stores code + 8; int3 is packed as int4 is. A group is the most of 128, 64, 32 and 16
// columns that divides the matrix's own; matrices of other groups cannot be packed.
//
// Numerics   With codes, each row of x is rounded to int8 group by group: scale = max |x| / 127,
//            code = nearest even of x / scale; a group below 1e-30 counts as zeros, one that is
//            not finite makes the row's result NaN. Integer sums of a group are exact; then
//            y = sum over groups, in order, of (scale_w * scale_x) * sum and offset_w * sum_x.
//            bf16 and fp32 weights meet x in float32, summed in blocks of 128 columns; the
//            AVX-512 variant rounds x to bf16 for bf16 weights, and its instructions flush
//            denormals. A result's bits depend on its row, the matrix and the variant alone.
// Agreement  D / group + 4 half steps of float32 on sum |x w| of the rounded x, from its exact
//            value; for bf16 and fp32 130 + D / 128 of them.
#pragma once

#include <cstdint>

#include "linear.h"

namespace sparing {

constexpr int64_t panel_rows = 16;
constexpr int64_t float_block = 128;  // columns summed at a time for fp32 and bf16

// Rows of x as a product takes them; which members are set depends on the kind and the layout.
struct Rows {
  int64_t N = 0;
  const float* x = nullptr;        // [N, D]
  const int8_t* code = nullptr;    // [N, D]
  const float* scale = nullptr;    // [N, D / group]
  const float* sum = nullptr;      // [N, D / group], scale * sum of codes
  const int32_t* start = nullptr;  // [N, starts]; what an integer sum begins with, see `starts_of`
  const uint16_t* bits = nullptr;  // [N, D rounded up to even], bf16
};

struct RowCodes {  // one row of the above, to be written
  int8_t* code;
  float* scale;
  float* sum;
  int32_t* start;
};

struct PackedLinear {
  Layout layout;
  bool narrow_rows;  // bf16 weights meet rows of bf16
  // One row to int8 in groups; `zero` is the stored value of code 0.
  void (*quantise)(const float* x, int64_t D, int64_t group, int32_t zero, const RowCodes& out);
  void (*narrow)(const float* x, int64_t D, uint16_t* bits);
  // y[n, z] = x[n] . W[z] + bias[z] for the rows z of panels [begin, end); added to y when `add`.
  void (*product)(const Matrix& w, const float* bias, const Rows& rows, float* y, bool add,
                  int64_t begin, int64_t end);
};

const PackedLinear& packed_linear_for(Isa isa);

inline bool has_codes(Kind kind) { return kind != Kind::fp32 && kind != Kind::bf16; }
inline int64_t panels_of(int64_t Z) { return (Z + panel_rows - 1) / panel_rows; }

// Columns of a packed group; 0 where the matrix cannot be packed.
int64_t packed_group(Kind kind, int64_t D, int64_t group);
// Stored value of code 0, from which an integer sum is corrected.
int32_t zero_of(Kind kind, Layout layout);
// Values of `Rows::start` per row: eights sums int4 in 16 bits, 64 columns at a time, and corrects
// the even and the odd pairs of columns each by 16 bits of a start.
int64_t starts_of(Kind kind, Layout layout, int64_t D, int64_t group);

// Bytes of one group of a panel and of a whole matrix; `w` is packed.
int64_t group_bytes(const Matrix& w);
int64_t packed_bytes(const Matrix& w);

// What a plain matrix is once packed, without data. Its group must be packable.
Matrix packed_form(const Matrix& plain, Layout layout);
// Writes panels [begin, end) of `plain` to `data`, which has room for the whole matrix.
void pack(const Matrix& plain, const Matrix& form, int64_t begin, int64_t end, uint8_t* data);
// row[d] = W[z, d] in float32 of a packed matrix.
void decode_packed(const Matrix& w, int64_t z, float* row);

}  // namespace sparing
