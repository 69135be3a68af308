#include <sys/mman.h>

#include <new>

#include "packed_store.h"

namespace sparing {
namespace {

constexpr int64_t huge_page = 2 << 20, piece = 32 << 20;

int64_t rounded(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

PackedStore::~PackedStore() {
  for (const Piece& each : pieces_) munmap(each.at, each.bytes);
}

uint8_t* PackedStore::take(int64_t bytes) {
  bytes = rounded(bytes, 64);
  if (bytes > left_) {
    const int64_t wanted = rounded(bytes < piece ? piece : bytes, huge_page) + huge_page;
    const auto size = static_cast<std::size_t>(wanted);
    pieces_.reserve(pieces_.size() + 1);
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    pieces_.push_back({at, size});
#ifdef MADV_HUGEPAGE
    madvise(at, size, MADV_HUGEPAGE);  // advice: small pages do as well, a little slower
#endif
    const auto address = reinterpret_cast<uintptr_t>(at);
    const auto skip =
        static_cast<int64_t>((huge_page - address % huge_page) % huge_page);
    next_ = static_cast<uint8_t*>(at) + skip;
    left_ = wanted - skip;
  }
  uint8_t* out = next_;
  next_ += bytes;
  left_ -= bytes;
  return out;
}

}  // namespace sparing
