// Refusals of arguments that are outside their bounds, worded alike wherever a batch is checked.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace sparing {

// Throws std::invalid_argument "name: expected ..., got ..." unless `ok`.
inline void require(bool ok, const char* name, const std::string& expected, int64_t got) {
  if (!ok)
    throw std::invalid_argument(std::string(name) + ": expected " + expected + ", got " +
                                std::to_string(got));
}

inline std::string below(int64_t limit) { return "0 <= value < " + std::to_string(limit); }

}  // namespace sparing
