// The two loops over all logits, on `lanes` doubles at a time; the including file defines `lanes`
// for its instruction set. The compiler's own vectors, so nothing here names an instruction.
#include "kernels.h"

namespace sparing {
namespace {

typedef float F __attribute__((vector_size(4 * lanes)));
typedef int32_t I __attribute__((vector_size(4 * lanes)));
typedef double D __attribute__((vector_size(8 * lanes)));
typedef int64_t L __attribute__((vector_size(8 * lanes)));
static_assert(draw_block % lanes == 0, "whole vectors in a block");

inline F load(const float* p) {
  F x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}

inline float bit_float(int32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

// exp(x) for x <= 0, exactly 0 below -708; a NaN gives 0. Range reduction by ln 2 in two parts,
// then Taylor to x^12 on |x| <= ln 2 / 2, whose remainder is below 2e-16. Products and sums are
// rounded one by one, so that every variant has the same bits.
inline D exponential(D x) {
  const L kept = x >= -708.0;
  x = reinterpret_cast<D>(reinterpret_cast<L>(x) & kept);
  const D shifted = x * 1.44269504088896340736 + 0x1.8p52;  // the low bits are the whole number
  const D n = shifted - 0x1.8p52;
  const D r = (x - n * 0x1.62e42fefap-1) - n * 0x1.cf79abc9e3b39p-40;
  D p = r * (1.0 / 479001600.0) + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const L power = (reinterpret_cast<L>(shifted) << 52) + (int64_t{1023} << 52);
  return reinterpret_cast<D>(reinterpret_cast<L>(p * reinterpret_cast<D>(power)) & kept);
}

inline bool peaks_of(const float* x, int64_t count, float* peaks) {
  const float lowest = bit_float(static_cast<int32_t>(0xff800000u));  // minus infinity
  I broken = {};
  bool whole = true;
  for (int64_t b = 0; b * draw_block < count; ++b, x += draw_block) {
    const int64_t left = count - b * draw_block;
    float peak = lowest;
    if (left >= draw_block) {
      F most = load(x);
      broken |= most != most;
      for (int64_t i = lanes; i < draw_block; i += lanes) {
        const F next = load(x + i);
        broken |= next != next;
        most = next > most ? next : most;
      }
      for (int i = 0; i < lanes; ++i) peak = most[i] > peak ? most[i] : peak;
    } else {
      for (int64_t i = 0; i < left; ++i) {
        whole = whole && x[i] == x[i];
        peak = x[i] > peak ? x[i] : peak;
      }
    }
    peaks[b] = peak;
  }
  for (int i = 0; i < lanes; ++i) whole = whole && broken[i] == 0;
  return whole;
}

inline double weights_of(const float* x, int64_t count, double peak, double scale, double* w) {
  float padded[draw_block];
  double spare[draw_block];
  double* out = w;
  if (count < draw_block) {  // the rest weighs nothing
    for (int64_t i = 0; i < draw_block; ++i)
      padded[i] = i < count ? x[i] : bit_float(static_cast<int32_t>(0xff800000u));
    x = padded;
    out = spare;
  }
  for (int64_t i = 0; i < draw_block; i += lanes) {
    const D e = exponential((__builtin_convertvector(load(x + i), D) - peak) * scale);
    __builtin_memcpy(out + i, &e, sizeof e);
  }
  double part[8] = {};  // eight sums whatever the lanes, so that the bits are the same
  for (int64_t i = 0; i < draw_block; i += 8)
    for (int j = 0; j < 8; ++j) part[j] += out[i + j];
  if (out != w)
    for (int64_t i = 0; i < count; ++i) w[i] = out[i];
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

}  // namespace
}  // namespace sparing
