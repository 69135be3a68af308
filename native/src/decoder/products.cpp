// Products of rows with weights, shared out among the threads by output rows.
#include <algorithm>

#include "decoder.h"

namespace sparing {
namespace {

// Output rows per task: some four tasks a thread, none so small that handing it out shows.
int64_t chunk_of(int64_t Z, int64_t D, int64_t N, int threads) {
  const int64_t even = Z / (4 * threads);
  const int64_t least = 16384 / (D * std::min<int64_t>(N, 64)) + 1;
  return (std::max(even, least) + 7) / 8 * 8;
}

}  // namespace

// Several products over all rows, as one set of tasks.
void Decoder::multiply(std::initializer_list<Product> products) {
  int64_t total = 0;
  const auto tasks_of = [&](const Matrix& w) {
    const int64_t chunk = chunk_of(w.Z, w.D, batch_.N, threads());
    return (w.Z + chunk - 1) / chunk;
  };
  for (const Product& product : products) total += tasks_of(product.map->weight);
  pool_.run(total, [&](int64_t task, int thread) {
    const Product* product = products.begin();
    while (task >= tasks_of(product->map->weight)) task -= tasks_of(product++->map->weight);
    const Matrix& w = product->map->weight;
    const int64_t chunk = chunk_of(w.Z, w.D, batch_.N, threads());
    linear_.product(w, product->map->bias, product->x, batch_.N, product->y, w.Z, product->add,
                    task * chunk, std::min(w.Z, (task + 1) * chunk), scratch_[thread].data());
  });
}

}  // namespace sparing
