// What a decoder computes, as traits; src/sparing/models/config.py says what each of them means.
#pragma once

#include <cstdint>
#include <vector>

#include "activation.h"

namespace sparing {

enum class NormKind : int { rms = 0, layer = 1 };
enum class NormPlace : int { pre = 0, post = 1, both = 2 };
enum class QkNorm : int { none = 0, head = 1, full = 2 };

// Angles per position of the leading 2 Y features of a head.
struct Rotation {
  std::vector<float> frequencies;       // [Y]
  std::vector<float> long_frequencies;  // [Y] for sequences longer than `original`, or empty
  int64_t original = 0;
  float scale = 1.0f;  // multiplies cos and sin
};

struct LayerShape {
  int64_t window = 0;     // positions seen, the present one among them; 0 for all
  int rotation = -1;      // which of DecoderShape::rotations; -1 for none
  bool experts = false;   // whether the feed-forward map is made of experts
};

struct DecoderShape {
  int64_t vocab = 0, width = 0, layers = 0, heads = 0, kv_heads = 0, head_width = 0, hidden = 0;
  int64_t context = 0;  // positions are below this
  NormKind norm = NormKind::rms;
  NormPlace norm_place = NormPlace::pre;
  float norm_eps = 0.0f;
  bool parallel = false;           // attention and mlp both read the block's input
  bool learned_positions = false;  // a table added to the embedding
  std::vector<Rotation> rotations;
  QkNorm qk_norm = QkNorm::none;
  bool qkv_bias = false, output_bias = false, mlp_bias = false, tied = false;
  bool gated = true;
  Activation activation = Activation::silu;
  float attention_softcap = 0.0f, logit_softcap = 0.0f;  // 0 for none
  float embedding_scale = 1.0f, residual_scale = 1.0f, logit_scale = 1.0f;
  float query_scale = 1.0f;  // multiplies the products of queries and keys
  int64_t experts = 0, experts_per_token = 0, expert_hidden = 0, shared_hidden = 0;
  bool normalised_experts = false;  // chosen probabilities are scaled to sum to 1
  std::vector<LayerShape> layer;    // [layers]
};

}  // namespace sparing
