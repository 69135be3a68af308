#include "linear.h"

#include <cstring>

namespace sparing {
namespace {

float scaled(const Matrix& w, int64_t at, int code) {
  const float value = static_cast<float>(code) * w.scale[at / w.group];
  return w.offset ? value + w.offset[at / w.group] : value;
}

float decode_one(const Matrix& w, int64_t at) {
  switch (w.kind) {
    case Kind::fp32:
      return static_cast<const float*>(w.data)[at];
    case Kind::bf16: {
      const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(w.data)[at]) << 16;
      float value;
      std::memcpy(&value, &bits, sizeof value);
      return value;
    }
    case Kind::int8:
      return scaled(w, at, static_cast<const int8_t*>(w.data)[at]);
    case Kind::int4: {
      const int byte = static_cast<const uint8_t*>(w.data)[at / 2];
      return scaled(w, at, (at % 2 ? byte >> 4 : byte & 15) - 8);
    }
    case Kind::int3: {  // rows are whole bytes, so the whole matrix is one stream
      const uint8_t* three = static_cast<const uint8_t*>(w.data) + at / 8 * 3;
      const int word = three[0] | three[1] << 8 | three[2] << 16;
      return scaled(w, at, (word >> at % 8 * 3 & 7) - 4);
    }
  }
  return 0.0f;
}

void decode(const Matrix& w, int64_t z, float* row) {
  for (int64_t d = 0; d < w.D; ++d) row[d] = decode_one(w, z * w.D + d);
}

// Eight interleaved sums, which any compiler turns into vectors, then pairwise.
float dot(const float* a, const float* b, int64_t D) {
  float part[8] = {};
  int64_t d = 0;
  for (; d + 8 <= D; d += 8)
    for (int i = 0; i < 8; ++i) part[i] += a[d + i] * b[d + i];
  for (; d < D; ++d) part[d % 8] += a[d] * b[d];
  return ((part[0] + part[1]) + (part[2] + part[3])) +
         ((part[4] + part[5]) + (part[6] + part[7]));
}

void product(const Matrix& w, const float* bias, const float* x, int64_t N, float* y,
             int64_t y_stride, bool add, int64_t z_begin, int64_t z_end, float* scratch) {
  for (int64_t z = z_begin; z < z_end; ++z) {
    const float* row = scratch;
    if (w.kind == Kind::fp32)
      row = static_cast<const float*>(w.data) + z * w.D;
    else
      decode(w, z, scratch);
    for (int64_t n = 0; n < N; ++n) {
      const float value = dot(x + n * w.D, row, w.D) + (bias ? bias[z] : 0.0f);
      float* out = y + n * y_stride + z;
      *out = add ? *out + value : value;
    }
  }
}

}  // namespace

extern const Linear linear_reference;
const Linear linear_reference = {product, decode};

}  // namespace sparing
