// The linear map on the lanes included before this header; linear.h has the contract.
//
// Many rows: four rows of W are decoded once into scratch and meet a block of x that stays in L2.
// One row: codes are decoded in registers on their way, with the same products in the same order.
#pragma once

namespace sparing {
namespace {

// Sixteen weights of row z from column d on, before their scale; d is a multiple of 16.
template <Kind KIND>
inline void sixteen(const Matrix& w, int64_t z, int64_t d, F* out) {
  if (KIND == Kind::int4) {
    from_int4(static_cast<const uint8_t*>(w.data) + (z * w.D + d) / 2, out);
    return;
  }
  for (int i = 0; i < 16 / W; ++i) {
    const int64_t at = z * w.D + d + i * W;
    out[i] = KIND == Kind::int8 ? from_int8(static_cast<const int8_t*>(w.data) + at)
                                : from_bf16(static_cast<const uint16_t*>(w.data) + at);
  }
}

// True when a row is whole groups of whole sixteens, so that `sixteen` may be used throughout.
inline bool regular(const Matrix& w) {
  return w.D % 16 == 0 && w.kind != Kind::int3 && (w.kind == Kind::bf16 || w.group % 16 == 0);
}

template <Kind KIND>
inline void decode_regular(const Matrix& w, int64_t z, float* row) {
  const int64_t group = KIND == Kind::bf16 ? w.D : w.group;
  for (int64_t begin = 0; begin < w.D; begin += group) {
    const int64_t at = (z * w.D + begin) / group;
    const F scale = KIND == Kind::bf16 ? all(1.0f) : all(w.scale[at]);
    for (int64_t d = begin; d < begin + group; d += 16) {
      F v[16 / W];
      sixteen<KIND>(w, z, d, v);
      for (int i = 0; i < 16 / W; ++i) {
        const F value = mul(v[i], scale);
        store(row + d + i * W, w.offset ? add(value, all(w.offset[at])) : value);
      }
    }
  }
}

inline float scaled(const Matrix& w, int64_t at, int code) {
  const float value = static_cast<float>(code) * w.scale[at / w.group];
  return w.offset ? value + w.offset[at / w.group] : value;
}

inline float decode_one(const Matrix& w, int64_t at) {
  if (w.kind == Kind::bf16) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(w.data)[at]) << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
  }
  if (w.kind == Kind::int8) return scaled(w, at, static_cast<const int8_t*>(w.data)[at]);
  if (w.kind == Kind::int3) {  // rows are whole bytes, so the whole matrix is one stream
    const uint8_t* three = static_cast<const uint8_t*>(w.data) + at / 8 * 3;
    const int word = three[0] | three[1] << 8 | three[2] << 16;
    return scaled(w, at, (word >> at % 8 * 3 & 7) - 4);
  }
  const int byte = static_cast<const uint8_t*>(w.data)[at / 2];
  return scaled(w, at, (at % 2 ? byte >> 4 : byte & 15) - 8);
}

void decode(const Matrix& w, int64_t z, float* row) {
  if (w.kind == Kind::fp32) {
    __builtin_memcpy(row, static_cast<const float*>(w.data) + z * w.D,
                     static_cast<unsigned long>(w.D) * sizeof(float));
  } else if (!regular(w)) {
    for (int64_t d = 0; d < w.D; ++d) row[d] = decode_one(w, z * w.D + d);
  } else if (w.kind == Kind::bf16) {
    decode_regular<Kind::bf16>(w, z, row);
  } else if (w.kind == Kind::int8) {
    decode_regular<Kind::int8>(w, z, row);
  } else {
    decode_regular<Kind::int4>(w, z, row);
  }
}

// One row of x against four regular rows of W, decoded in registers.
template <Kind KIND, class Emit>
inline void one_by_four(const Matrix& w, int64_t z, const float* x, const Emit& emit) {
  const int64_t group = KIND == Kind::bf16 ? w.D : w.group;
  F sum[4] = {zero(), zero(), zero(), zero()};
  for (int64_t begin = 0; begin < w.D; begin += group) {
    F scale[4];
    for (int o = 0; o < 4; ++o)
      scale[o] = KIND == Kind::bf16 ? all(1.0f) : all(w.scale[((z + o) * w.D + begin) / group]);
    for (int64_t d = begin; d < begin + group; d += 16) {
#pragma GCC unroll 4
      for (int o = 0; o < 4; ++o) {
        F v[16 / W];
        sixteen<KIND>(w, z + o, d, v);
#pragma GCC unroll 2
        for (int i = 0; i < 16 / W; ++i)
          sum[o] = fma(load(x + d + i * W),
                       KIND == Kind::bf16 ? v[i] : mul(v[i], scale[o]), sum[o]);
      }
    }
  }
  float out[4];
  sum4(sum[0], sum[1], sum[2], sum[3], out);
  for (int o = 0; o < 4; ++o) emit(0, o, out[o]);
}

template <class Emit>
inline void one_row(const Matrix& w, int64_t z, const float* x, const Emit& emit) {
  if (w.kind == Kind::bf16)
    one_by_four<Kind::bf16>(w, z, x, emit);
  else if (w.kind == Kind::int8)
    one_by_four<Kind::int8>(w, z, x, emit);
  else
    one_by_four<Kind::int4>(w, z, x, emit);
}

// `outs` (at most four) rows of W from z on against N rows of x.
template <class Emit>
inline void some_outputs(const Matrix& w, int64_t z, int64_t outs, const float* x, int64_t N,
                         float* scratch, const Emit& emit) {
  if (w.kind == Kind::fp32) {
    dots(x, w.D, N, static_cast<const float*>(w.data) + z * w.D, w.D, outs, w.D, emit);
  } else if (N == 1 && outs == 4 && !w.offset && regular(w)) {
    one_row(w, z, x, emit);
  } else {
    for (int64_t o = 0; o < outs; ++o) decode(w, z + o, scratch + o * w.D);
    dots(x, w.D, N, scratch, w.D, outs, w.D, emit);
  }
}

void product(const Matrix& w, const float* bias, const float* x, int64_t N, float* y,
             int64_t y_stride, bool add_to, int64_t z_begin, int64_t z_end, float* scratch) {
  const auto put = [&](int64_t n, int64_t z, float value) {
    float* out = y + n * y_stride + z;
    if (bias) value += bias[z];
    *out = add_to ? *out + value : value;
  };
  if (N == 1 && w.kind == Kind::fp32) {  // eight independent sums hide the latency of one row
    for (; z_begin + 8 <= z_end; z_begin += 8)
      dot_tile<1, 8>(x, w.D, static_cast<const float*>(w.data) + z_begin * w.D, w.D, w.D,
                     [&](int64_t n, int64_t o, float v) { put(n, z_begin + o, v); });
  }
  int64_t rows = 65536 / w.D;  // a block of x of 256 KiB
  rows = rows < 12 ? 12 : rows > 96 ? 96 : rows - rows % 3;
  for (int64_t begin = 0; begin < N; begin += rows) {
    const int64_t count = N - begin < rows ? N - begin : rows;
    for (int64_t z = z_begin; z < z_end; z += linear_tile) {
      const int64_t outs = z_end - z < linear_tile ? z_end - z : linear_tile;
      some_outputs(w, z, outs, x + begin * w.D, count, scratch,
                   [&](int64_t n, int64_t o, float v) { put(begin + n, z + o, v); });
    }
  }
}

}  // namespace
}  // namespace sparing
