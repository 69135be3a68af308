// Instruction sets that the operations come in, and whether this processor can run one.
#pragma once

namespace sparing {

enum class Isa : int { reference = 0, avx2 = 1, avx512 = 2, neon = 3, dotprod = 4, i8mm = 5 };

// True when the variant was built and the processor has its instructions.
bool can_run(Isa isa);

// The best variant that can run here.
Isa best_isa();

}  // namespace sparing
