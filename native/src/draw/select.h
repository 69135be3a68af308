// From the logits of one row to the few tokens that may be drawn, and to one of them.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace sparing {

struct Found {
  int32_t id;
  float logit;
  double weight;
};

// Room of one thread, kept for its memory.
struct DrawRoom {
  std::vector<Found> found;  // candidates, in order of id unless said otherwise
  std::vector<Found> edge;   // those of one bin
  std::vector<float> floats;
  std::vector<double> mass;  // of each bin
};

// The larger logit first, the lower id among equals.
inline bool more_likely(const Found& a, const Found& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// The first token whose logit is the peak; peaks are those of the blocks.
int32_t first_peak(const float* x, int64_t V, const std::vector<float>& peaks, float peak);

// found = the `count` largest logits; weights are not filled in.
void find_largest(const float* x, int64_t V, const std::vector<float>& peaks, int64_t count,
                  DrawRoom& room);

// found = all that weigh at least `least`, weights filled in.
void find_above(const DrawKernels& kernels, const float* x, int64_t V,
                const std::vector<float>& peaks, double peak, double scale, double least,
                DrawRoom& room);

// Fills in the weights of what was found; returns their sum.
double weigh_found(const DrawKernels& kernels, double peak, double scale, DrawRoom& room);

// Keeps the likeliest until their mass reaches `mass`: the mass before a token decides.
void keep_nucleus(double mass, DrawRoom& room);

// Keeps what weighs at least `least`; the peak weighs 1.
void keep_above(double least, DrawRoom& room);

// The token whose share of what was found, in order of id, holds `luck`.
int32_t choose_found(double luck, const DrawRoom& room);

// The block whose share of the sums holds `luck`, and the place in it.
struct Place {
  int64_t block;
  double before;  // mass of the blocks before
  double target;  // mass before the luck
};
Place find_block(const std::vector<double>& sums, double luck);
int64_t find_place(const Place& place, const double* weights, int64_t count);

}  // namespace sparing
