#include "arrays.h"

#include <stdexcept>

namespace nb = nanobind;

namespace sparing {

void require(bool ok, const std::string& message) {
  if (!ok) throw std::invalid_argument(message);
}

Isa isa_named(const std::string& name) {
  for (const auto& [isa, known] : isas)
    if (name == known) {
      require(can_run(isa), name + ": this processor or build cannot run it");
      return isa;
    }
  throw std::invalid_argument(name + ": expected avx512, avx2, neon or reference");
}

Matrix matrix_of(const std::string& name, const std::string& kind, const Any& data,
                 const nb::object& scale, const nb::object& offset) {
  const auto is = [&](nb::dlpack::dtype type) { return data.dtype() == type; };
  require(data.ndim() == 2, name + ": expected a matrix");
  Matrix w;
  w.data = data.data();
  w.Z = static_cast<int64_t>(data.shape(0));
  w.D = static_cast<int64_t>(data.shape(1));
  if (kind == "int4") w.D *= 2;
  if (kind == "int3") {
    require(w.D % 3 == 0, name + ": expected rows of whole three bytes");
    w.D = w.D / 3 * 8;
  }
  bool right = false;
  if (kind == "fp32") w.kind = Kind::fp32, right = is(nb::dtype<float>());
  if (kind == "bf16") w.kind = Kind::bf16, right = is(nb::dtype<uint16_t>());
  if (kind == "int8") w.kind = Kind::int8, right = is(nb::dtype<int8_t>());
  if (kind == "int4") w.kind = Kind::int4, right = is(nb::dtype<uint8_t>());
  if (kind == "int3") w.kind = Kind::int3, right = is(nb::dtype<uint8_t>());
  require(right, name + ": expected the array type of " + kind);
  require(reinterpret_cast<uintptr_t>(w.data) % data.itemsize() == 0,
          name + ": expected an aligned array");
  require(w.Z > 0 && w.D > 0, name + ": expected a matrix that is not empty");
  if (w.kind == Kind::fp32 || w.kind == Kind::bf16) {
    require(scale.is_none() && offset.is_none(), name + ": expected no scales");
    return w;
  }
  require(!scale.is_none(), name + ": expected scales");
  const auto factors = nb::cast<In<float, 2>>(scale, false);
  const auto groups = static_cast<int64_t>(factors.shape(1));
  require(static_cast<int64_t>(factors.shape(0)) == w.Z && groups > 0 && w.D % groups == 0,
          name + ": expected scales [rows, groups] with groups that divide the columns");
  w.scale = factors.data();
  w.group = w.D / groups;
  if (!offset.is_none()) {
    const auto offsets = nb::cast<In<float, 2>>(offset, false);
    require(offsets.shape(0) == factors.shape(0) && offsets.shape(1) == factors.shape(1),
            name + ": expected an offset for each scale");
    w.offset = offsets.data();
  }
  return w;
}

Activations activations_named(const std::string& name) {
  require(name == "int8" || name == "exact", "activations: expected int8 or exact");
  return name == "int8" ? Activations::int8 : Activations::exact;
}

}  // namespace sparing
