// Products with one weight, and packing, for Python.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <mutex>

#include "arrays.h"

namespace nb = nanobind;

namespace sparing {
namespace {

// One weight as models hold it, with threads of its own.
class Map {
 public:
  Map(const std::string& isa, const std::string& activations, int threads,
      const std::string& kind, nb::object data, nb::object scale, nb::object offset)
      : pool_(std::clamp(threads, 1, 1024)),
        products_(isa_named(isa), activations_named(activations), &pool_),
        kept_{data, scale, offset} {
    const Matrix w = matrix_of("weight", kind, nb::cast<Any>(data), scale, offset);
    map_.weight = products_.adopt(w);
    if (map_.weight.data != w.data) kept_.clear();
  }

  void multiply(const In<float, 2>& x, const Out<float, 2>& y, bool add) {
    const auto N = static_cast<int64_t>(x.shape(0));
    require(static_cast<int64_t>(x.shape(1)) == map_.weight.D && y.shape(0) == x.shape(0) &&
                static_cast<int64_t>(y.shape(1)) == map_.weight.Z,
            "linear: expected x [N, D] and y [N, Z]");
    const float* from = x.data();
    float* to = y.data();
    const nb::gil_scoped_release release;
    const std::lock_guard<std::mutex> hold(mutex_);
    const FlushDenormals flush;
    products_.multiply({{&map_, from, to, add}}, N);
  }

  void decode(int64_t z, const Out<float, 1>& row) const {
    require(z >= 0 && z < map_.weight.Z && static_cast<int64_t>(row.shape(0)) == map_.weight.D,
            "decode: expected a row of the matrix and room for its columns");
    products_.decode(map_.weight, z, row.data());
  }

 private:
  Pool pool_;
  Products products_;
  Affine map_;
  std::vector<nb::object> kept_;
  std::mutex mutex_;
};

using Form = std::tuple<std::string, std::string, int64_t, int64_t, int64_t, bool, bool>;

// What a matrix is once packed: layout, kind, Z, D, group, half, shifted; and its bytes, 0 where it
// stays as it is.
std::pair<Form, int64_t> packed_form_of(const std::string& isa, const std::string& kind,
                                        const Any& data, nb::object scale, nb::object offset) {
  const Matrix plain = matrix_of("weight", kind, data, scale, offset);
  const Layout layout = packed_linear_for(isa_named(isa)).layout;
  if (plain.packed || packed_group(plain.kind, plain.D, plain.group) == 0) return {Form(), 0};
  const Matrix form = packed_form(plain, layout);
  return {Form(name_of(layout), name_of(form.kind), form.Z, form.D, form.group, form.half,
               form.shifted),
          packed_bytes(form)};
}

void pack_into(const std::string& isa, const std::string& kind, const Any& data, nb::object scale,
               nb::object offset, const Out<uint8_t, 1>& out) {
  const Matrix plain = matrix_of("weight", kind, data, scale, offset);
  const Layout layout = packed_linear_for(isa_named(isa)).layout;
  require(!plain.packed && packed_group(plain.kind, plain.D, plain.group) > 0,
          "weight: this one is not packed");
  const Matrix form = packed_form(plain, layout);
  require(static_cast<int64_t>(out.shape(0)) == packed_bytes(form),
          "out: expected room for the packed weight");
  uint8_t* to = out.data();
  const nb::gil_scoped_release release;
  pack(plain, form, 0, panels_of(form.Z), to);
}

}  // namespace

void bind_products(nb::module_& module) {
  nb::class_<Map>(module, "Map")
      .def(nb::init<const std::string&, const std::string&, int, const std::string&, nb::object,
                    nb::object, nb::object>(),
           nb::arg("isa"), nb::arg("activations"), nb::arg("threads"), nb::arg("kind"),
           nb::arg("data"), nb::arg("scale").none(), nb::arg("offset").none())
      .def("multiply", &Map::multiply, nb::arg("x").noconvert(), nb::arg("y").noconvert(),
           nb::arg("add"))
      .def("decode", &Map::decode, nb::arg("z"), nb::arg("row").noconvert());
  module.def("packed_layout", [](const std::string& isa) {
    return name_of(packed_linear_for(isa_named(isa)).layout);
  });
  module.def("packed_form", &packed_form_of, nb::arg("isa"), nb::arg("kind"), nb::arg("data"),
             nb::arg("scale").none(), nb::arg("offset").none());
  module.def("pack_into", &pack_into, nb::arg("isa"), nb::arg("kind"), nb::arg("data"),
             nb::arg("scale").none(), nb::arg("offset").none(), nb::arg("out").noconvert());
}

}  // namespace sparing
