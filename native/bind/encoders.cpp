#include "encoders.h"

#include <nanobind/stl/string.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <vector>

#include "arrays.h"
#include "encoder.h"
#include "seq2seq.h"
#include "shape.h"

namespace nb = nanobind;

namespace sparing {
namespace {

using Text = std::string;

int64_t count(const nb::dict& traits, const char* key, int64_t least) {
  const auto value = nb::cast<int64_t>(traits[key]);
  require(value >= least && value <= (int64_t{1} << 24),
          Text(key) + ": expected " + std::to_string(least) + " to 2^24");
  return value;
}

bool flag(const nb::dict& traits, const char* key) { return nb::cast<bool>(traits[key]); }

StackShape stack_of(const nb::dict& traits) {
  StackShape shape;
  shape.width = count(traits, "width", 1), shape.layers = count(traits, "layers", 1);
  shape.heads = count(traits, "heads", 1), shape.head_width = count(traits, "head_width", 1);
  shape.hidden = count(traits, "hidden", 1), shape.span = count(traits, "span", 0);
  require(shape.layers <= 4096 && shape.heads <= 65536 && shape.head_width <= 65536 &&
              shape.span <= 65536,
          "layers, heads, head_width, span: expected at most 4096, 65536, 65536, 65536");
  shape.norm = flag(traits, "rms") ? NormKind::rms : NormKind::layer;
  shape.post = flag(traits, "post");
  shape.norm_eps = nb::cast<float>(traits["norm_eps"]);
  shape.qkv_bias = flag(traits, "qkv_bias"), shape.output_bias = flag(traits, "output_bias");
  shape.mlp_bias = flag(traits, "mlp_bias"), shape.gated = flag(traits, "gated");
  shape.activation = activation_named(nb::cast<Text>(traits["activation"]));
  shape.query_scale = nb::cast<float>(traits["query_scale"]);
  shape.causal = flag(traits, "causal"), shape.final_norm = flag(traits, "final_norm");
  return shape;
}

EncoderShape encoder_of(const nb::dict& traits) {
  EncoderShape shape;
  shape.stack = stack_of(nb::cast<nb::dict>(traits["stack"]));
  shape.vocab = count(traits, "vocab", 0), shape.patch = count(traits, "patch", 0);
  shape.positions = count(traits, "positions", 1);
  shape.position_offset = count(traits, "position_offset", 0);
  shape.types = count(traits, "types", 0);
  shape.head_width = count(traits, "head_width", 0);
  shape.patch_bias = flag(traits, "patch_bias"), shape.first_row = flag(traits, "first_row");
  shape.embed_norm = flag(traits, "embed_norm"), shape.probe = flag(traits, "probe");
  shape.head_norm = flag(traits, "head_norm"), shape.head_bias = flag(traits, "head_bias");
  shape.head_tanh = flag(traits, "head_tanh");
  require((shape.vocab > 0) != (shape.patch > 0), "vocab: expected a model of texts or of images");
  require(shape.positions > shape.position_offset + (shape.first_row ? 1 : 0),
          "positions: expected one for a token or patch");
  const StackShape& stack = shape.stack;
  require(!shape.probe || (stack.heads * stack.head_width == stack.width && !stack.gated),
          "probe: expected heads that fill the width, and no gate");
  return shape;
}

Seq2SeqShape seq2seq_of(const nb::dict& traits) {
  Seq2SeqShape shape;
  shape.encoder = stack_of(nb::cast<nb::dict>(traits["encoder"]));
  shape.decoder = stack_of(nb::cast<nb::dict>(traits["decoder"]));
  shape.decoder.cross = true;
  shape.vocab = count(traits, "vocab", 1), shape.context = count(traits, "context", 2);
  shape.tied = flag(traits, "tied");
  shape.logit_scale = nb::cast<float>(traits["logit_scale"]);
  require(shape.encoder.width == shape.decoder.width, "width: expected one for both");
  return shape;
}

int checked(int threads) {
  require(threads >= 1 && threads <= 1024, "threads: expected 1 to 1024");
  return threads;
}

// What both kinds of model share: weights with the arrays that they point to kept alive, and one
// call at a time.
template <class Core>
class Held {
 public:
  template <class Shape>
  Held(Shape shape, const Text& isa, int threads, const Text& activations)
      : core_(shape, isa_named(isa), activations_named(activations), checked(threads)),
        owner_(getpid()) {}

