#include "rope.h"

#include <cmath>

namespace sparing {

void rope_angles(int64_t position, const float* inverse_frequency, float scale, int64_t Y,
                 float* cosine, float* sine) {
  for (int64_t y = 0; y < Y; ++y) {
    const float angle = static_cast<float>(position) * inverse_frequency[y];
    cosine[y] = static_cast<float>(std::cos(static_cast<double>(angle))) * scale;
    sine[y] = static_cast<float>(std::sin(static_cast<double>(angle))) * scale;
  }
}

void rope(float* x, const float* cosine, const float* sine, int64_t heads, int64_t K,
          int64_t Y) {
  for (int64_t h = 0; h < heads; ++h) {
    float* first = x + h * K;
    float* second = first + Y;
    for (int64_t y = 0; y < Y; ++y) {
      const float a = first[y], b = second[y];
      first[y] = a * cosine[y] - b * sine[y];
      second[y] = b * cosine[y] + a * sine[y];
    }
  }
}

}  // namespace sparing
