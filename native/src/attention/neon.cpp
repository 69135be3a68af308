#include "attention.h"

#include "../lanes/neon.h"

#include "../lanes/dots.h"
#include "../lanes/exponential.h"

#include "body.h"

namespace sparing {

void attention_neon(const AttentionTask& task);
void attention_neon(const AttentionTask& task) { attend(task); }

}  // namespace sparing
