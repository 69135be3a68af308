// What a batch may ask for; every index that the forward pass follows is checked here.
#include <algorithm>

#include "decoder.h"
#include "refuse.h"

namespace sparing {

void Decoder::check(const Batch& batch) const {
  require(blocks_ > 0, "cache", "one (make_cache was not called)", 0);
  require(batch.N > 0, "ids_N", "at least one row", batch.N);
  require(batch.starts[0] == 0, "starts_R1", "a first value of 0", batch.starts[0]);
  require(batch.starts[batch.R] == batch.N, "starts_R1", "the number of rows as last value",
          batch.starts[batch.R]);
  for (int64_t r = 0; r < batch.R; ++r)
    require(batch.starts[r] < batch.starts[r + 1], "starts_R1", "rising values",
            batch.starts[r + 1]);
  for (int64_t n = 0; n < batch.N; ++n) {
    const int64_t id = batch.ids[n], position = batch.positions[n];
    require(id >= 0 && id < shape_.vocab, "ids_N", below(shape_.vocab), id);
    require(position >= 0 && position < shape_.context, "positions_N", below(shape_.context),
            position);
  }
  for (int64_t i = 0; i < batch.L; ++i)
    require(batch.logit_rows[i] >= 0 && batch.logit_rows[i] < batch.N, "logit_rows_L",
            below(batch.N), batch.logit_rows[i]);
  std::vector<int64_t> written;
  written.reserve(static_cast<size_t>(batch.N));
  for (int64_t r = 0; r < batch.R; ++r) {
    const int64_t last = batch.positions[batch.starts[r + 1] - 1];
    require(last / layout_.block_tokens < batch.P, "blocks_RP", "a column for each block of positions",
            batch.P);
    require(batch.lengths == nullptr || batch.lengths[r] > last, "lengths_R",
            "more than the last position", batch.lengths == nullptr ? 0 : batch.lengths[r]);
    const int32_t* table = batch.blocks + r * batch.P;
    for (int64_t i = 0; i <= last / layout_.block_tokens; ++i)
      require(table[i] >= 0 && table[i] < blocks_, "blocks_RP", below(blocks_), table[i]);
    for (int64_t n = batch.starts[r]; n < batch.starts[r + 1]; ++n) {
      const int64_t position = batch.positions[n];
      const bool first = n == batch.starts[r];
      require(position <= last && (first || position == batch.positions[n - 1] + 1), "positions_N",
              "consecutive positions within a sequence", position);
      written.push_back(table[position / layout_.block_tokens] * layout_.block_tokens +
                        position % layout_.block_tokens);
    }
  }
  std::sort(written.begin(), written.end());
  const auto twice = std::adjacent_find(written.begin(), written.end());
  require(twice == written.end(), "blocks_RP", "no position of a block written twice",
          twice == written.end() ? 0 : *twice);
}

}  // namespace sparing
