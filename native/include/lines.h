// Zeroed memory that begins with a whole cache line; its pages are taken as they are first written.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace sparing {

class Lines {
 public:
  // What was there is lost. Throws std::bad_alloc.
  void take(int64_t bytes) {
    constexpr uintptr_t line = 64;
    memory_.reset();
    base_ = nullptr, bytes_ = 0;
    memory_.reset(static_cast<char*>(std::calloc(static_cast<size_t>(bytes) + line, 1)));
    if (!memory_) throw std::bad_alloc();
    base_ = memory_.get() + (line - reinterpret_cast<uintptr_t>(memory_.get()) % line) % line;
    bytes_ = bytes;
  }
  char* data() const { return base_; }
  int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<char, Free> memory_;
  char* base_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace sparing
