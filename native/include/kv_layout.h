// Where the keys and values of one layer stand in memory, as float32, bfloat16, int8 or int4 codes
// with one float32 scale for each token and head.
//
// Layout     [blocks][G heads][head_bytes]; a head of a block is its codes and, for int8 and int4,
//            block_tokens scales after them. K is padded with zeros to `width`, a multiple of 16.
//            Values   [block_tokens][width]; of two int4 codes in a byte, the even column is low.
//            Keys     panels of `panel` tokens, [width / E][panel] words of 32 bits that hold E
//                     neighbours of one token, the first lowest: lanes are tokens, so that scores
//                     need no sums across lanes, and a word is what a dot instruction takes.
// Numerics   bfloat16 is rounded to nearest even. int8: scale = largest |x| / 127. int4: scale =
//            -x / 8 of the x with the largest |x|, codes -8 to 7. A row with a NaN or an infinity
//            becomes a row of NaN. Zeroed memory reads as zeros in every kind.
// Alignment  Blocks stand at multiples of 64 bytes where the base does and 16 divides block_tokens.
#pragma once

#include <cstdint>

namespace sparing {

enum class KvKind : int { fp32 = 0, bf16 = 1, int8 = 2, int4 = 3 };

struct KvLayout {
  KvKind kind = KvKind::fp32;
  int64_t G = 0, K = 0, block_tokens = 0;  // key-value heads, head width, positions of a block

  int64_t width() const { return (K + 15) / 16 * 16; }
  int64_t bits() const { return 32 >> static_cast<int>(kind); }
  int64_t word() const { return int64_t{1} << static_cast<int>(kind); }  // E, numbers in 32 bits
  bool scaled() const { return kind == KvKind::int8 || kind == KvKind::int4; }
  int64_t panel() const { return block_tokens % 16 == 0 ? 16 : block_tokens; }
  int64_t row_bytes() const { return width() * bits() / 8; }
  int64_t code_bytes() const { return block_tokens * row_bytes(); }  // where the scales begin
  int64_t head_bytes() const { return code_bytes() + (scaled() ? 4 * block_tokens : 0); }
  int64_t block_bytes() const { return G * head_bytes(); }  // of keys, or of values
};

// Bytes of one token's keys and values in one layer, padding and scales included.
static inline int64_t kv_token_bytes(const KvLayout& layout) {
  return 2 * layout.G * (layout.row_bytes() + (layout.scaled() ? 4 : 0));
}

// The G heads of one token into place `slot` of block `block`; rows is [G, K].
void kv_write_keys(const KvLayout& layout, char* base, int64_t block, int64_t slot,
                   const float* rows);
void kv_write_values(const KvLayout& layout, char* base, int64_t block, int64_t slot,
                     const float* rows);

// Column k of one head of one token as a number without its scale, and the scale (1 without one).
float kv_key_code(const KvLayout& layout, const char* base, int64_t block, int64_t head,
                  int64_t slot, int64_t k);
float kv_value_code(const KvLayout& layout, const char* base, int64_t block, int64_t head,
                    int64_t slot, int64_t k);
float kv_scale(const KvLayout& layout, const char* base, int64_t block, int64_t head,
               int64_t slot);

// One head of one token as K floats, code * scale: what attention computes with.
void kv_read_key(const KvLayout& layout, const char* base, int64_t block, int64_t head,
                 int64_t slot, float* row);
void kv_read_value(const KvLayout& layout, const char* base, int64_t block, int64_t head,
                   int64_t slot, float* row);

}  // namespace sparing
