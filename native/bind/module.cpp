// The Python face of the native library: types and extents; src/sparing/kernels/native.py has the
// messages and formats.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include <mutex>
#include <stdexcept>

#include "arrays.h"
#include "decoder.h"
#include "encoders.h"
#include "draw_arrays.h"
#include "layer_norm.h"
#include "rms_norm.h"
#include "shape.h"

namespace nb = nanobind;

namespace sparing {
namespace {

// A decoder with the arrays it points to kept alive, one call at a time.
class Model {
 public:
  Model(const nb::dict& config, const std::string& isa, int threads,
        const std::string& activations)
      : decoder_(shape_of(config), isa_named(isa), checked(threads),
                 activations_named(activations)),
        drawer_(isa_named(isa)),
        owner_(getpid()) {}

  void set_weight(const std::string& name, const std::string& kind, nb::object data,
                  nb::object scale, nb::object offset) {
    const auto array = nb::cast<Any>(data);
    if (array.ndim() == 1 && kind != "packed") {
      const auto vector = nb::cast<In<float, 1>>(data, false);
      require(kind == "fp32", name + ": expected fp32 for a vector");
      decoder_.set_vector(name, vector.data(), static_cast<int64_t>(vector.shape(0)));
    } else if (!decoder_.set_matrix(name, matrix_of(name, kind, array, scale, offset))) {
      return;
    }
    for (nb::object* part : {&data, &scale, &offset}) kept_.push_back(std::move(*part));
  }

  void finish() {
    decoder_.finish();
    finished_ = true;
  }

  void make_cache(int64_t blocks, int64_t block_tokens, const std::string& kind) {
    const KvKind kv = kv_kind_named(kind);
    const std::lock_guard<std::mutex> hold(mutex_);
    decoder_.make_cache(blocks, block_tokens, kv);
  }

  void forward(const In<int32_t, 1>& ids, const In<int32_t, 1>& positions,
               const In<int32_t, 1>& starts, const In<int32_t, 2>& blocks,
               const In<int32_t, 1>& logit_rows, const Out<float, 2>& out, nb::object lengths) {
    const Batch batch = batch_of(ids, positions, starts, blocks, logit_rows, out, lengths);
    const nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> hold(mutex_);
    decoder_.check(batch);
    decoder_.forward(batch);
  }

  // A forward pass and a draw from each row of its logits.
  void step(const In<int32_t, 1>& ids, const In<int32_t, 1>& positions,
            const In<int32_t, 1>& starts, const In<int32_t, 2>& blocks,
            const In<int32_t, 1>& logit_rows, const Out<float, 2>& out,
            const In<double, 2>& rules, const In<int32_t, 1>& seen_starts,
            const In<int32_t, 1>& seen_ids, const In<int32_t, 1>& seen_counts,
            const Out<int32_t, 1>& drawn, const Out<double, 1>& logprobs,
            const Out<int32_t, 2>& top_ids, const Out<double, 2>& top_logprobs,
            nb::object lengths) {
    const Batch batch = batch_of(ids, positions, starts, blocks, logit_rows, out, lengths);
    const DrawArrays arrays(rules, seen_starts, seen_ids, seen_counts, drawn, logprobs, top_ids,
                            top_logprobs);
    const DrawBatch draws = arrays.of(out);
    const nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> hold(mutex_);
    decoder_.check(batch);
    Drawer::check(draws);
    decoder_.forward(batch);
    if (draws.L > 0) drawer_.draw(draws, decoder_.pool());
  }

  int threads() const { return decoder_.threads(); }

 private:
  Batch batch_of(const In<int32_t, 1>& ids, const In<int32_t, 1>& positions,
                 const In<int32_t, 1>& starts, const In<int32_t, 2>& blocks,
                 const In<int32_t, 1>& logit_rows, const Out<float, 2>& out,
                 const nb::object& lengths) const {
    require(finished_, "weights: expected all of them (finish was not called)");
    require(getpid() == owner_, "model: made in another process; load it after the fork");
    const auto size = [](const auto& array, size_t i) {
      return static_cast<int64_t>(array.shape(i));
    };
    Batch batch;
    batch.N = size(ids, 0), batch.L = size(logit_rows, 0);
    batch.R = size(blocks, 0), batch.P = size(blocks, 1);
    require(size(positions, 0) == batch.N, "positions_N: expected one for each id");
    require(batch.R > 0 && size(starts, 0) == batch.R + 1,
            "starts_R1: expected one more than rows of blocks_RP");
    require(size(out, 0) == batch.L && size(out, 1) == decoder_.shape().vocab,
            "out_LV: expected [rows with logits, vocab]");
    if (!lengths.is_none()) {
      const auto known = nb::cast<In<int32_t, 1>>(lengths, false);
      require(size(known, 0) == batch.R, "lengths_R: expected one for each row of blocks_RP");
      batch.lengths = known.data();
    }
    batch.ids = ids.data(), batch.positions = positions.data(), batch.starts = starts.data();
    batch.blocks = blocks.data(), batch.logit_rows = logit_rows.data(), batch.out = out.data();
    return batch;
  }

  static int checked(int threads) {
    require(threads >= 1 && threads <= 1024, "threads: expected 1 to 1024");
    return threads;
  }

