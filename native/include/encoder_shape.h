// What encoders and encoder-decoders compute, as traits; src/sparing/models/encoder_config.py says
// what each of them means.
#pragma once

#include <cstdint>

#include "decoder_shape.h"

namespace sparing {

// Blocks one above the other: attention, then (in the decoder of a pair) attention to the encoder,
// then the feed-forward map.
struct StackShape {
  int64_t width = 0, layers = 0, heads = 0, head_width = 0, hidden = 0;
  NormKind norm = NormKind::layer;
  bool post = false;  // x = norm(x + map(x)); otherwise x = x + map(norm(x))
  float norm_eps = 0.0f;
  bool qkv_bias = false, output_bias = false, mlp_bias = false, gated = false;
  Activation activation = Activation::gelu;
  float query_scale = 1.0f;  // multiplies the products of queries and keys
  bool causal = false;
  int64_t span = 0;  // distances beyond share the bias of this one; 0 for no relative bias
  bool final_norm = false;
  bool cross = false;  // whether blocks attend to an encoder's rows
};

struct EncoderShape {
  StackShape stack;
  int64_t vocab = 0;            // 0 for images
  int64_t patch = 0;            // numbers in a patch of an image; 0 for text
  int64_t positions = 0;        // rows of the learned table; 0 for none
  int64_t position_offset = 0;  // row of the first position
  int64_t types = 0;            // rows of the segment table, of which row 0 is added; 0 for none
  bool patch_bias = false;
  bool first_row = false;   // a learned row before the patches
  bool embed_norm = false;  // a norm between embedding and blocks
  bool probe = false;       // rows are pooled by attention from a learned query
  bool head_norm = false, head_bias = false, head_tanh = false;
  int64_t head_width = 0;  // features that pooled rows are mapped to; 0 for no map
};

struct Seq2SeqShape {
  StackShape encoder, decoder;
  int64_t vocab = 0, context = 0;
  bool tied = false;
  float logit_scale = 1.0f;  // multiplies the rows that the head maps
};

}  // namespace sparing
