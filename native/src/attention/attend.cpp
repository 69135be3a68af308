#include "attend.h"

#include <algorithm>

namespace sparing {
namespace {

constexpr int64_t query_tile = 32;  // query vectors of one task: what they need fits the L2 cache

void grow(std::vector<float>& v, int64_t count) {
  if (static_cast<int64_t>(v.size()) < count) v.resize(static_cast<size_t>(count));
}

}  // namespace

Attend::Attend(Isa isa, Pool& pool)
    : attention_(attention_for(isa)), pool_(pool), scratch_(static_cast<size_t>(pool.threads())) {}

AttentionTask Attend::task_of(const AttentionRows& rows, const Item& item, int thread) {
  const int64_t K = rows.layout.K, R = rows.H / rows.layout.G;
  const int64_t at = (item.row * rows.H + item.head * R) * K;
  AttentionTask task;
  task.q = rows.q + at, task.out = rows.out + at;
  task.row_stride = rows.H * K;
  task.T = item.T, task.R = R, task.head = item.head;
  task.position = rows.positions[item.row];
  const int64_t last = rows.starts[item.sequence + 1] - 1;
  task.length = rows.lengths ? rows.lengths[item.sequence] : rows.positions[last] + 1;
  task.layout = rows.layout;
  task.keys = rows.keys, task.values = rows.values;
  task.blocks = rows.blocks + item.sequence * rows.P;
  task.rule = rows.rule;
  task.scratch = scratch_[static_cast<size_t>(thread)].data();
  return task;
}

// Tiles of rows of each sequence and head, the last rows first: they see most, so that what is
// left when the threads run out of work is short.
void Attend::plan(const AttentionRows& rows) {
  const int64_t G = rows.layout.G, R = rows.H / G;
  const int64_t tile = std::max<int64_t>(1, query_tile / R);
  items_.clear();
  int64_t work = 0, state = 0;
  for (int64_t r = rows.R - 1; r >= 0; --r)
    for (int64_t n = (rows.starts[r + 1] - rows.starts[r] - 1) / tile * tile; n >= 0; n -= tile)
      for (int64_t g = 0; g < G; ++g) {
        const int64_t row = rows.starts[r] + n;
        Item item{r, row, std::min<int64_t>(tile, rows.starts[r + 1] - row), g, 0, 1, work, state};
        const AttentionTask task = task_of(rows, item, 0);
        const Span span = seen_by_any(task);
        item.first = span.begin / attention_chunk;
        const int64_t end = (span.end + attention_chunk - 1) / attention_chunk;
        item.chunks = std::max<int64_t>(1, end - item.first);
        work += item.chunks;
        state += item.chunks * attention_state(item.T, R, rows.layout.K);
        items_.push_back(item);
      }
  for (auto& scratch : scratch_) grow(scratch, attention_scratch(tile, R, rows.layout.K));
}

void Attend::run(const AttentionRows& rows) {
  plan(rows);
  const auto count = static_cast<int64_t>(items_.size());
  const bool few = pool_.threads() > 1 && count < 4 * pool_.threads();
  if (few && items_.back().work + items_.back().chunks > count) return run_split(rows);
  pool_.run(count, [&](int64_t index, int thread) {
    attention_.attend(task_of(rows, items_[static_cast<size_t>(index)], thread));
  });
}

// Few rows and long sequences: the chunks of one row are shared among threads, then merged.
void Attend::run_split(const AttentionRows& rows) {
  const int64_t R = rows.H / rows.layout.G, K = rows.layout.K;
  const Item& last = items_.back();
  grow(states_, last.state + last.chunks * attention_state(last.T, R, K));
  pool_.run(last.work + last.chunks, [&](int64_t index, int thread) {
    size_t i = items_.size() - 1;
    while (items_[i].work > index) --i;
    const Item& item = items_[i];
    const int64_t chunk = index - item.work;
    float* state = &states_[static_cast<size_t>(item.state)];
    attention_.part(task_of(rows, item, thread), item.first + chunk,
                    state + chunk * attention_state(item.T, R, K));
  });
  pool_.run(static_cast<int64_t>(items_.size()), [&](int64_t index, int thread) {
    const Item& item = items_[static_cast<size_t>(index)];
    attention_.merge(task_of(rows, item, thread), item.chunks,
                     &states_[static_cast<size_t>(item.state)]);
  });
}

}  // namespace sparing
