#include "select.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace sparing {
namespace {

constexpr int64_t bins = 2048;  // 64 powers of two, 32 bins each

// Bin of a weight in [0, 1]: falling weights fall into rising bins.
int64_t bin_of(double weight) {
  int64_t bits, one = int64_t{1023} << 52;
  std::memcpy(&bits, &weight, sizeof bits);
  return std::min<int64_t>((one >> 47) - (bits >> 47), bins - 1);
}

bool heavier(const Found& a, const Found& b) {
  return a.weight > b.weight || (a.weight == b.weight && a.id < b.id);
}

bool earlier(const Found& a, const Found& b) { return a.id < b.id; }

}  // namespace

int32_t first_peak(const float* x, int64_t V, const std::vector<float>& peaks, float peak) {
  const auto block = std::find(peaks.begin(), peaks.end(), peak) - peaks.begin();
  const float* begin = x + block * draw_block;
  return static_cast<int32_t>(std::find(begin, x + V, peak) - x);
}

void find_largest(const float* x, int64_t V, const std::vector<float>& peaks, int64_t count,
                  DrawRoom& room) {
  // As many blocks as are wanted have a peak of at least `least`, so as many logits have.
  float least = -std::numeric_limits<float>::infinity();
  if (count < static_cast<int64_t>(peaks.size())) {
    room.floats = peaks;
    const auto last = room.floats.begin() + (count - 1);
    std::nth_element(room.floats.begin(), last, room.floats.end(), std::greater<float>());
    least = *last;
  }
  room.found.clear();
  for (int64_t b = 0; b < static_cast<int64_t>(peaks.size()); ++b)
    if (peaks[b] >= least)
      for (int64_t i = b * draw_block; i < std::min(V, (b + 1) * draw_block); ++i)
        if (x[i] >= least) room.found.push_back({static_cast<int32_t>(i), x[i], 0.0});
  if (static_cast<int64_t>(room.found.size()) <= count) return;
  const auto end = room.found.begin() + count;
  std::nth_element(room.found.begin(), end, room.found.end(), more_likely);
  room.found.erase(end, room.found.end());
  std::sort(room.found.begin(), room.found.end(), earlier);
}

void find_above(const DrawKernels& kernels, const float* x, int64_t V,
                const std::vector<float>& peaks, double peak, double scale, double least,
                DrawRoom& room) {
  room.found.clear();
  double weights[draw_block];
  for (int64_t b = 0; b < static_cast<int64_t>(peaks.size()); ++b) {
    const float* block = x + b * draw_block;
    kernels.weights(&peaks[b], 1, peak, scale, weights);
    if (weights[0] < least) continue;
    const int64_t count = std::min(draw_block, V - b * draw_block);
    kernels.weights(block, count, peak, scale, weights);
    for (int64_t i = 0; i < count; ++i)
      if (weights[i] >= least)
        room.found.push_back({static_cast<int32_t>(b * draw_block + i), block[i], weights[i]});
  }
}

double weigh_found(const DrawKernels& kernels, double peak, double scale, DrawRoom& room) {
  double total = 0, weights[draw_block];
  float logits[draw_block];
  for (size_t first = 0; first < room.found.size(); first += draw_block) {
    const size_t count = std::min<size_t>(draw_block, room.found.size() - first);
    for (size_t i = 0; i < count; ++i) logits[i] = room.found[first + i].logit;
    total += kernels.weights(logits, static_cast<int64_t>(count), peak, scale, weights);
    for (size_t i = 0; i < count; ++i) room.found[first + i].weight = weights[i];
  }
  return total;
}

// The bin that the mass ends in is found from the mass of each; only that one is sorted.
void keep_nucleus(double mass, DrawRoom& room) {
  room.mass.assign(bins, 0.0);
  for (const Found& each : room.found) room.mass[bin_of(each.weight)] += each.weight;
  double before = 0;
  int64_t last = 0;
  while (last < bins - 1 && before + room.mass[last] < mass) before += room.mass[last++];
  room.edge.clear();
  for (const Found& each : room.found)
    if (bin_of(each.weight) == last) room.edge.push_back(each);
  std::sort(room.edge.begin(), room.edge.end(), heavier);
  size_t kept = 0;
  while (kept < room.edge.size() && before < mass) before += room.edge[kept++].weight;
  const Found* limit = kept ? &room.edge[kept - 1] : nullptr;
  const auto dropped = [&](const Found& each) {
    const int64_t bin = bin_of(each.weight);
    return bin > last || (bin == last && (!limit || heavier(*limit, each)));
  };
  room.found.erase(std::remove_if(room.found.begin(), room.found.end(), dropped),
                   room.found.end());
}

void keep_above(double least, DrawRoom& room) {
  const auto dropped = [&](const Found& each) { return each.weight < least; };
  room.found.erase(std::remove_if(room.found.begin(), room.found.end(), dropped),
                   room.found.end());
}

int32_t choose_found(double luck, const DrawRoom& room) {
  double total = 0, passed = 0;
  for (const Found& each : room.found) total += each.weight;
  int32_t last = room.found.front().id;
  for (const Found& each : room.found) {
    passed += each.weight;
    if (passed > luck * total) return each.id;
    if (each.weight > 0) last = each.id;
  }
  return last;  // luck was rounded up to the very end
}

Place find_block(const std::vector<double>& sums, double luck) {
  double total = 0;
  for (const double sum : sums) total += sum;
  Place place{0, 0.0, luck * total};
  double passed = 0;
  for (size_t b = 0; b < sums.size(); ++b) {
    if (sums[b] > 0) place.block = static_cast<int64_t>(b), place.before = passed;
    passed += sums[b];
    if (passed > place.target) break;
  }
  return place;
}

int64_t find_place(const Place& place, const double* weights, int64_t count) {
  double passed = place.before;
  int64_t last = 0;
  for (int64_t i = 0; i < count; ++i) {
    passed += weights[i];
    if (weights[i] > 0) last = i;
    if (passed > place.target) break;
  }
  return last;
}

}  // namespace sparing
