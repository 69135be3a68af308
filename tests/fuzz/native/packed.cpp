// Weights of every format with hostile numbers, packed: no byte beyond their extents is touched,
// decoding gives the plain numbers, and rows of anything, NaN too, multiply alike alone and together.
#include "packed.h"

#include <cmath>
#include <cstring>

#include "bytes.h"

using namespace sparing;

namespace {

constexpr Isa variants[] = {Isa::reference, Isa::avx2, Isa::avx512,
                            Isa::neon,      Isa::dotprod, Isa::i8mm};

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

struct Prepared {
  Array<int8_t> code;
  Array<float> scale, sum;
  Array<int32_t> start;
  Array<uint16_t> bits;
  int64_t D, J, starts, even;

  Prepared(const PackedLinear& variant, const Matrix& w, const float* x, int64_t N)
      : code(N * w.D), scale(N * (w.D / w.group)), sum(N * (w.D / w.group)),
        start(N * starts_of(w.kind, w.layout, w.D, w.group)), bits(N * ((w.D + 1) / 2 * 2)),
        D(w.D), J(w.D / w.group), starts(starts_of(w.kind, w.layout, w.D, w.group)),
        even((w.D + 1) / 2 * 2) {
    for (int64_t n = 0; n < N; ++n) {
      if (w.kind == Kind::bf16) variant.narrow(x + n * D, D, bits.get() + n * even);
      if (has_codes(w.kind))
        variant.quantise(x + n * D, D, w.group, zero_of(w.kind, w.layout),
                         {code.get() + n * D, scale.get() + n * J, sum.get() + n * J,
                          start.get() + n * starts});
    }
  }

  Rows rows(const float* x, int64_t first, int64_t N) const {
    Rows out;
    out.N = N, out.x = x + first * D;
    out.code = code.get() + first * D, out.scale = scale.get() + first * J;
    out.sum = sum.get() + first * J, out.start = start.get() + first * starts;
    out.bits = bits.get() + first * even;
    return out;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes input(data, size);
  const Kind kind = static_cast<Kind>(input.below(5));
  const bool codes = has_codes(kind), shifted = codes && (input.byte() & 1);
  constexpr int64_t groups[] = {16, 32, 48, 64, 96, 128};
  const int64_t Z = 1 + input.below(20), N = 1 + input.below(5), J = 1 + input.below(2);
  const int64_t U = codes ? input.pick(groups) : 1 + input.below(150), D = U * J;
  const bool add = input.byte() & 1;
  const int64_t bits = kind == Kind::fp32   ? 32
                       : kind == Kind::bf16 ? 16
                       : kind == Kind::int8 ? 8
                       : kind == Kind::int4 ? 4
                                            : 3;
  const Array<float> scale(&input, codes ? Z * J : 0), offset(&input, shifted ? Z * J : 0);
  const Array<float> x(&input, N * D), bias(&input, Z);
  const Array<uint8_t> store(&input, Z * D * bits / 8);
  Matrix plain;
  plain.data = store.get(), plain.Z = Z, plain.D = D, plain.kind = kind, plain.group = U;
  if (codes) plain.scale = scale.get();
  if (shifted) plain.offset = offset.get();
  const Array<float> law(D), row(D);

  for (const Isa isa : variants) {
    if (!can_run(isa)) continue;
    const PackedLinear& variant = packed_linear_for(isa);
    Matrix w = packed_form(plain, variant.layout);
    const Array<uint8_t> panels(packed_bytes(w));
    pack(plain, w, 0, panels_of(Z), panels.get());
    w.data = panels.get();
    for (int64_t z = 0; z < Z; ++z) {
      decode_packed(w, z, row.get());
      linear_for(Isa::reference).decode(plain, z, law.get());
      for (int64_t d = 0; d < D; ++d) must(same(row[d], law[d]), "a packed weight");
    }
    const Prepared made(variant, w, x.get(), N);
    const Array<float> y(N * Z), alone(Z);
    variant.product(w, bias.get(), made.rows(x.get(), 0, N), y.get(), add, 0, panels_of(Z));
    variant.product(w, bias.get(), made.rows(x.get(), N - 1, 1), alone.get(), add, 0,
                    panels_of(Z));
    for (int64_t z = 0; z < Z; ++z)
      must(same(y[(N - 1) * Z + z], alone[z]), "a row alone");
  }
  return 0;
}
