#include "products.h"

#include <algorithm>

namespace sparing {
namespace {

// Output rows per task: some four tasks a thread, none so small that handing it out shows.
int64_t chunk_of(const Product& product, int threads) {
  const Matrix& w = product.map->weight;
  const int64_t even = w.Z / (4 * threads);
  const int64_t least = 16384 / (w.D * std::min<int64_t>(product.N, 64)) + 1;
  return (std::max(even, least) + 7) / 8 * 8;
}

int64_t tasks_of(const Product& product, int threads) {
  if (product.N == 0) return 0;
  const int64_t chunk = chunk_of(product, threads);
  return (product.map->weight.Z + chunk - 1) / chunk;
}

}  // namespace

Products::Products(Isa isa, Activations activations, Pool* pool)
    : linear_(linear_for(isa)),
      activations_(activations),
      pool_(pool),
      scratch_(static_cast<size_t>(pool->threads())) {}

void Products::multiply(std::initializer_list<Product> products, int64_t N) {
  asked_.assign(products);
  for (Product& product : asked_) product.N = N;
  multiply(asked_);
}

void Products::multiply(const std::vector<Product>& products) {
  const int threads = pool_->threads();
  int64_t total = 0, widest = 0;
  for (const Product& product : products) {
    total += tasks_of(product, threads);
    widest = std::max(widest, product.map->weight.D);
  }
  for (auto& scratch : scratch_)
    if (static_cast<int64_t>(scratch.size()) < linear_tile * widest)
      scratch.resize(static_cast<size_t>(linear_tile * widest));
  pool_->run(total, [&](int64_t task, int thread) {
    auto product = products.begin();
    while (task >= tasks_of(*product, threads)) task -= tasks_of(*product++, threads);
    const Matrix& w = product->map->weight;
    const int64_t chunk = chunk_of(*product, threads);
    linear_.product(w, product->map->bias, product->x, product->N, product->y, w.Z, product->add,
                    task * chunk, std::min(w.Z, (task + 1) * chunk),
                    scratch_[static_cast<size_t>(thread)].data());
  });
}

}  // namespace sparing
