#include <cmath>
#include <cstring>
#include <limits>

#include "half.h"
#include "packed.h"

namespace sparing {
namespace {

constexpr Layout layout = Layout::whole;

void quantise(const float* x, int64_t D, int64_t group, int32_t zero, const RowCodes& out) {
  for (int64_t j = 0; j < D / group; ++j, x += group) {
    float most = 0.0f;
    bool finite = true;
    for (int64_t k = 0; k < group; ++k) {
      most = std::fmax(most, std::fabs(x[k]));
      finite = finite && std::isfinite(x[k]);
    }
    const float inverse = finite && most >= 1e-30f ? 127.0f / most : 0.0f;
    int32_t total = 0;
    for (int64_t k = 0; k < group; ++k) {
      const float code = finite ? std::nearbyint(x[k] * inverse) : 0.0f;
      out.code[j * group + k] = static_cast<int8_t>(code);
      total += out.code[j * group + k];
    }
    out.scale[j] = finite ? (inverse > 0.0f ? most / 127.0f : 0.0f)
                          : std::numeric_limits<float>::quiet_NaN();
    out.sum[j] = out.scale[j] * static_cast<float>(total);
    out.start[j] = -zero * total;
  }
}

void narrow(const float*, int64_t, uint16_t*) {}

// total[r] += codes of a group of row r times the codes of x.
void add_codes(Kind kind, const uint8_t* codes, int64_t group, const int8_t* x, int32_t* total) {
  if (kind == Kind::int8) {
    for (int64_t d = 0; d < group; d += 4, codes += 64)
      for (int64_t r = 0; r < panel_rows; ++r)
        for (int64_t k = 0; k < 4; ++k) total[r] += codes[r * 4 + k] * x[d + k];
    return;
  }
  for (int64_t d = 0; d < group; d += 8, codes += 64)
    for (int64_t r = 0; r < panel_rows; ++r)
      for (int64_t k = 0; k < 4; ++k)
        total[r] += (codes[r * 4 + k] & 15) * x[d + k] + (codes[r * 4 + k] >> 4) * x[d + 4 + k];
}

float factor(const uint8_t* from, bool half, int64_t r) {
  uint16_t bits;
  float value;
  std::memcpy(&bits, from + 2 * r, 2);
  if (half) return from_half(bits);
  std::memcpy(&value, from + 4 * r, 4);
  return value;
}

void codes_by_row(const Matrix& w, const uint8_t* panel, const Rows& rows, int64_t n, float* out) {
  const int64_t J = w.D / w.group, bytes = group_bytes(w);
  const int64_t codes = w.group * panel_rows / (w.kind == Kind::int8 ? 1 : 2);
  for (int64_t j = 0; j < J; ++j, panel += bytes) {
    int32_t total[panel_rows];
    for (int32_t& t : total) t = rows.start[n * J + j];
    add_codes(w.kind, panel, w.group, rows.code + n * w.D + j * w.group, total);
    for (int64_t r = 0; r < panel_rows; ++r) {
      out[r] += factor(panel + codes, w.half, r) * rows.scale[n * J + j] *
                static_cast<float>(total[r]);
      if (w.shifted)
        out[r] += factor(panel + codes + panel_rows * (w.half ? 2 : 4), w.half, r) *
                  rows.sum[n * J + j];
    }
  }
}

void numbers_by_row(const Matrix& w, const uint8_t* panel, const float* x, float* out) {
  for (int64_t begin = 0; begin < w.D; begin += float_block) {
    float part[panel_rows] = {};
    for (int64_t d = begin; d < w.D && d < begin + float_block; ++d)
      for (int64_t r = 0; r < panel_rows; ++r) {
        float value;
        uint32_t bits;
        if (w.kind == Kind::fp32) {
          std::memcpy(&bits, panel + (d * panel_rows + r) * 4, 4);
        } else {
          uint16_t upper;
          std::memcpy(&upper, panel + (d / 2 * 2 * panel_rows + r * 2 + d % 2) * 2, 2);
          bits = static_cast<uint32_t>(upper) << 16;
        }
        std::memcpy(&value, &bits, 4);
        part[r] += x[d] * value;
      }
    for (int64_t r = 0; r < panel_rows; ++r) out[r] += part[r];
  }
}

void product(const Matrix& w, const float* bias, const Rows& rows, float* y, bool add,
             int64_t begin, int64_t end) {
  const int64_t stride = w.D / w.group * group_bytes(w);
  for (int64_t panel = begin; panel < end; ++panel) {
    const uint8_t* data = static_cast<const uint8_t*>(w.data) + panel * stride;
    for (int64_t n = 0; n < rows.N; ++n) {
      float out[panel_rows] = {};
      if (has_codes(w.kind))
        codes_by_row(w, data, rows, n, out);
      else
        numbers_by_row(w, data, rows.x + n * w.D, out);
      for (int64_t r = 0; r < panel_rows && panel * panel_rows + r < w.Z; ++r) {
        const int64_t z = panel * panel_rows + r;
        const float value = bias ? out[r] + bias[z] : out[r];
        y[n * w.Z + z] = add ? y[n * w.Z + z] + value : value;
      }
    }
  }
}

}  // namespace

extern const PackedLinear packed_reference;
const PackedLinear packed_reference = {layout, false, quantise, narrow, product};

}  // namespace sparing
