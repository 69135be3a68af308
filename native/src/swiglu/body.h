// SwiGLU on the lanes included before this header; swiglu.h has the contract.
#pragma once

namespace sparing {
namespace {

inline F gate_times(F g, F u) {
  const F one = all(1.0f);
  return mul(div(g, add(one, exponential(mul(g, all(-1.0f))))), u);
}

void gated(float* gate, const float* up, int64_t count) {
  int64_t i = 0;
  for (; i + W <= count; i += W) store(gate + i, gate_times(load(gate + i), load(up + i)));
  if (i < count)
    store_part(gate + i, gate_times(load_part(gate + i, count - i), load_part(up + i, count - i)),
               count - i);
}

}  // namespace
}  // namespace sparing
