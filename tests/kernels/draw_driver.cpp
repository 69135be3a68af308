// Compares one variant of the draw's loops, named by VARIANT and VARIANT_FILE, with the reference.
// The variants hold no instructions by name, so any processor runs them. Exits with 1 and a line
// for each failure.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include VARIANT_FILE

namespace sparing {
extern const DrawKernels draw_reference;
}  // namespace sparing

using namespace sparing;

int main() {
  std::mt19937 engine(7);
  std::normal_distribution<float> normal;
  const float infinity = HUGE_VALF;
  int failures = 0;
  const auto expect = [&](bool ok, const char* what, int64_t count, double scale) {
    if (ok) return;
    std::printf("%s, %ld logits, scale %g\n", what, static_cast<long>(count), scale);
    failures = 1;
  };
  for (const int64_t count : {1, 2, 7, 8, 63, 64, 65, 128, 200, 5000}) {
    std::vector<float> x(static_cast<size_t>(count));
    for (float& each : x) each = 40.0f * normal(engine);
    if (count > 7) x[5] = -infinity;
    std::vector<float> got(static_cast<size_t>(count / 64 + 1)), want = got;
    expect(VARIANT.peaks(x.data(), count, got.data()) &&
               draw_reference.peaks(x.data(), count, want.data()) && got == want,
           "peaks", count, 0);
    for (const int64_t at : {int64_t{0}, count / 2, count - 1}) {
      std::vector<float> broken = x;
      broken[static_cast<size_t>(at)] = NAN;
      expect(!VARIANT.peaks(broken.data(), count, got.data()), "a NaN passed", count, 0);
    }
    float peak = -infinity;
    for (const float each : want) peak = std::fmax(peak, each);
    const int64_t block = count < draw_block ? count : draw_block;
    std::vector<double> w(draw_block + 1, -1.0), v(draw_block);
    for (const double scale : {1e-9, 0.01, 0.5, 1.0, 3.0, 1e300}) {
      const double sum = VARIANT.weights(x.data(), block, peak, scale, w.data());
      const double exact = draw_reference.weights(x.data(), block, peak, scale, v.data());
      expect(std::fabs(sum - exact) <= 1e-13 * exact + 1e-300, "sum", count, scale);
      for (int64_t i = 0; i < block; ++i)
        expect(std::fabs(w[i] - v[i]) <= 1e-13 * v[i] + 1e-300, "weight", i, scale);
      for (int64_t i = block; i <= draw_block; ++i) expect(w[i] == -1.0, "overrun", i, scale);
    }
  }
  return failures;
}
