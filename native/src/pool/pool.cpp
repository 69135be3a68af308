#include "pool.h"

#include <chrono>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#if defined(__linux__)
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sparing {
namespace {

// The gap between two phases of a step is less, and so mostly is that between two steps; a wake
// costs about as much.
constexpr std::chrono::microseconds patience{100};
constexpr int spins = 64;  // between two looks at the clock

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

#if defined(__linux__)
static_assert(sizeof(std::atomic<uint32_t>) == 4, "a futex is a plain word");

// Sleeps while the word is `seen`, or wakes at once where it is not; may wake without a reason.
void sleep_on(std::atomic<uint32_t>& word, uint32_t seen) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, seen, nullptr,
          nullptr, 0);
}

void wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, 1 << 30, nullptr,
          nullptr, 0);
}

// Keeps the calling worker to a processor of its own, if there is one for every thread.
void settle(int thread, int threads) {
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) != threads ||
      sysconf(_SC_NPROCESSORS_ONLN) != threads)
    return;
  for (int cpu = 0, number = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all) || number++ != thread) continue;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cpu, &own);
    pthread_setaffinity_np(pthread_self(), sizeof own, &own);
  }
}
#else
void sleep_on(std::atomic<uint32_t>& word, uint32_t seen) {
  if (word == seen) std::this_thread::sleep_for(patience);
}
void wake_all(std::atomic<uint32_t>&) {}
void settle(int, int) {}
#endif

uint64_t float_control() {
#if defined(__x86_64__)
  return _mm_getcsr();
#elif defined(__aarch64__)
  uint64_t bits;
  asm volatile("mrs %0, fpcr" : "=r"(bits));
  return bits;
#else
  return 0;
#endif
}

void set_float_control(uint64_t bits) {
#if defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(bits));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(bits));
#else
  (void)bits;
#endif
}

#if defined(__aarch64__)
constexpr uint64_t flush_bits = uint64_t{1} << 24;  // FZ
#else
constexpr uint64_t flush_bits = 0x8040;  // flush to zero, denormals are zero
#endif

}  // namespace

FlushDenormals::FlushDenormals() : before_(float_control()) {
  set_float_control(before_ | flush_bits);
}

FlushDenormals::~FlushDenormals() { set_float_control(before_); }

Pool::Pool(int threads) {
  for (int i = 1; i < threads; ++i)
    workers_.emplace_back([this, i, threads] {
      settle(i, threads);
      work(i);
    });
}

Pool::~Pool() {
  stop_ = true;
  ++generation_;
  wake_all(generation_);
  for (std::thread& worker : workers_) worker.join();
}

void Pool::share(int64_t count, Call call, const void* self) {
  call_ = call;
  self_ = self;
  count_ = count;
  next_ = 0;
  open_ = true;  // publishes the job: a worker reads it only after it has seen `open_`
  ++generation_;
  // A worker counts itself before it sleeps on the old generation: it is seen here, or sees the new.
  if (sleepers_ > 0) wake_all(generation_);
  drain(0);
  open_ = false;
  for (int i = 0; active_ > 0; ++i) {
    if (i < 64 * spins)
      pause_briefly();
    else
      std::this_thread::yield();
  }
}

void Pool::drain(int thread) {
  for (int64_t i = next_++; i < count_; i = next_++) call_(self_, i, thread);
}

// Waits for a job after `seen`; false when the pool ends.
bool Pool::wait(uint32_t seen) {
  const auto end = std::chrono::steady_clock::now() + patience;
  do {
    for (int i = 0; i < spins; ++i) {
      if (generation_ != seen) return !stop_;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < end);
  ++sleepers_;
  while (generation_ == seen) sleep_on(generation_, seen);
  --sleepers_;
  return !stop_;
}

void Pool::work(int thread) {
  const FlushDenormals flush;
  uint32_t seen = 0;
  while (wait(seen)) {
    seen = generation_;
    ++active_;  // before `open_` is read, as the caller clears `open_` before it reads `active_`
    if (open_) drain(thread);
    --active_;
  }
}

}  // namespace sparing
