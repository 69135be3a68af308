// exp(x) on the lanes of the header included before this one; 3e-7 relative for |x| < 87, clamped
// beyond. A NaN stays a NaN. Range reduction by ln 2 in two parts, then Taylor to x^7 on
// |x| <= ln 2 / 2, whose remainder is below 6e-9.
#pragma once

namespace sparing {
namespace {

inline F exponential(F x) {
  x = max(all(-87.3f), min(all(88.0f), x));
  const F n = round(mul(x, all(1.44269504088896341f)));
  F r = fma(n, all(-0.693359375f), x);
  r = fma(n, all(2.12194440e-4f), r);
  F p = all(1.0f / 5040.0f);
  p = fma(p, r, all(1.0f / 720.0f));
  p = fma(p, r, all(1.0f / 120.0f));
  p = fma(p, r, all(1.0f / 24.0f));
  p = fma(p, r, all(1.0f / 6.0f));
  p = fma(p, r, all(0.5f));
  p = fma(p, r, all(1.0f));
  p = fma(p, r, all(1.0f));
  return mul(p, power2(n));
}

}  // namespace
}  // namespace sparing
