#include "activation.h"

#include <cmath>

namespace sparing {

Activate activation_reference(Activation kind);

namespace {

struct Silu {
  static float of(float x) { return x / (1.0f + std::exp(-x)); }
};
struct Gelu {
  static float of(float x) { return 0.5f * x * std::erfc(x * -0.707106781187f); }
};
struct GeluTanh {
  static float of(float x) {
    return 0.5f * x * (1.0f + std::tanh(0.797884560803f * (x + 0.044715f * x * x * x)));
  }
};
struct QuickGelu {
  static float of(float x) { return x / (1.0f + std::exp(-1.702f * x)); }
};
struct Relu {
  static float of(float x) { return x > 0.0f || x != x ? x : 0.0f; }
};

template <class Function>
void activate(float* x, const float* up, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = up ? Function::of(x[i]) * up[i] : Function::of(x[i]);
}

}  // namespace

Activate activation_reference(Activation kind) {
  switch (kind) {
    case Activation::silu: return activate<Silu>;
    case Activation::gelu: return activate<Gelu>;
    case Activation::gelu_tanh: return activate<GeluTanh>;
    case Activation::relu: return activate<Relu>;
    case Activation::quick_gelu: return activate<QuickGelu>;
  }
  return activate<Silu>;
}

}  // namespace sparing
