// The machine's limits, for src/sparing/kernels/peaks.py: one loop on the calling thread.
#include "peak.h"

#include "arrays.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <stdexcept>

namespace nb = nanobind;

namespace sparing {

namespace {

const PeakLoop& loop_named(const Peaks& peaks, const std::string& kind) {
  if (kind == "fp32") return peaks.fp32;
  if (kind == "bf16") return peaks.bf16;
  if (kind == "int8") return peaks.int8;
  if (kind == "int4") return peaks.int4;
  throw std::invalid_argument(kind + ": expected fp32, bf16, int8 or int4");
}

// Operations of `rounds` rounds, after doing them; 0 where the instruction set has no such loop.
int64_t peak(const std::string& isa, const std::string& kind, int64_t rounds) {
  const PeakLoop& loop = loop_named(peaks_for(isa_named(isa)), kind);
  if (rounds < 0 || rounds > (int64_t{1} << 40))
    throw std::invalid_argument("rounds: expected 0 to 2^40");
  if (loop.run == nullptr) return 0;
  const nb::gil_scoped_release release;
  volatile uint64_t kept = loop.run(rounds);
  (void)kept;
  return rounds * loop.operations;
}

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Reads the whole array once; returns the bitwise or of its words, folded.
uint64_t read(const std::string& isa, const Bytes& data) {
  const Peaks& peaks = peaks_for(isa_named(isa));
  const auto bytes = static_cast<int64_t>(data.shape(0));
  if (bytes % 512 != 0 || reinterpret_cast<uintptr_t>(data.data()) % 64 != 0)
    throw std::invalid_argument("data: expected a multiple of 512 bytes, aligned to 64");
  const nb::gil_scoped_release release;
  return peaks.read(data.data(), bytes);
}

}  // namespace

void bind_peak(nb::module_& module) {
  module.def("peak", &peak, nb::arg("isa"), nb::arg("kind"), nb::arg("rounds"));
  module.def("read", &read, nb::arg("isa"), nb::arg("data").noconvert());
}

}  // namespace sparing