  std::vector<nb::object> kept_;
  Decoder decoder_;
  Drawer drawer_;
  std::mutex mutex_;
  pid_t owner_;
  bool finished_ = false;
};

// One operation at a time, for tests and measurements; a single thread.
void draw(const std::string& isa, int threads, const Out<float, 2>& logits,
          const In<double, 2>& rules, const In<int32_t, 1>& seen_starts,
          const In<int32_t, 1>& seen_ids, const In<int32_t, 1>& seen_counts,
          const Out<int32_t, 1>& drawn, const Out<double, 1>& logprobs,
          const Out<int32_t, 2>& top_ids, const Out<double, 2>& top_logprobs) {
  const DrawArrays arrays(rules, seen_starts, seen_ids, seen_counts, drawn, logprobs, top_ids,
                          top_logprobs);
  const DrawBatch draws = arrays.of(logits);
  Drawer::check(draws);
  Drawer drawer(isa_named(isa));
  Pool pool(threads);
  if (draws.L > 0) drawer.draw(draws, pool);
}

void activation(const std::string& isa, const std::string& kind, const Out<float, 1>& x,
                nb::object up) {
  const float* factor = nullptr;
  if (!up.is_none()) {
    const auto array = nb::cast<In<float, 1>>(up, false);
    require(x.shape(0) == array.shape(0), "activation: expected x and up of one length");
    factor = array.data();
  }
  activation_for(isa_named(isa), activation_named(kind))(x.data(), factor,
                                                         static_cast<int64_t>(x.shape(0)));
}

void norm(const In<float, 2>& x, const In<float, 1>& weight, float eps, const Out<float, 2>& y) {
  require(x.shape(1) == weight.shape(0) && x.shape(0) == y.shape(0) && x.shape(1) == y.shape(1),
          "rms_norm: expected x and y [N, D] and weight [D]");
  const auto D = static_cast<int64_t>(x.shape(1));
  for (size_t n = 0; n < x.shape(0); ++n)
    rms_norm(x.data() + n * x.shape(1), weight.data(), eps, D, y.data() + n * x.shape(1));
}

void layer(const In<float, 2>& x, const In<float, 1>& weight, const In<float, 1>& bias, float eps,
           const Out<float, 2>& y) {
  require(x.shape(1) == weight.shape(0) && x.shape(1) == bias.shape(0) &&
              x.shape(0) == y.shape(0) && x.shape(1) == y.shape(1),
          "layer_norm: expected x and y [N, D], weight and bias [D]");
  const auto D = static_cast<int64_t>(x.shape(1));
  for (size_t n = 0; n < x.shape(0); ++n)
    layer_norm(x.data() + n * x.shape(1), weight.data(), bias.data(), eps, D,
               y.data() + n * x.shape(1));
}

}  // namespace
}  // namespace sparing

NB_MODULE(_native, module) {
  using namespace sparing;
  bind_encoders(module);
  const auto fixed = [](const char* name) { return nb::arg(name).noconvert(); };
  bind_attention(module);
  bind_peak(module);
  module.def("isas", [] {
    std::vector<std::string> names;
    for (const auto& [isa, name] : isas)
      if (can_run(isa)) names.emplace_back(name);
    return names;
  });
  nb::class_<Model>(module, "Model")
      .def(nb::init<const nb::dict&, const std::string&, int, const std::string&>(),
           nb::arg("config"), nb::arg("isa"), nb::arg("threads"), nb::arg("activations"))
      .def("set_weight", &Model::set_weight, nb::arg("name"), nb::arg("kind"), nb::arg("data"),
           nb::arg("scale").none() = nb::none(), nb::arg("offset").none() = nb::none())
      .def("finish", &Model::finish)
      .def("make_cache", &Model::make_cache)
      .def("forward", &Model::forward, nb::arg("ids_N").noconvert(),
           nb::arg("positions_N").noconvert(), nb::arg("starts_R1").noconvert(),
           nb::arg("blocks_RP").noconvert(), nb::arg("logit_rows_L").noconvert(),
           nb::arg("out_LV").noconvert(), nb::arg("lengths_R").none() = nb::none())
      .def("step", &Model::step, fixed("ids_N"), fixed("positions_N"), fixed("starts_R1"),
           fixed("blocks_RP"), fixed("logit_rows_L"), fixed("out_LV"),
           fixed("rules_LC"), fixed("seen_starts"), fixed("seen_ids"), fixed("seen_counts"),
           fixed("ids_L"), fixed("logprobs_L"), fixed("top_ids_LK"), fixed("top_logprobs_LK"),
           nb::arg("lengths_R").none() = nb::none())
      .def_prop_ro("threads", &Model::threads);
  bind_products(module);
  module.def("draw", &draw, nb::arg("isa"), nb::arg("threads"), fixed("logits_LV"),
             fixed("rules_LC"), fixed("seen_starts"), fixed("seen_ids"), fixed("seen_counts"),
             fixed("ids_L"), fixed("logprobs_L"), fixed("top_ids_LK"), fixed("top_logprobs_LK"));
  module.def("activation", &activation, nb::arg("isa"), nb::arg("kind"),
             nb::arg("x").noconvert(), nb::arg("up").none());
  module.def("layer_norm", &layer, nb::arg("x").noconvert(), nb::arg("weight").noconvert(),
             nb::arg("bias").noconvert(), nb::arg("eps"), nb::arg("y").noconvert());
  module.def("rms_norm", &norm, nb::arg("x").noconvert(), nb::arg("weight").noconvert(),
             nb::arg("eps"), nb::arg("y").noconvert());
}
