// Experts: each row chooses its own, rows are gathered expert by expert, and what a row gets back
// is summed by rising expert, so that its bits depend on nothing but the row.
#include <algorithm>
#include <cmath>

#include "decoder.h"

namespace sparing {
namespace {

constexpr float taken = -1.0f;  // no probability

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// Probabilities of E logits, in place.
void softmax(float* x, int64_t E) {
  const float most = *std::max_element(x, x + E);
  float sum = 0.0f;
  for (int64_t e = 0; e < E; ++e) sum += x[e] = std::exp(x[e] - most);
  for (int64_t e = 0; e < E; ++e) x[e] /= sum;
}

}  // namespace

// The likeliest experts of every row (of equals the first), by rising number, and their weights.
void Decoder::route(const LayerWeights& layer, const float* from) {
  const int64_t E = shape_.experts, X = shape_.experts_per_token;
  multiply({{&layer.router, from, router_.data(), false}});
  rows(batch_.N, [&](int64_t n) {
    float* probability = &router_[n * E];
    softmax(probability, E);
    Choice* chosen = &choices_[static_cast<size_t>(n * X)];
    float sum = 0.0f;
    for (int64_t i = 0; i < X; ++i) {
      int64_t best = -1;  // a NaN is never likelier, and is taken once like any other
      for (int64_t e = 0; e < E; ++e)
        if (probability[e] != taken && (best < 0 || probability[e] > probability[best])) best = e;
      chosen[i] = {static_cast<int32_t>(best), static_cast<int32_t>(n), probability[best]};
      sum += probability[best];
      probability[best] = taken;
    }
    if (shape_.normalised_experts)
      for (int64_t i = 0; i < X; ++i) chosen[i].weight /= sum;
    std::sort(chosen, chosen + X,
              [](const Choice& a, const Choice& b) { return a.expert < b.expert; });
  });
}

// Rows expert by expert: choice c stands at place_[c], those of expert e from first_[e] on.
void Decoder::gather(const float* from) {
  const int64_t D = shape_.width, E = shape_.experts;
  const int64_t count = batch_.N * shape_.experts_per_token;
  std::fill(first_.begin(), first_.begin() + E + 1, 0);
  for (int64_t c = 0; c < count; ++c) ++first_[choices_[c].expert + 1];
  for (int64_t e = 0; e < E; ++e) first_[e + 1] += first_[e];
  std::copy(first_.begin(), first_.begin() + E, next_.begin());
  for (int64_t c = 0; c < count; ++c) place_[c] = next_[choices_[c].expert]++;
  rows(count, [&](int64_t c) {
    const float* row = from + choices_[c].row * D;
    std::copy(row, row + D, &gathered_[place_[c] * D]);
  });
}

// x += sum over the row's experts of weight * expert(from), and the shared expert's.
void Decoder::expert_maps(const LayerWeights& layer, const float* from) {
  const int64_t N = batch_.N, D = shape_.width, E = shape_.experts;
  const int64_t X = shape_.experts_per_token, M = shape_.expert_hidden;
  route(layer, from);
  gather(from);
  products_asked_.clear();
  for (int64_t e = 0; e < E; ++e) {
    const FeedForward& maps = layer.experts[static_cast<size_t>(e)];
    const int64_t at = first_[e], count = first_[e + 1] - at;
    if (count == 0) continue;
    const float* own = &gathered_[at * D];
    products_asked_.push_back({&maps.gate, own, &gate_[at * M], false, count});
    products_asked_.push_back({&maps.up, own, &up_[at * M], false, count});
  }
  products_.multiply(products_asked_);
  activate(N * X, M);
  products_asked_.clear();
  for (int64_t e = 0; e < E; ++e) {
    const int64_t at = first_[e], count = first_[e + 1] - at;
    if (count == 0) continue;
    products_asked_.push_back({&layer.experts[static_cast<size_t>(e)].down, &gate_[at * M],
                               &experts_out_[at * D], false, count});
  }
  products_.multiply(products_asked_);
  const bool shared = shape_.shared_hidden > 0;
  if (shared) {
    multiply({{&layer.shared_router, from, shared_router_.data(), false}});
    through(layer.shared, from, shape_.shared_hidden);
    multiply({{&layer.shared.down, gate_.data(), spare_.data(), false}});
  }
  rows(N, [&](int64_t n) {
    float* sum = &spare_[n * D];
    const float weight = shared ? sigmoid(shared_router_[n]) : 0.0f;
    for (int64_t d = 0; d < D; ++d) sum[d] = shared ? weight * sum[d] : 0.0f;
    for (int64_t c = n * X; c < (n + 1) * X; ++c) {
      const float* row = &experts_out_[place_[c] * D];
      for (int64_t d = 0; d < D; ++d) sum[d] += choices_[c].weight * row[d];
    }
  });
  add(spare_, layer.mlp_post_norm);
}

}  // namespace sparing