  void set_weight(const Text& name, const Text& kind, nb::object data, nb::object scale,
                  nb::object offset) {
    const auto array = nb::cast<Any>(data);
    if (array.ndim() == 1 && kind != "packed") {
      const auto vector = nb::cast<In<float, 1>>(data, false);
      require(kind == "fp32", name + ": expected fp32 for a vector");
      core_.slots().set_vector(name, vector.data(), static_cast<int64_t>(vector.shape(0)));
    } else if (!core_.slots().set_matrix(name, matrix_of(name, kind, array, scale, offset))) {
      return;
    }
    for (nb::object* part : {&data, &scale, &offset}) kept_.push_back(std::move(*part));
  }

  void finish() {
    core_.finish();
    finished_ = true;
  }

  int threads() const { return core_.threads(); }

 protected:
  void ready() const {
    require(finished_, "weights: expected all of them (finish was not called)");
    require(getpid() == owner_, "model: made in another process; load it after the fork");
  }

  std::vector<nb::object> kept_;
  Core core_;
  std::mutex mutex_;
  pid_t owner_;
  bool finished_ = false;
};

template <class Array>
int64_t size(const Array& array, size_t dimension) {
  return static_cast<int64_t>(array.shape(dimension));
}

class EncoderModel : public Held<Encoder> {
 public:
  EncoderModel(const nb::dict& traits, const Text& isa, int threads, const Text& activations)
      : Held(encoder_of(traits), isa, threads, activations) {}

  void encode_text(const In<int32_t, 1>& ids, const In<int32_t, 1>& starts,
                   const Out<float, 2>& out) {
    ready();
    const int64_t N = size(ids, 0), R = size(starts, 0) - 1;
    require(R >= 1, "starts_R1: expected two values or more");
    require(size(out, 0) == N && size(out, 1) == core_.shape().stack.width,
            "out_ND: expected [tokens, width]");
    const nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> hold(mutex_);
    core_.check_text(ids.data(), N, starts.data(), R);
    core_.encode_text(ids.data(), starts.data(), R, out.data());
  }

  void encode_images(const In<float, 3>& patches, const Out<float, 3>& out) {
    ready();
    const EncoderShape& shape = core_.shape();
    require(shape.patch > 0, "patches_BPU: expected a model of images");
    const int64_t B = size(patches, 0);
    require(B > 0 && B * core_.image_rows() < (int64_t{1} << 31) &&
                size(patches, 1) == core_.image_patches() && size(patches, 2) == shape.patch,
            "patches_BPU: expected [images, patches, numbers of a patch]");
    require(size(out, 0) == B && size(out, 1) == core_.image_rows() &&
                size(out, 2) == shape.stack.width,
            "out_BND: expected [images, rows, width]");
    const nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> hold(mutex_);
    core_.encode_images(patches.data(), B, out.data());
  }

  void probe(const In<float, 2>& rows, const In<int32_t, 1>& starts, const Out<float, 2>& out) {
    ready();
    const int64_t R = size(starts, 0) - 1, D = core_.shape().stack.width;
    require(core_.shape().probe, "probe: this model has none");
    require(R >= 1 && size(rows, 1) == D && size(out, 0) == R && size(out, 1) == D,
            "probe: expected rows [N, width] and out [sequences, width]");
    const nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> hold(mutex_);
    core_.check_starts(size(rows, 0), starts.data(), R);
    core_.probe(rows.data(), starts.data(), R, out.data());
  }

