#include "arrays.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <stdexcept>

namespace nb = nanobind;

namespace sparing {

namespace {

constexpr const char* kinds[] = {"fp32", "bf16", "int8", "int4", "int3"};
constexpr const char* layouts[] = {"eights-1", "whole-1"};

template <class Named, std::size_t COUNT>
Named named(const char* const (&names)[COUNT], const std::string& name, const std::string& what) {
  for (std::size_t i = 0; i < COUNT; ++i)
    if (name == names[i]) return static_cast<Named>(i);
  throw std::invalid_argument(what + ": unknown " + name);
}

Matrix packed_matrix_of(const std::string& name, const Any& data, const nb::object& form) {
  using Form = std::tuple<std::string, std::string, int64_t, int64_t, int64_t, bool, bool>;
  const auto [layout, kind, Z, D, group, half, shifted] = nb::cast<Form>(form);
  Matrix w;
  w.kind = named<Kind>(kinds, kind, name);
  w.layout = named<Layout>(layouts, layout, name);
  constexpr int64_t most = int64_t{1} << 31;
  require(Z > 0 && D > 0 && Z <= most && D <= most && Z <= (int64_t{1} << 48) / D &&
              w.kind != Kind::int3,  // so that no product of extents passes 63 bits
          name + ": expected the extents and kind of a packed matrix");
  const bool whole = has_codes(w.kind)
                         ? group >= 16 && packed_group(w.kind, D, group) == group && D % group == 0
                         : group == D && !half && !shifted;
  require(whole, name + ": expected groups that can be packed");
  w.Z = Z, w.D = D, w.group = group, w.packed = true, w.half = half, w.shifted = shifted;
  w.data = data.data();
  require(data.ndim() == 1 && data.dtype() == nb::dtype<uint8_t>() &&
              static_cast<int64_t>(data.shape(0)) == packed_bytes(w),
          name + ": expected as many bytes as its extents need");
  return w;
}

}  // namespace

void require(bool ok, const std::string& message) {
  if (!ok) throw std::invalid_argument(message);
}

Isa isa_named(const std::string& name) {
  for (const auto& [isa, known] : isas)
    if (name == known) {
      require(can_run(isa), name + ": this processor or build cannot run it");
      return isa;
    }
  throw std::invalid_argument(name + ": expected avx512, avx2, i8mm, dotprod, neon or reference");
}

Matrix matrix_of(const std::string& name, const std::string& kind, const Any& data,
                 const nb::object& scale, const nb::object& offset) {
  if (kind == "packed") return packed_matrix_of(name, data, scale);
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

const char* name_of(Kind kind) { return kinds[static_cast<int>(kind)]; }
const char* name_of(Layout layout) { return layouts[static_cast<int>(layout)]; }

Activations activations_named(const std::string& name) {
  require(name == "int8" || name == "exact", "activations: expected int8 or exact");
  return name == "int8" ? Activations::int8 : Activations::exact;
}

KvKind kv_kind_named(const std::string& name) {
  for (const auto& [kind, known] : {std::pair(KvKind::fp32, "fp32"), {KvKind::bf16, "bf16"},
                                    {KvKind::int8, "int8"}, {KvKind::int4, "int4"}})
    if (name == known) return kind;
  throw std::invalid_argument("kv_dtype: expected fp32, bf16, int8 or int4, got " + name);
}

}  // namespace sparing
