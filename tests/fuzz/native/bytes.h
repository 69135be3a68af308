// An input of the fuzzer as a run of choices; when it is used up, zeros follow.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}

  uint8_t byte() { return at_ < end_ ? *at_++ : 0; }
  int64_t below(int64_t limit) { return (byte() | byte() << 8) % limit; }
  // An element of `values`.
  template <class T, size_t COUNT>
  T pick(const T (&values)[COUNT]) {
    return values[byte() % COUNT];
  }
  void fill(void* to, size_t size) {
    const size_t left = static_cast<size_t>(end_ - at_), taken = left < size ? left : size;
    if (taken) std::memcpy(to, at_, taken);
    if (size > taken) std::memset(static_cast<uint8_t*>(to) + taken, 0, size - taken);
    at_ += taken;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

// Exactly `count` elements on the heap, so that a step beyond them is seen; filled from the input.
template <class T>
class Array {
 public:
  Array(Bytes* from, int64_t count)
      : data_(new T[static_cast<size_t>(count)]), count_(count) {
    from->fill(data_.get(), static_cast<size_t>(count) * sizeof(T));
  }
  explicit Array(int64_t count) : data_(new T[static_cast<size_t>(count)]()), count_(count) {}

  T* get() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_[static_cast<size_t>(i)]; }
  int64_t count() const { return count_; }

 private:
  std::unique_ptr<T[]> data_;
  int64_t count_;
};

inline void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}
