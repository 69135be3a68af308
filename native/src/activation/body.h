// Activations on the lanes included before this header; activation.h has the contract.
#pragma once

namespace sparing {
namespace {

struct Silu {
  static F of(F x) { return div(x, add(all(1.0f), exponential(mul(x, all(-1.0f))))); }
};

// max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, with erfc(z) = exp(-z^2) t P(t), t = 1 / (1 + z / 2),
// and P of degree 8 fitted at Chebyshev nodes: 6e-8 relative for z up to 10.
struct Gelu {
  static F of(F x) {
    const F size = max(mul(x, all(-1.0f)), x);
    const F t = div(all(1.0f), fma(size, all(0.353553390593f), all(1.0f)));
    F p = all(-0.0583182426f);
    p = fma(p, t, all(0.281191928f));
    p = fma(p, t, all(-0.480802684f));
    p = fma(p, t, all(0.271470858f));
    p = fma(p, t, all(-0.0225914246f));
    p = fma(p, t, all(0.201196663f));
    p = fma(p, t, all(0.243426815f));
    p = fma(p, t, all(0.282337858f));
    p = fma(p, t, all(0.282088195f));
    const F tail = mul(mul(exponential(mul(mul(size, size), all(-0.5f))), t), p);
    return fma(mul(size, all(-0.5f)), tail, max(zero(), x));
  }
};

// x (1 + tanh u) / 2 = x / (1 + exp(-2 u))
struct GeluTanh {
  static F of(F x) {
    const F cube = mul(mul(x, x), mul(x, all(0.044715f)));
    const F twice = mul(add(x, cube), all(-1.59576912161f));
    return div(x, add(all(1.0f), exponential(twice)));
  }
};

struct QuickGelu {
  static F of(F x) { return div(x, add(all(1.0f), exponential(mul(x, all(-1.702f))))); }
};

struct Relu {
  static F of(F x) { return max(zero(), x); }
};

template <class Function>
void activate(float* x, const float* up, int64_t count) {
  const auto one = [&](int64_t i) {
    const F y = Function::of(load(x + i));
    store(x + i, up ? mul(y, load(up + i)) : y);
  };
  int64_t i = 0;
  for (; i + W <= count; i += W) one(i);
  if (i == count) return;
  const F y = Function::of(load_part(x + i, count - i));
  store_part(x + i, up ? mul(y, load_part(up + i, count - i)) : y, count - i);
}

inline Activate chosen(Activation kind) {
  switch (kind) {
    case Activation::silu: return activate<Silu>;
    case Activation::gelu: return activate<Gelu>;
    case Activation::gelu_tanh: return activate<GeluTanh>;
    case Activation::relu: return activate<Relu>;
    case Activation::quick_gelu: return activate<QuickGelu>;
  }
  return activate<Silu>;
}

}  // namespace
}  // namespace sparing
