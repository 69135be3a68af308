// A small pool of threads: short spin, then sleep on a futex; the caller works too.
//
// Tasks are handed out one by one, so their order and the thread that runs one are not fixed: a
// task may depend on nothing but its index. A worker that is late is not waited for.
// Where the pool has a thread for every processor of the machine, each worker keeps to one of its
// own; the caller, whose thread is not the pool's, stays free.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace sparing {

// Denormals are flushed to zero on this thread while the object lives.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  uint64_t before_;
};

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(index, thread) once for every index below count; thread < threads().
  template <class Task>
  void run(int64_t count, const Task& task) {
    if (workers_.empty() || count < 2) {
      for (int64_t i = 0; i < count; ++i) task(i, 0);
      return;
    }
    const auto call = [](const void* self, int64_t index, int thread) {
      (*static_cast<const Task*>(self))(index, thread);
    };
    share(count, call, &task);
  }

 private:
  using Call = void (*)(const void* self, int64_t index, int thread);

  void share(int64_t count, Call call, const void* self);
  void drain(int thread);
  void work(int thread);
  bool wait(uint32_t seen);

  Call call_ = nullptr;
  const void* self_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> open_{false};        // tasks may be taken
  std::atomic<int> active_{0};           // workers that may be looking at the job
  std::atomic<uint32_t> generation_{0};  // jobs so far; what the sleepers wait on
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace sparing
