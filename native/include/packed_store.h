// Memory for packed weights: large pieces on huge pages where the system has them, given back
// together. Pages that are never written take no memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparing {

class PackedStore {
 public:
  PackedStore() = default;
  ~PackedStore();
  PackedStore(const PackedStore&) = delete;
  PackedStore& operator=(const PackedStore&) = delete;

  // Zeroed memory at a multiple of 64 bytes. Throws std::bad_alloc.
  uint8_t* take(int64_t bytes);

 private:
  struct Piece {
    void* at;
    std::size_t bytes;
  };

  std::vector<Piece> pieces_;
  uint8_t* next_ = nullptr;
  int64_t left_ = 0;
};

}  // namespace sparing
