#include "attention.h"

#include "../lanes/avx512.h"

#include "../lanes/dots.h"
#include "../lanes/exponential.h"

#include "body.h"

namespace sparing {

void attention_avx512(const AttentionTask& task);
void attention_avx512(const AttentionTask& task) { attend(task); }

}  // namespace sparing
