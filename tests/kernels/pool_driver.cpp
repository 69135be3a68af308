// Every task of every job runs once, for many jobs in a row with and without a pause in which the
// workers fall asleep. Exits with 1 where one did not; built with the thread sanitizer.
#include <cstdio>
#include <vector>

#include <unistd.h>

#include "pool.h"

int main() {
  long wrong = 0;
  for (const int threads : {1, 2, 3, 8}) {
    sparing::Pool pool(threads);
    if (pool.threads() != threads) ++wrong;
    std::vector<int> runs(97);
    for (int job = 0; job < 1500; ++job) {
      const int count = job % 97;
      for (int& each : runs) each = 0;
      pool.run(count, [&](int64_t i, int thread) {
        if (thread >= 0 && thread < threads) ++runs[static_cast<size_t>(i)];
      });
      for (int i = 0; i < 97; ++i) wrong += runs[static_cast<size_t>(i)] != (i < count ? 1 : 0);
      if (job % 50 == 0) usleep(300);
    }
  }
  if (wrong) std::printf("%ld tasks ran not once\n", wrong);
  return wrong ? 1 : 0;
}
