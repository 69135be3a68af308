// Products with packed weights on the lanes and primitives included before this header; packed.h
// has the contract.
//
// A tile is R rows against one panel. Panels of weights are read from memory once for a block of
// rows that stays in the second cache; a tile's sums live in registers for a group.
#pragma once

namespace sparing {
namespace {

constexpr int C = 16 / W;                   // vectors across a panel
constexpr int64_t block_bytes = 192 << 10;  // of rows, to stay in the second cache

// What the kernels read of R rows.
template <int R>
struct Tile {
  const int8_t* code[R];
  const float* scale[R];
  const float* sum[R];
  const int32_t* start[R];

  Tile(const Matrix& w, const Rows& rows, int64_t n) {
    const int64_t J = w.D / w.group, starts = starts_of(w.kind, layout, w.D, w.group);
    for (int r = 0; r < R; ++r) {
      code[r] = rows.code + (n + r) * w.D;
      scale[r] = rows.scale + (n + r) * J;
      sum[r] = rows.sum + (n + r) * J;
      start[r] = rows.start + (n + r) * starts;
    }
  }
};

inline void factors(const uint8_t* from, bool half, F* out) {
#pragma GCC unroll 2
  for (int c = 0; c < C; ++c)
    out[c] = half ? from_half(from + 2 * W * c)
                  : load(reinterpret_cast<const float*>(from) + W * c);
}

template <int R, Kind KIND>
inline void tile_of(const Matrix& w, const uint8_t* panel, const Rows& rows, int64_t n,
                    F (&sum)[R][C]) {
  const int64_t J = w.D / w.group, bytes = group_bytes(w);
  const int64_t codes = w.group * panel_rows / (KIND == Kind::int8 ? 1 : 2);
  const int64_t starts = starts_of(KIND, layout, w.D, w.group) / J;
  const Tile<R> tile(w, rows, n);
  for (int64_t j = 0; j < J; ++j, panel += bytes) {
    I total[R][C];
    group_sums<R, KIND>(panel, w.group, tile.code, j * w.group, tile.start, j * starts, total);
    F weight[C];
    factors(panel + codes, w.half, weight);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const F scale = all(tile.scale[r][j]);
#pragma GCC unroll 2
      for (int c = 0; c < C; ++c)
        sum[r][c] = fma(mul(weight[c], scale), to_float(total[r][c]), sum[r][c]);
    }
    if (!w.shifted) continue;
    factors(panel + codes + panel_rows * (w.half ? 2 : 4), w.half, weight);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < C; ++c) sum[r][c] = fma(weight[c], all(tile.sum[r][j]), sum[r][c]);
  }
}

template <int R, Kind KIND>
inline void tile_of_numbers(const Matrix& w, const uint8_t* panel, const float* x,
                            F (&sum)[R][C]) {
  for (int64_t begin = 0; begin < w.D; begin += float_block) {
    const int64_t end = w.D - begin < float_block ? w.D : begin + float_block;
    F part[R][C];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < C; ++c) part[r][c] = zero();
    for (int64_t d = begin; d < end; ++d) {
      F weight[C];
      numbers<KIND>(panel, d, weight);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const F value = all(x[r * w.D + d]);
#pragma GCC unroll 2
        for (int c = 0; c < C; ++c) part[r][c] = fma(value, weight[c], part[r][c]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int c = 0; c < C; ++c) sum[r][c] = add(sum[r][c], part[r][c]);
  }
}

// The sums of a tile to their places in y, with bias and what is there already.
template <int R>
inline void put(const Matrix& w, const float* bias, int64_t z, const F (&sum)[R][C], float* y,
                bool add_to) {
  const int64_t count = w.Z - z < panel_rows ? w.Z - z : panel_rows;
  for (int r = 0; r < R; ++r, y += w.Z) {
    if (count == panel_rows) {
      for (int c = 0; c < C; ++c) {
        const int64_t at = z + c * W;
        const F value = bias ? add(sum[r][c], load(bias + at)) : sum[r][c];
        store(y + at, add_to ? add(load(y + at), value) : value);
      }
      continue;
    }
    float out[panel_rows];
    for (int c = 0; c < C; ++c) store(out + c * W, sum[r][c]);
    for (int64_t i = 0; i < count; ++i) {
      const float value = bias ? out[i] + bias[z + i] : out[i];
      y[z + i] = add_to ? y[z + i] + value : value;
    }
  }
}

// tile_of, tile_of_numbers or one of the variant's own, which defines this.
template <int R, Kind KIND>
inline void any_tile(const Matrix& w, const uint8_t* panel, const Rows& rows, int64_t n,
                     F (&sum)[R][C]);

template <int R, Kind KIND>
void tile_to_y(const Matrix& w, const float* bias, const Rows& rows, int64_t n, int64_t panel,
               float* y, bool add_to) {
  const uint8_t* data = static_cast<const uint8_t*>(w.data) +
                        panel * (w.D / w.group) * group_bytes(w);
  F sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int c = 0; c < C; ++c) sum[r][c] = zero();
  any_tile<R, KIND>(w, data, rows, n, sum);
  put<R>(w, bias, panel * panel_rows, sum, y + n * w.Z, add_to);
}

using TileCall = void (*)(const Matrix&, const float*, const Rows&, int64_t, int64_t, float*,
                          bool);

// Rows [first, first + count) in tiles of nearly one size, none above `most`.
inline void tiles(const TileCall* calls, int64_t most, const Matrix& w, const float* bias,
                  const Rows& rows, int64_t first, int64_t count, int64_t panel, float* y,
                  bool add_to) {
  const int64_t parts = (count + most - 1) / most;
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t begin = count * i / parts, end = count * (i + 1) / parts;
    calls[end - begin - 1](w, bias, rows, first + begin, panel, y, add_to);
  }
}

// All rows against panels [begin, end), a block of rows of some `block_bytes` at a time.
inline void blocks(const TileCall* calls, int64_t most, int64_t row_bytes, const Matrix& w,
                   const float* bias, const Rows& rows, float* y, bool add_to, int64_t begin,
                   int64_t end) {
  const int64_t fitting = block_bytes / row_bytes / most * most;
  const int64_t block = fitting < 2 * most ? 2 * most : fitting;
  for (int64_t first = 0; first < rows.N; first += block) {
    const int64_t count = rows.N - first < block ? rows.N - first : block;
    for (int64_t panel = begin; panel < end; ++panel)
      tiles(calls, most, w, bias, rows, first, count, panel, y, add_to);
  }
}

}  // namespace
}  // namespace sparing
