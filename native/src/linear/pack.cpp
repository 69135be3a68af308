#include "packed.h"

#include <algorithm>

#include "half.h"

namespace sparing {
namespace {

constexpr int64_t most_columns = 128;  // of a packed group

int bits_of(Kind kind) {
  switch (kind) {
    case Kind::fp32: return 32;
    case Kind::bf16: return 16;
    case Kind::int8: return 8;
    default: return 4;
  }
}

// Columns that lie together; a group is whole units, a bf16 row is padded to one.
int64_t unit_columns(Kind kind, Layout layout) {
  if (kind == Kind::fp32) return 1;
  if (kind == Kind::int8) return 4;
  const bool whole = layout == Layout::whole;
  return kind == Kind::bf16 ? (whole ? 2 : 1) : (whole ? 8 : 4);
}

int64_t unit_bytes(Kind kind, Layout layout) {
  return unit_columns(kind, layout) * panel_rows * bits_of(kind) / 8;
}

bool exact_in_half(const float* values, int64_t count) {
  uint16_t half;
  for (int64_t i = 0; i < count; ++i)
    if (!to_half(values[i], &half)) return false;
  return true;
}

// The stored codes, code + zero, of columns [d, d + count) of a plain row.
void stored_codes(const Matrix& w, int zero, int64_t z, int64_t d, int64_t count, uint8_t* out) {
  const int64_t at = z * w.D + d;
  if (w.kind == Kind::int8) {
    const auto* code = static_cast<const int8_t*>(w.data) + at;
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>(code[i] + zero);
  } else if (w.kind == Kind::int4) {
    const auto* byte = static_cast<const uint8_t*>(w.data) + at / 2;  // at is even
    for (int64_t i = 0; i < count; i += 2) {
      out[i] = byte[i / 2] & 15;
      out[i + 1] = byte[i / 2] >> 4;
    }
  } else {
    const auto* three = static_cast<const uint8_t*>(w.data) + at / 8 * 3;  // at is a multiple of 8
    for (int64_t i = 0; i < count; i += 8, three += 3) {
      const int word = three[0] | three[1] << 8 | three[2] << 16;
      for (int k = 0; k < 8; ++k) out[i + k] = static_cast<uint8_t>((word >> 3 * k & 7) + 4);
    }
  }
}

using Codes = uint8_t[panel_rows][most_columns];

void place_int8(const Codes& code, int64_t group, uint8_t* to) {
  for (int64_t d = 0; d < group; d += 4)
    for (int64_t r = 0; r < panel_rows; ++r, to += 4) std::copy(&code[r][d], &code[r][d] + 4, to);
}

void place_int4(const Codes& code, int64_t group, Layout layout, uint8_t* to) {
  if (layout == Layout::eights) {
    for (int64_t d = 0; d < group; d += 4)
      for (int64_t r = 0; r < 8; ++r)
        for (int64_t k = d; k < d + 4; ++k)
          *to++ = static_cast<uint8_t>(code[r][k] | code[8 + r][k] << 4);
    return;
  }
  for (int64_t d = 0; d < group; d += 8)
    for (int64_t r = 0; r < panel_rows; ++r)
      for (int64_t k = d; k < d + 4; ++k)
        *to++ = static_cast<uint8_t>(code[r][k] | code[r][k + 4] << 4);
}

void place_factor(float value, bool half, uint8_t* to, int64_t r) {
  if (!half) {
    std::memcpy(to + 4 * r, &value, 4);
    return;
  }
  uint16_t bits = 0;
  to_half(value, &bits);
  std::memcpy(to + 2 * r, &bits, 2);
}

float factor(const uint8_t* from, bool half, int64_t r) {
  uint16_t bits;
  float value;
  std::memcpy(&bits, from + 2 * r, 2);
  if (half) return from_half(bits);
  std::memcpy(&value, from + 4 * r, 4);
  return value;
}

void pack_codes(const Matrix& plain, const Matrix& form, int64_t panel, uint8_t* to) {
  const int zero = zero_of(form.kind, form.layout);
  const int64_t J = plain.D / plain.group, factors = panel_rows * (form.half ? 2 : 4);
  Codes code;
  for (int64_t d = 0; d < plain.D; d += form.group) {
    std::memset(code, zero, sizeof code);
    for (int64_t r = 0; r < panel_rows && panel * panel_rows + r < plain.Z; ++r)
      stored_codes(plain, zero, panel * panel_rows + r, d, form.group, code[r]);
    if (form.kind == Kind::int8)
      place_int8(code, form.group, to);
    else
      place_int4(code, form.group, form.layout, to);
    to += form.group * panel_rows * bits_of(form.kind) / 8;
    for (const float* values : {plain.scale, plain.offset}) {
      if (!values) continue;
      for (int64_t r = 0; r < panel_rows; ++r) {
        const int64_t z = panel * panel_rows + r;
        place_factor(z < plain.Z ? values[z * J + d / plain.group] : 0.0f, form.half, to, r);
      }
      to += factors;
    }
  }
}

// Place of a number within a panel of fp32 or bf16, in elements.
int64_t float_place(Kind kind, Layout layout, int64_t r, int64_t d) {
  if (kind == Kind::fp32) return d * panel_rows + r;
  if (layout == Layout::eights) return d * panel_rows + r % 8 * 2 + r / 8;
  return d / 2 * 2 * panel_rows + r * 2 + d % 2;
}

template <class Number>
void pack_numbers(const Matrix& plain, Layout layout, int64_t panel, uint8_t* to) {
  for (int64_t r = 0; r < panel_rows && panel * panel_rows + r < plain.Z; ++r) {
    const Number* row =
        static_cast<const Number*>(plain.data) + (panel * panel_rows + r) * plain.D;
    for (int64_t d = 0; d < plain.D; ++d)
      std::memcpy(to + float_place(plain.kind, layout, r, d) * sizeof(Number), row + d,
                  sizeof(Number));
  }
}

int stored_code(const uint8_t* codes, Kind kind, Layout layout, int64_t r, int64_t d) {
  if (kind == Kind::int8) return codes[d / 4 * 64 + r * 4 + d % 4];
  if (layout == Layout::eights) {
    const int byte = codes[d / 4 * 32 + r % 8 * 4 + d % 4];
    return r < 8 ? byte & 15 : byte >> 4;
  }
  const int byte = codes[d / 8 * 64 + r * 4 + d % 4];
  return d % 8 < 4 ? byte & 15 : byte >> 4;
}

}  // namespace

int64_t packed_group(Kind kind, int64_t D, int64_t group) {
  if (!has_codes(kind)) return D;
  for (int64_t columns = most_columns; columns >= 16; columns /= 2)
    if (group % columns == 0) return columns;
  return 0;
}

int32_t zero_of(Kind kind, Layout layout) {
  if (kind == Kind::int8) return layout == Layout::whole ? 128 : 0;
  return has_codes(kind) ? 8 : 0;
}

int64_t starts_of(Kind kind, Layout layout, int64_t D, int64_t group) {
  const bool pairs = layout == Layout::eights && kind != Kind::int8;
  return D / (pairs ? std::min<int64_t>(group, 64) : group);
}

int64_t group_bytes(const Matrix& w) {
  const int64_t columns = unit_columns(w.kind, w.layout);
  const int64_t units = (w.group + columns - 1) / columns;
  const int64_t factors = has_codes(w.kind) ? panel_rows * (w.half ? 2 : 4) : 0;
  return units * unit_bytes(w.kind, w.layout) + factors * (w.shifted ? 2 : 1);
}

int64_t packed_bytes(const Matrix& w) {
  return panels_of(w.Z) * (w.D / w.group) * group_bytes(w);
}

Matrix packed_form(const Matrix& plain, Layout layout) {
  Matrix form;
  form.Z = plain.Z, form.D = plain.D;
  form.kind = plain.kind == Kind::int3 ? Kind::int4 : plain.kind;
  form.group = packed_group(plain.kind, plain.D, plain.group);
  form.packed = true, form.layout = layout;
  form.shifted = plain.offset != nullptr;
  if (!has_codes(plain.kind)) return form;
  const int64_t count = plain.Z * (plain.D / plain.group);
  form.half = exact_in_half(plain.scale, count) &&
              (!plain.offset || exact_in_half(plain.offset, count));
  return form;
}

void pack(const Matrix& plain, const Matrix& form, int64_t begin, int64_t end, uint8_t* data) {
  const int64_t stride = form.D / form.group * group_bytes(form);
  for (int64_t panel = begin; panel < end; ++panel) {
    uint8_t* to = data + panel * stride;
    if (has_codes(form.kind)) {
      pack_codes(plain, form, panel, to);
      continue;
    }
    std::memset(to, 0, static_cast<size_t>(stride));
    if (form.kind == Kind::fp32)
      pack_numbers<float>(plain, form.layout, panel, to);
    else
      pack_numbers<uint16_t>(plain, form.layout, panel, to);
  }
}

void decode_packed(const Matrix& w, int64_t z, float* row) {
  const int64_t bytes = group_bytes(w), r = z % panel_rows;
  const auto* from =
      static_cast<const uint8_t*>(w.data) + z / panel_rows * (w.D / w.group) * bytes;
  if (!has_codes(w.kind)) {
    for (int64_t d = 0; d < w.D; ++d) {
      const int64_t place = float_place(w.kind, w.layout, r, d);
      uint32_t bits = 0;
      uint16_t upper;
      std::memcpy(&upper, from + 2 * place, 2);
      bits = static_cast<uint32_t>(upper) << 16;
      if (w.kind == Kind::fp32) std::memcpy(&bits, from + 4 * place, 4);
      std::memcpy(row + d, &bits, 4);
    }
    return;
  }
  const int64_t codes = w.group * panel_rows * bits_of(w.kind) / 8;
  for (int64_t d = 0; d < w.D; d += w.group, from += bytes) {
    const float scale = factor(from + codes, w.half, r);
    for (int64_t k = 0; k < w.group; ++k) {
      const int stored = stored_code(from, w.kind, w.layout, r, k);
      const bool plain = w.kind == Kind::int8 && w.layout == Layout::eights;
      const int code = plain ? static_cast<int8_t>(stored) : stored - zero_of(w.kind, w.layout);
      row[d + k] = static_cast<float>(code) * scale;
    }
    if (!w.shifted) continue;
    const float offset = factor(from + codes + panel_rows * (w.half ? 2 : 4), w.half, r);
    for (int64_t k = 0; k < w.group; ++k) row[d + k] += offset;
  }
}

}  // namespace sparing
