// Dot products of rows of x with rows of w on the lanes of the header included before this one.
//
// Each product is one accumulator vector over d in steps of W, the last step masked, then the
// fixed sum of `sum4`. Tiles only change how many are under way at once, never the bits of one.
#pragma once

namespace sparing {
namespace {

// ROWS x OUTS products at once; emit(r, o, value) takes each. OUTS is a multiple of 4 or 1.
template <int ROWS, int OUTS, class Emit>
inline void dot_tile(const float* x, int64_t x_stride, const float* w, int64_t w_stride,
                     int64_t D, const Emit& emit) {
  F sum[ROWS][OUTS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 16
    for (int o = 0; o < OUTS; ++o) sum[r][o] = zero();
  int64_t d = 0;
  for (; d + W <= D; d += W) {
    F row[ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) row[r] = load(x + r * x_stride + d);
#pragma GCC unroll 16
    for (int o = 0; o < OUTS; ++o) {
      const F weight = load(w + o * w_stride + d);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) sum[r][o] = fma(row[r], weight, sum[r][o]);
    }
  }
  if (d < D) {
#pragma GCC unroll 16
    for (int o = 0; o < OUTS; ++o) {
      const F weight = load_part(w + o * w_stride + d, D - d);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r)
        sum[r][o] = fma(load_part(x + r * x_stride + d, D - d), weight, sum[r][o]);
    }
  }
  float out[4];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
    if (OUTS == 1) {
      sum4(sum[r][0], zero(), zero(), zero(), out);
      emit(r, 0, out[0]);
    } else {
#pragma GCC unroll 16
      for (int o = 0; o + 4 <= OUTS; o += 4) {
        sum4(sum[r][o], sum[r][(o + 1) % OUTS], sum[r][(o + 2) % OUTS], sum[r][(o + 3) % OUTS],
             out);
        for (int i = 0; i < 4; ++i) emit(r, o + i, out[i]);
      }
    }
  }
}

// All N rows against OUTS rows of w.
template <int OUTS, class Emit>
inline void dot_rows(const float* x, int64_t x_stride, int64_t N, const float* w,
                     int64_t w_stride, int64_t D, const Emit& emit) {
  int64_t n = 0;
  for (; n + 3 <= N; n += 3)
    dot_tile<3, OUTS>(x + n * x_stride, x_stride, w, w_stride, D,
                      [&](int64_t r, int64_t o, float v) { emit(n + r, o, v); });
  for (; n < N; ++n)
    dot_tile<1, OUTS>(x + n * x_stride, x_stride, w, w_stride, D,
                      [&](int64_t r, int64_t o, float v) { emit(n + r, o, v); });
}

// All N rows against all Z rows of w.
template <class Emit>
inline void dots(const float* x, int64_t x_stride, int64_t N, const float* w, int64_t w_stride,
                 int64_t Z, int64_t D, const Emit& emit) {
  int64_t z = 0;
  for (; z + 4 <= Z; z += 4)
    dot_rows<4>(x, x_stride, N, w + z * w_stride, w_stride, D,
                [&](int64_t n, int64_t o, float v) { emit(n, z + o, v); });
  for (; z < Z; ++z)
    dot_rows<1>(x, x_stride, N, w + z * w_stride, w_stride, D,
                [&](int64_t n, int64_t o, float v) { emit(n, z + o, v); });
}

}  // namespace
}  // namespace sparing
