// What a batch of an encoder-decoder may ask for; every index that is followed is checked here.
#include <algorithm>

#include "refuse.h"
#include "seq2seq.h"

namespace sparing {

void Seq2Seq::check(const Seq2SeqBatch& batch) const {
  require(blocks_ > 0, "cache", "one (make_cache was not called)", 0);
  require(batch.N > 0, "ids_N", "at least one row", batch.N);
  require(batch.starts[0] == 0, "starts_R1", "a first value of 0", batch.starts[0]);
  for (int64_t r = 0; r < batch.R; ++r)
    require(batch.starts[r] < batch.starts[r + 1], "starts_R1", "rising values",
            batch.starts[r + 1]);
  require(batch.starts[batch.R] == batch.N, "starts_R1", "the number of rows as last value",
          batch.starts[batch.R]);
  const int64_t T = layout_.block_tokens;
  std::vector<int64_t> written;
  written.reserve(static_cast<size_t>(batch.N));
  std::vector<char> is_target(static_cast<size_t>(batch.N));
  for (int64_t r = 0; r < batch.R; ++r) {
    const int64_t source = batch.sources[r], last = batch.positions[batch.starts[r + 1] - 1];
    require(source > 0 && source < shape_.context, "sources_R",
            "0 < value < " + std::to_string(shape_.context), source);
    require(last >= 0 && last < shape_.context, "positions_N", below(shape_.context), last);
    const int32_t* table = batch.blocks + r * batch.P;
    require(last / T < batch.P, "blocks_RP", "a column for each block of positions", batch.P);
    for (int64_t i = 0; i <= last / T; ++i)
      require(table[i] >= 0 && table[i] < blocks_, "blocks_RP", below(blocks_), table[i]);
    for (int64_t n = batch.starts[r]; n < batch.starts[r + 1]; ++n) {
      const int64_t id = batch.ids[n], position = batch.positions[n];
      require(id >= 0 && id < shape_.vocab, "ids_N", below(shape_.vocab), id);
      const bool first = n == batch.starts[r];
      require(position >= 0 && position <= last &&
                  (first || position == batch.positions[n - 1] + 1),
              "positions_N", "consecutive positions within a sequence", position);
      is_target[static_cast<size_t>(n)] = position >= source;
      written.push_back(table[position / T] * T + position % T);
    }
  }
  std::sort(written.begin(), written.end());
  const auto twice = std::adjacent_find(written.begin(), written.end());
  require(twice == written.end(), "blocks_RP", "no position of a block written twice",
          twice == written.end() ? 0 : *twice);
  for (int64_t i = 0; i < batch.L; ++i) {
    const int64_t row = batch.logit_rows[i];
    require(row >= 0 && row < batch.N, "logit_rows_L", below(batch.N), row);
    require(is_target[static_cast<size_t>(row)], "logit_rows_L", "rows of targets", row);
  }
}

}  // namespace sparing
