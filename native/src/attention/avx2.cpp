#include "attention.h"

#include "../lanes/avx2.h"

#include "../lanes/exponential.h"

namespace sparing {
namespace {

// Eight words of 32 bits, and what body.h asks of them.
using I = __m256i;
inline I words(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
template <int n>
inline I left(I x) {
  return _mm256_slli_epi32(x, n);
}
template <int n>
inline I right(I x) {  // keeps the sign
  return _mm256_srai_epi32(x, n);
}
inline I high_half(I x) { return _mm256_and_si256(x, _mm256_set1_epi32(-65536)); }
inline F whole(I x) { return _mm256_cvtepi32_ps(x); }
inline F bits(I x) { return _mm256_castsi256_ps(x); }

// Eight int4 codes, the first lowest.
inline F from_nibbles(const char* p) {
  int word;
  __builtin_memcpy(&word, p, sizeof word);
  const I shifted = _mm256_sllv_epi32(_mm256_set1_epi32(word),
                                      _mm256_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0));
  return whole(right<28>(shifted));
}

// x in the lanes begin .. end, `other` in the rest.
inline F between(F x, int64_t begin, int64_t end, F other) {
  const I inside = _mm256_andnot_si256(first(begin), first(end));
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(inside));
}

// Vectors of tokens that ROWS rows take at once, and of columns: the sums fill the registers.
template <int ROWS>
constexpr int token_vectors = ROWS == 1 ? 8 : ROWS == 2 ? 4 : ROWS <= 4 ? 2 : 1;
template <int ROWS>
constexpr int column_vectors = ROWS == 1 ? 8 : ROWS == 2 ? 4 : ROWS <= 4 ? 2 : 1;

}  // namespace
}  // namespace sparing

#include "body.h"

namespace sparing {

extern const Attention attention_avx2;
const Attention attention_avx2 = {attend, part, merge};

}  // namespace sparing
