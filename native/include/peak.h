// Loops that reach what this processor can do and compute nothing: the limits that real work is
// measured against.
#pragma once

#include <cstdint>

#include "isa.h"

namespace sparing {

// A loop of one kind.  `run` does `rounds` rounds and returns a value that depends on all of them,
// so that none can be left out; one round counts `operations`, two per multiply-add.
struct PeakLoop {
  uint64_t (*run)(int64_t rounds);
  int64_t operations;
};

// The loops of one instruction set; `run` is null where it has no instruction of that kind.
struct Peaks {
  PeakLoop fp32;  // fused multiply-adds
  PeakLoop bf16;  // dot products of bf16 pairs
  PeakLoop int8;  // u8 x s8, exact sums of 32 bits
  PeakLoop int4;  // the same where one operand is below 16, so that 16 bits hold eight products
  // Reads `bytes` (a multiple of 512, 64-byte aligned) once, front to back.
  uint64_t (*read)(const void* data, int64_t bytes);
};

// `isa` must be one that can run here.
const Peaks& peaks_for(Isa isa);

extern const Peaks peaks_reference;
#ifdef SPARING_X86
extern const Peaks peaks_avx2;
extern const Peaks peaks_avx512;
#endif

}  // namespace sparing
