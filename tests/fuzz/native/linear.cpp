// Weights of every format with hostile numbers: decoded and multiplied inside their extents, the
// same by every variant that runs here.
#include "linear.h"

#include <cmath>

#include "bytes.h"

using namespace sparing;

namespace {

constexpr Isa variants[] = {Isa::reference, Isa::avx2, Isa::avx512, Isa::neon};

int64_t stored_bytes(Kind kind, int64_t count) {
  switch (kind) {
    case Kind::fp32: return count * 4;
    case Kind::bf16: return count * 2;
    case Kind::int8: return count;
    case Kind::int4: return count / 2;
    case Kind::int3: return count / 8 * 3;
  }
  return 0;
}

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes input(data, size);
  const Kind kind = static_cast<Kind>(input.below(5));
  const int64_t Z = 1 + input.below(9), N = 1 + input.below(4);
  const int64_t unit = kind == Kind::int3 ? 8 : kind == Kind::int4 ? 2 : 1;
  const int64_t U = unit * (1 + input.below(40)), J = 1 + input.below(3), D = U * J;
  const bool shifted = input.byte() & 1, codes = kind != Kind::fp32 && kind != Kind::bf16;
  const bool add = input.byte() & 1;

  // The least alignment that a caller may give: that of the element, not of a vector.
  const int64_t element = kind == Kind::fp32 ? 4 : kind == Kind::bf16 ? 2 : 1;
  const int64_t bytes = stored_bytes(kind, Z * D);
  const Array<uint8_t> store(&input, bytes + element);
  const Array<float> scale(&input, codes ? Z * J : 0), offset(&input, codes && shifted ? Z * J : 0);
  const Array<float> x(&input, N * D), bias(&input, Z);
  Matrix w;
  w.data = store.get() + element;
  w.Z = Z, w.D = D, w.kind = kind, w.group = U;
  if (codes) w.scale = scale.get();
  if (codes && shifted) w.offset = offset.get();

  const Array<float> law(Z * D);
  for (int64_t z = 0; z < Z; ++z) linear_for(Isa::reference).decode(w, z, law.get() + z * D);
  for (const Isa isa : variants) {
    if (!can_run(isa)) continue;
    const Linear& linear = linear_for(isa);
    const Array<float> row(D), scratch(linear_tile * D), y(N * Z), alone(Z);
    for (int64_t z = 0; z < Z; ++z) {
      linear.decode(w, z, row.get());
      for (int64_t d = 0; d < D; ++d) must(same(row[d], law[z * D + d]), "a decoded weight");
    }
    linear.product(w, bias.get(), x.get(), N, y.get(), Z, add, 0, Z, scratch.get());
    linear.product(w, bias.get(), x.get() + (N - 1) * D, 1, alone.get(), Z, add, 0, Z,
                   scratch.get());
    for (int64_t z = 0; z < Z; ++z)
      must(same(y[(N - 1) * Z + z], alone[z]), "a row alone");
  }
  return 0;
}
