// Half floats where the processor need not know them. Nothing here has external linkage.
#pragma once

#include <cstdint>
#include <cstring>

namespace sparing {
namespace {

inline float from_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 31, fraction = half & 1023;
  uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
  if (exponent == 31) bits |= 0x7f800000;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  if (exponent == 0) {  // a multiple of 2^-24, below the normal range
    value = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return sign ? -value : value;
  }
  return value;
}

// True when a half float holds the value exactly; `half` is it.
inline bool to_half(float value, uint16_t* half) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const int exponent = static_cast<int>(bits >> 23 & 255) - 112;
  const uint32_t fraction = bits & 0x7fffff;
  if ((bits & 0x7fffffff) == 0) {
    *half = sign;
    return true;
  }
  *half = 0;
  if (exponent >= 31 || exponent < -9) return false;
  if (exponent >= 1) {
    *half = static_cast<uint16_t>(sign | exponent << 10 | fraction >> 13);
    return (fraction & 0x1fff) == 0;
  }
  const int shift = 14 - exponent;  // of the 24 bits of the whole fraction
  const uint32_t whole = fraction | 0x800000;
  *half = static_cast<uint16_t>(sign | whole >> shift);
  return (whole & ((1u << shift) - 1)) == 0;
}

}  // namespace
}  // namespace sparing
