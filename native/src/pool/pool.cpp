#include "pool.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace sparing {
namespace {

constexpr int spins = 4000;  // some 40 to 100 microseconds; the gap between two phases is less

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

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
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
  {
    const std::lock_guard<std::mutex> hold(mutex_);
    stop_ = true;
    ++generation_;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::share(int64_t count, Call call, const void* self) {
  call_ = call;
  self_ = self;
  count_ = count;
  next_ = 0;
  open_ = true;  // publishes the job: a worker reads it only after it has seen `open_`
  ++generation_;
  if (sleepers_ > 0) {
    const std::lock_guard<std::mutex> hold(mutex_);
    wake_.notify_all();
  }
  drain(0);
  open_ = false;
  for (int i = 0; active_ > 0; ++i) {
    if (i < spins)
      pause_briefly();
    else
      std::this_thread::yield();
  }
}

void Pool::drain(int thread) {
  for (int64_t i = next_++; i < count_; i = next_++) call_(self_, i, thread);
}

// Waits for a job after `seen`; false when the pool ends.
bool Pool::wait(uint64_t seen) {
  for (int i = 0; i < spins; ++i) {
    if (generation_ != seen) return !stop_;
    pause_briefly();
  }
  std::unique_lock<std::mutex> hold(mutex_);
  ++sleepers_;
  wake_.wait(hold, [&] { return generation_ != seen; });
  --sleepers_;
  return !stop_;
}

void Pool::work(int thread) {
  const FlushDenormals flush;
  uint64_t seen = 0;
  while (wait(seen)) {
    seen = generation_;
    ++active_;  // before `open_` is read, as the caller clears `open_` before it reads `active_`
    if (open_) drain(thread);
    --active_;
  }
}

}  // namespace sparing
