// Numpy arrays and names as what the library takes; each checked.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

#include "isa.h"
#include "kv_layout.h"
#include "linear.h"
#include "products.h"

namespace sparing {

template <class T, int DIMS>
using In = nanobind::ndarray<const T, nanobind::ndim<DIMS>, nanobind::c_contig,
                             nanobind::device::cpu>;
template <class T, int DIMS>
using Out = nanobind::ndarray<T, nanobind::ndim<DIMS>, nanobind::c_contig, nanobind::device::cpu>;
using Any = nanobind::ndarray<nanobind::ro, nanobind::c_contig, nanobind::device::cpu>;

// Throws std::invalid_argument with the message unless ok.
void require(bool ok, const std::string& message);

struct NamedIsa {
  Isa isa;
  const char* name;
};
constexpr NamedIsa isas[] = {{Isa::avx512, "avx512"},  // best first
                             {Isa::avx2, "avx2"},
                             {Isa::i8mm, "i8mm"},
                             {Isa::dotprod, "dotprod"},
                             {Isa::neon, "neon"},
                             {Isa::reference, "reference"}};

// These throw std::invalid_argument for names and arrays that are not what they should be.
Isa isa_named(const std::string& name);
Activations activations_named(const std::string& name);
KvKind kv_kind_named(const std::string& name);

// Names of a kind, and of a layout with the version of its bytes.
const char* name_of(Kind kind);
const char* name_of(Layout layout);

// A weight record as numpy arrays -> a matrix; `scale` is None for fp32 and bf16, `offset` there and
// for symmetric codes. For "packed", data is its bytes and scale what `packed_form` says of it.
Matrix matrix_of(const std::string& name, const std::string& kind, const Any& data,
                 const nanobind::object& scale, const nanobind::object& offset);

// Products with one weight, and packing.
void bind_products(nanobind::module_& module);
// One layer's paged attention on its own, as a class of the module.
void bind_attention(nanobind::module_& module);
// The loops that measure the machine (peak.cpp).
void bind_peak(nanobind::module_& module);

}  // namespace sparing