  void head(const In<float, 2>& pooled, const Out<float, 2>& out) {
    ready();
    const EncoderShape& shape = core_.shape();
    const int64_t Z = shape.head_width > 0 ? shape.head_width : shape.stack.width;
    require(shape.head_width > 0 || shape.head_norm, "head: this model has none");
    require(size(pooled, 0) > 0 && size(pooled, 1) == shape.stack.width &&
                size(out, 0) == size(pooled, 0) && size(out, 1) == Z,
            "head: expected pooled [B, width] and out [B, features]");
    const nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> hold(mutex_);
    core_.head(pooled.data(), size(pooled, 0), out.data());
  }
};

class Seq2SeqModel : public Held<Seq2Seq> {
 public:
  Seq2SeqModel(const nb::dict& traits, const Text& isa, int threads, const Text& activations)
      : Held(seq2seq_of(traits), isa, threads, activations) {}

  void make_cache(int64_t blocks, int64_t block_tokens, const Text& kind) {
    const std::lock_guard<std::mutex> hold(mutex_);
    core_.make_cache(blocks, block_tokens, kv_kind_named(kind));
  }

  void forward(const In<int32_t, 1>& ids, const In<int32_t, 1>& positions,
               const In<int32_t, 1>& starts, const In<int32_t, 2>& blocks,
               const In<int32_t, 1>& sources, const In<int32_t, 1>& logit_rows,
               const Out<float, 2>& out) {
    ready();
    Seq2SeqBatch batch;
    batch.N = size(ids, 0), batch.L = size(logit_rows, 0);
    batch.R = size(blocks, 0), batch.P = size(blocks, 1);
    require(size(positions, 0) == batch.N, "positions_N: expected one for each id");
    require(batch.R > 0 && size(starts, 0) == batch.R + 1,
            "starts_R1: expected one more than rows of blocks_RP");
    require(size(sources, 0) == batch.R, "sources_R: expected one for each row of blocks_RP");
    require(size(out, 0) == batch.L && size(out, 1) == core_.shape().vocab,
            "out_LV: expected [rows with logits, vocab]");
    batch.ids = ids.data(), batch.positions = positions.data(), batch.starts = starts.data();
    batch.blocks = blocks.data(), batch.sources = sources.data();
    batch.logit_rows = logit_rows.data(), batch.out = out.data();
    const nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> hold(mutex_);
    core_.check(batch);
    core_.forward(batch);
  }
};

template <class Model>
nb::class_<Model> bind_held(nb::module_& module, const char* name) {
  return nb::class_<Model>(module, name)
      .def(nb::init<const nb::dict&, const Text&, int, const Text&>(), nb::arg("traits"),
           nb::arg("isa"), nb::arg("threads"), nb::arg("activations"))
      .def("set_weight", &Model::set_weight, nb::arg("name"), nb::arg("kind"), nb::arg("data"),
           nb::arg("scale").none() = nb::none(), nb::arg("offset").none() = nb::none())
      .def("finish", &Model::finish)
      .def_prop_ro("threads", &Model::threads);
}

}  // namespace

void bind_encoders(nb::module_& module) {
  bind_held<EncoderModel>(module, "Encoder")
      .def("encode_text", &EncoderModel::encode_text, nb::arg("ids_N").noconvert(),
           nb::arg("starts_R1").noconvert(), nb::arg("out_ND").noconvert())
      .def("encode_images", &EncoderModel::encode_images, nb::arg("patches_BPU").noconvert(),
           nb::arg("out_BND").noconvert())
      .def("probe", &EncoderModel::probe, nb::arg("rows_ND").noconvert(),
           nb::arg("starts_R1").noconvert(), nb::arg("out_RD").noconvert())
      .def("head", &EncoderModel::head, nb::arg("pooled_BD").noconvert(),
           nb::arg("out_BE").noconvert());
  bind_held<Seq2SeqModel>(module, "Seq2Seq")
      .def("make_cache", &Seq2SeqModel::make_cache)
      .def("forward", &Seq2SeqModel::forward, nb::arg("ids_N").noconvert(),
           nb::arg("positions_N").noconvert(), nb::arg("starts_R1").noconvert(),
           nb::arg("blocks_RP").noconvert(), nb::arg("sources_R").noconvert(),
           nb::arg("logit_rows_L").noconvert(), nb::arg("out_LV").noconvert());
}

}  // namespace sparing
