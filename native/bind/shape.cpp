// Traits by name, each checked; src/sparing/engine/native_traits.py makes the mapping.
#include "shape.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <initializer_list>
#include <stdexcept>
#include <string>

namespace nb = nanobind;

namespace sparing {
namespace {

void require(bool ok, const std::string& message) {
  if (!ok) throw std::invalid_argument(message);
}

int64_t extent(const nb::dict& traits, const char* key, int64_t least) {
  const auto value = nb::cast<int64_t>(traits[key]);
  require(value >= least && value <= (int64_t{1} << 31),
          std::string(key) + ": expected " + std::to_string(least) + " to 2^31");
  return value;
}

// The position of the trait's name among `names`.
template <class Kind>
Kind named(const std::string& value, const char* key, std::initializer_list<const char*> names) {
  int index = 0;
  for (const char* name : names) {
    if (value == name) return static_cast<Kind>(index);
    ++index;
  }
  throw std::invalid_argument(std::string(key) + ": unknown: " + value);
}

template <class Kind>
Kind kind(const nb::dict& traits, const char* key, std::initializer_list<const char*> names) {
  return named<Kind>(nb::cast<std::string>(traits[key]), key, names);
}

void read_sizes(const nb::dict& traits, DecoderShape& shape) {
  shape.vocab = extent(traits, "vocab", 1);
  shape.width = extent(traits, "width", 1);
  shape.layers = extent(traits, "layers", 1);
  shape.heads = extent(traits, "heads", 1);
  shape.kv_heads = extent(traits, "kv_heads", 1);
  shape.head_width = extent(traits, "head_width", 1);
  shape.hidden = extent(traits, "hidden", 1);
  shape.context = extent(traits, "context", 1);
  require(shape.heads % shape.kv_heads == 0, "heads: expected a multiple of kv_heads");
  require(shape.layers <= 4096 && shape.heads <= 65536 && shape.head_width <= 65536,
          "layers, heads, head_width: expected at most 4096, 65536, 65536");
}

void read_kinds(const nb::dict& traits, DecoderShape& shape) {
  shape.norm = kind<NormKind>(traits, "norm", {"rms", "layer"});
  shape.norm_place = kind<NormPlace>(traits, "norm_place", {"pre", "post", "both"});
  shape.qk_norm = kind<QkNorm>(traits, "qk_norm", {"none", "head", "full"});
  shape.activation = activation_named(nb::cast<std::string>(traits["activation"]));
  const auto on = [&](const char* key) { return nb::cast<bool>(traits[key]); };
  shape.parallel = on("parallel");
  shape.learned_positions = on("learned_positions");
  shape.qkv_bias = on("qkv_bias");
  shape.output_bias = on("output_bias");
  shape.mlp_bias = on("mlp_bias");
  shape.tied = on("tied");
  shape.gated = on("gated");
  require(!shape.parallel || shape.norm_place == NormPlace::pre,
          "parallel: expected norm_place pre");
}

void read_scales(const nb::dict& traits, DecoderShape& shape) {
  const auto number = [&](const char* key) { return nb::cast<float>(traits[key]); };
  shape.norm_eps = number("norm_eps");
  shape.attention_softcap = number("attention_softcap");
  shape.logit_softcap = number("logit_softcap");
  shape.embedding_scale = number("embedding_scale");
  shape.residual_scale = number("residual_scale");
  shape.logit_scale = number("logit_scale");
  shape.query_scale = number("query_scale");
}

void read_experts(const nb::dict& traits, DecoderShape& shape) {
  shape.experts = extent(traits, "experts", 0);
  if (shape.experts == 0) return;
  shape.experts_per_token = extent(traits, "experts_per_token", 1);
  shape.expert_hidden = extent(traits, "expert_hidden", 1);
  shape.shared_hidden = extent(traits, "shared_hidden", 0);
  shape.normalised_experts = nb::cast<bool>(traits["normalised_experts"]);
  require(shape.experts <= 4096 && shape.experts_per_token <= shape.experts &&
              shape.experts_per_token <= 256,
          "experts, experts_per_token: expected at most 4096, and 256 of them");
  require(shape.gated && !shape.mlp_bias, "experts: expected gated maps without biases");
}

void read_rotations(const nb::dict& traits, DecoderShape& shape) {
  for (const nb::handle item : nb::cast<nb::list>(traits["rotations"])) {
    const auto fields = nb::cast<nb::dict>(item);
    Rotation rotation;
    rotation.frequencies = nb::cast<std::vector<float>>(fields["frequencies"]);
    rotation.long_frequencies = nb::cast<std::vector<float>>(fields["long_frequencies"]);
    rotation.original = nb::cast<int64_t>(fields["original"]);
    rotation.scale = nb::cast<float>(fields["scale"]);
    const auto Y = static_cast<int64_t>(rotation.frequencies.size());
    require(Y > 0 && 2 * Y <= shape.head_width,
            "rotations: expected 1 to head_width / 2 frequencies");
    require(Y == static_cast<int64_t>(shape.rotations.empty()
                                          ? rotation.frequencies.size()
                                          : shape.rotations[0].frequencies.size()),
            "rotations: expected as many frequencies in each");
    require(rotation.long_frequencies.empty() ||
                static_cast<int64_t>(rotation.long_frequencies.size()) == Y,
            "rotations: expected as many long frequencies as frequencies");
    shape.rotations.push_back(std::move(rotation));
  }
}

void read_layers(const nb::dict& traits, DecoderShape& shape) {
  const auto windows = nb::cast<std::vector<int64_t>>(traits["layer_windows"]);
  const auto rotations = nb::cast<std::vector<int>>(traits["layer_rotations"]);
  const auto experts = nb::cast<std::vector<bool>>(traits["layer_experts"]);
  const auto count = static_cast<size_t>(shape.layers);
  require(windows.size() == count && rotations.size() == count && experts.size() == count,
          "layer_windows, layer_rotations, layer_experts: expected one for each layer");
  for (size_t i = 0; i < count; ++i) {
    require(windows[i] >= 0, "layer_windows: expected 0 or more");
    require(rotations[i] >= -1 && rotations[i] < static_cast<int>(shape.rotations.size()),
            "layer_rotations: expected -1 or one of rotations");
    require(!experts[i] || shape.experts > 0, "layer_experts: expected experts");
    shape.layer.push_back({windows[i], rotations[i], experts[i]});
  }
}

}  // namespace

Activation activation_named(const std::string& name) {
  return named<Activation>(name, "activation", {"silu", "gelu", "gelu_tanh", "relu", "quick_gelu"});
}

DecoderShape shape_of(const nb::dict& traits) {
  DecoderShape shape;
  read_sizes(traits, shape);
  read_kinds(traits, shape);
  read_scales(traits, shape);
  read_experts(traits, shape);
  read_rotations(traits, shape);
  read_layers(traits, shape);
  return shape;
}

}  // namespace sparing
