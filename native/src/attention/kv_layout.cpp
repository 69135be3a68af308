#include "kv_layout.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace sparing {
namespace {

uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float from_bf16(uint32_t low) {
  const uint32_t bits = low << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The scale of a row; NaN when a number in it is not finite.
float scale_of(KvKind kind, const float* row, int64_t K) {
  float extreme = 0.0f, check = 0.0f;
  for (int64_t k = 0; k < K; ++k) {
    check += row[k] * 0.0f;
    if (std::fabs(row[k]) > std::fabs(extreme)) extreme = row[k];
  }
  if (check != 0.0f) return std::numeric_limits<float>::quiet_NaN();
  return kind == KvKind::int8 ? std::fabs(extreme) / 127.0f : extreme / -8.0f;
}

// The bits of one number, in the low end.
uint32_t code_of(KvKind kind, float value, float inverse) {
  if (kind == KvKind::fp32) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  }
  if (kind == KvKind::bf16) return to_bf16(value);
  const float most = kind == KvKind::int8 ? 127.0f : 7.0f;
  const float least = kind == KvKind::int8 ? -127.0f : -8.0f;
  float code = value * inverse;
  code = code < most ? code : most;
  code = code > least ? code : least;
  const float shifted = code + 12582912.0f;  // 1.5 * 2^23: the last bits are the nearest whole
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  return bits & (kind == KvKind::int8 ? 0xffu : 0xfu);
}

// The number in the low bits of a word.
float number_of(KvKind kind, uint32_t word) {
  if (kind == KvKind::bf16) return from_bf16(word);
  if (kind == KvKind::int8) return static_cast<float>(static_cast<int8_t>(word));
  if (kind == KvKind::int4) return static_cast<float>(static_cast<int32_t>(word << 28) >> 28);
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// Byte of the word that holds column k of the key at `slot`.
int64_t key_word(const KvLayout& layout, int64_t slot, int64_t k) {
  const int64_t panel = layout.panel(), words = layout.width() / layout.word();
  return 4 * ((slot / panel * words + k / layout.word()) * panel + slot % panel);
}

struct Codes {
  char* scale;  // of the slot
  float factor, inverse;
};

Codes begin_row(const KvLayout& layout, char* head, int64_t slot, const float* row) {
  Codes codes{head + layout.code_bytes() + 4 * slot, 1.0f, 1.0f};
  if (!layout.scaled()) return codes;
  codes.factor = scale_of(layout.kind, row, layout.K);
  const bool usable = std::isfinite(codes.factor) && codes.factor != 0.0f;
  codes.inverse = usable ? 1.0f / codes.factor : 0.0f;
  if (std::isinf(codes.inverse)) codes.inverse = codes.factor = 0.0f;  // below float32's range
  std::memcpy(codes.scale, &codes.factor, 4);
  return codes;
}

// A row that is not finite has the scale NaN, and codes of zero.
float finite(const Codes& codes, float value) { return codes.inverse == 0.0f ? 0.0f : value; }

}  // namespace

void kv_write_keys(const KvLayout& layout, char* base, int64_t block, int64_t slot,
                   const float* rows) {
  const int64_t E = layout.word(), panel = layout.panel();
  for (int64_t g = 0; g < layout.G; ++g) {
    char* head = base + block * layout.block_bytes() + g * layout.head_bytes();
    const float* row = rows + g * layout.K;
    const Codes codes = begin_row(layout, head, slot, row);
    char* at = head + key_word(layout, slot, 0);
    for (int64_t k = 0; k < layout.K; k += E, at += 4 * panel) {
      uint32_t word = 0;
      for (int64_t e = 0; e < E && k + e < layout.K; ++e)
        word |= code_of(layout.kind, finite(codes, row[k + e]), codes.inverse)
                << (e * layout.bits() % 32);
      std::memcpy(at, &word, 4);
    }
  }
}

void kv_write_values(const KvLayout& layout, char* base, int64_t block, int64_t slot,
                     const float* rows) {
  for (int64_t g = 0; g < layout.G; ++g) {
    char* head = base + block * layout.block_bytes() + g * layout.head_bytes();
    const float* row = rows + g * layout.K;
    const Codes codes = begin_row(layout, head, slot, row);
    char* at = head + slot * layout.row_bytes();
    const auto code = [&](int64_t k) {
      return code_of(layout.kind, finite(codes, row[k]), codes.inverse);
    };
    if (layout.kind == KvKind::fp32) std::memcpy(at, row, static_cast<size_t>(layout.K) * 4);
    for (int64_t k = 0; layout.kind == KvKind::bf16 && k < layout.K; ++k) {
      const auto bits = static_cast<uint16_t>(code(k));
      std::memcpy(at + 2 * k, &bits, 2);
    }
    for (int64_t k = 0; layout.kind == KvKind::int8 && k < layout.K; ++k)
      at[k] = static_cast<char>(code(k));
    for (int64_t k = 0; layout.kind == KvKind::int4 && k < layout.K; k += 2)
      at[k / 2] = static_cast<char>(code(k) | (k + 1 < layout.K ? code(k + 1) << 4 : 0u));
  }
}

float kv_key_code(const KvLayout& layout, const char* base, int64_t block, int64_t head,
                  int64_t slot, int64_t k) {
  uint32_t word;
  const char* from = base + block * layout.block_bytes() + head * layout.head_bytes();
  std::memcpy(&word, from + key_word(layout, slot, k), 4);
  return number_of(layout.kind, word >> (k % layout.word() * layout.bits() % 32));
}

float kv_value_code(const KvLayout& layout, const char* base, int64_t block, int64_t head,
                    int64_t slot, int64_t k) {
  const int64_t bit = k * layout.bits();
  uint32_t word;
  const char* from = base + block * layout.block_bytes() + head * layout.head_bytes();
  std::memcpy(&word, from + slot * layout.row_bytes() + bit / 32 * 4, 4);
  return number_of(layout.kind, word >> (bit % 32));
}

float kv_scale(const KvLayout& layout, const char* base, int64_t block, int64_t head,
               int64_t slot) {
  if (!layout.scaled()) return 1.0f;
  float scale;
  const char* from = base + block * layout.block_bytes() + head * layout.head_bytes();
  std::memcpy(&scale, from + layout.code_bytes() + 4 * slot, 4);
  return scale;
}

void kv_read_key(const KvLayout& layout, const char* base, int64_t block, int64_t head,
                 int64_t slot, float* row) {
  const float scale = kv_scale(layout, base, block, head, slot);
  for (int64_t k = 0; k < layout.K; ++k)
    row[k] = kv_key_code(layout, base, block, head, slot, k) * scale;
}

void kv_read_value(const KvLayout& layout, const char* base, int64_t block, int64_t head,
                   int64_t slot, float* row) {
  const float scale = kv_scale(layout, base, block, head, slot);
  for (int64_t k = 0; k < layout.K; ++k)
    row[k] = kv_value_code(layout, base, block, head, slot, k) * scale;
}

}  // namespace sparing
