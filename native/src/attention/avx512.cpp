#include "attention.h"

#include "../lanes/avx512.h"

#include "../lanes/exponential.h"

namespace sparing {
namespace {

// Sixteen words of 32 bits, and what body.h asks of them.
using I = __m512i;
inline I words(const char* p) { return _mm512_loadu_si512(p); }
template <int n>
inline I left(I x) {
  return _mm512_slli_epi32(x, n);
}
template <int n>
inline I right(I x) {  // keeps the sign
  return _mm512_srai_epi32(x, n);
}
inline I high_half(I x) { return _mm512_and_si512(x, _mm512_set1_epi32(-65536)); }
inline F whole(I x) { return _mm512_cvtepi32_ps(x); }
inline F bits(I x) { return _mm512_castsi512_ps(x); }

// Sixteen int4 codes, the first lowest.
inline F from_nibbles(const char* p) {
  int word[2];
  __builtin_memcpy(word, p, sizeof word);
  const I both = _mm512_inserti64x4(_mm512_set1_epi32(word[0]), _mm256_set1_epi32(word[1]), 1);
  const I shift =
      _mm512_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0);
  return whole(right<28>(_mm512_sllv_epi32(both, shift)));
}

// x in the lanes begin .. end, `other` in the rest.
inline F between(F x, int64_t begin, int64_t end, F other) {
  const auto below = [](int64_t count) {
    return count >= 16 ? 0xffffu : count > 0 ? (1u << count) - 1u : 0u;
  };
  return _mm512_mask_mov_ps(other, static_cast<__mmask16>(below(end) & ~below(begin)), x);
}

// Vectors of tokens that ROWS rows take at once, and of columns: the sums fill the registers.
template <int ROWS>
constexpr int token_vectors = ROWS <= 4 ? 4 : 2;
template <int ROWS>
constexpr int column_vectors = ROWS <= 4 ? 4 : 2;

}  // namespace
}  // namespace sparing

#include "body.h"

namespace sparing {

extern const Attention attention_avx512;
const Attention attention_avx512 = {attend, part, merge};

}  // namespace sparing
