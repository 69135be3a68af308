// Eight float32 lanes of Arm's Advanced SIMD: two registers that stand for one of AVX2, so that
// every sum is made in the order of that variant. For files of an Arm build only; nothing here has
// external linkage, so no such code can reach the rest of the program.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace sparing {
namespace {

struct F {
  float32x4_t low, high;
};
constexpr int64_t W = 8;

inline F all(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
inline F zero() { return all(0.0f); }
inline F load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
inline void store(float* p, F x) {
  vst1q_f32(p, x.low);
  vst1q_f32(p + 4, x.high);
}
inline F add(F a, F b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
inline F mul(F a, F b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
inline F div(F a, F b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
inline F fma(F a, F b, F c) {
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
// As on x86, b where either is a NaN.
inline F max(F a, F b) {
  return {vbslq_f32(vcgtq_f32(a.low, b.low), a.low, b.low),
          vbslq_f32(vcgtq_f32(a.high, b.high), a.high, b.high)};
}
inline F min(F a, F b) {
  return {vbslq_f32(vcltq_f32(a.low, b.low), a.low, b.low),
          vbslq_f32(vcltq_f32(a.high, b.high), a.high, b.high)};
}

// The first `count` floats, the other lanes zero; memory beyond them is not touched.
inline F load_part(const float* p, int64_t count) {
  float lanes[W] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}
inline void store_part(float* p, F x, int64_t count) {
  float lanes[W];
  store(lanes, x);
  for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}
// x in the lanes below `count`, zero elsewhere.
inline F keep(F x, int64_t count) {
  float lanes[W];
  store(lanes, x);
  return load_part(lanes, count);
}

// The sums of four vectors, each ((0+1)+(2+3)) + ((4+5)+(6+7)).
inline void sum4(F a, F b, F c, F d, float* out) {
  const float32x4_t low = vpaddq_f32(vpaddq_f32(a.low, b.low), vpaddq_f32(c.low, d.low));
  const float32x4_t high = vpaddq_f32(vpaddq_f32(a.high, b.high), vpaddq_f32(c.high, d.high));
  vst1q_f32(out, vaddq_f32(low, high));
}

inline F from_bf16(const uint16_t* p) {
  const uint16x8_t bits = vld1q_u16(p);
  return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
          vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(bits), 16))};
}
// Eight signed bytes as floats.
inline F from_bytes(int8x8_t bytes) {
  const int16x8_t wide = vmovl_s8(bytes);
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))),
          vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)))};
}
inline F from_int8(const int8_t* p) { return from_bytes(vld1_s8(p)); }
// Sixteen int4 weights, in column order, as 16 / W vectors.
inline void from_int4(const uint8_t* p, F* out) {
  const uint8x8_t raw = vld1_u8(p);
  const uint8x8x2_t codes = vzip_u8(vand_u8(raw, vdup_n_u8(15)), vshr_n_u8(raw, 4));
  for (int i = 0; i < 2; ++i)
    out[i] = from_bytes(vsub_s8(vreinterpret_s8_u8(codes.val[i]), vdup_n_s8(8)));
}

inline F round(F x) { return {vrndnq_f32(x.low), vrndnq_f32(x.high)}; }
// 2^n for whole n in [-126, 127].
inline F power2(F n) {
  const int32x4_t bias = vdupq_n_s32(127);
  return {vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.low), bias), 23)),
          vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.high), bias), 23))};
}

}  // namespace
}  // namespace sparing
