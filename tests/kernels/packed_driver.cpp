// Compares packed variants that the processor at hand may not run, the AVX-512 one on portable
// stand-ins for the instructions and the Arm ones in an emulator, with the reference variant on the
// same weights. Exits with 1 and a line per failure.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "packed.h"

#ifdef SPARING_SIMDE
// The variant under test, as part of this file: the stand-ins are then read once.
#include "linear/packed_avx512.cpp"
#endif

namespace sparing {
extern const PackedLinear packed_reference;
#ifdef SPARING_ARM
extern const PackedLinear packed_neon, packed_dotprod, packed_i8mm;
#endif
}  // namespace sparing

using namespace sparing;

namespace {

#ifdef SPARING_SIMDE
const PackedLinear* const variants[] = {&packed_avx512};
#else
const PackedLinear* const variants[] = {&packed_neon, &packed_dotprod, &packed_i8mm};
#endif

std::mt19937 engine(11);
int failures = 0;

struct Case {
  Kind kind;
  int64_t Z, D, group;
  bool offset, half;
};

// Numbers that bf16 holds, so that rows of either precision are the same.
std::vector<float> short_numbers(int64_t count) {
  std::normal_distribution<float> draw;
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) {
    x = draw(engine);
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    bits &= 0xffff0000u;
    std::memcpy(&x, &bits, 4);
  }
  return out;
}

struct Made {
  std::vector<int8_t> code;
  std::vector<float> scale, sum;
  std::vector<int32_t> start;
  std::vector<uint16_t> bits;

  Made(const PackedLinear& variant, const Matrix& w, const std::vector<float>& x, int64_t N) {
    const int64_t J = w.D / w.group, even = (w.D + 1) / 2 * 2;
    const int64_t starts = starts_of(w.kind, w.layout, w.D, w.group);
    code.resize(static_cast<size_t>(N * w.D)), bits.resize(static_cast<size_t>(N * even));
    for (auto* numbers : {&scale, &sum}) numbers->resize(static_cast<size_t>(N * J));
    start.resize(static_cast<size_t>(N * starts));
    for (int64_t n = 0; n < N; ++n) {
      if (w.kind == Kind::bf16) variant.narrow(&x[n * w.D], w.D, &bits[n * even]);
      if (has_codes(w.kind))
        variant.quantise(&x[n * w.D], w.D, w.group, zero_of(w.kind, w.layout),
                         {&code[n * w.D], &scale[n * J], &sum[n * J], &start[n * starts]});
    }
  }

  Rows rows(const Matrix& w, const float* x, int64_t first, int64_t N) const {
    const int64_t J = w.D / w.group;
    Rows out;
    out.N = N, out.x = x + first * w.D;
    out.code = code.data() + first * w.D, out.scale = scale.data() + first * J;
    out.sum = sum.data() + first * J, out.start = start.data() + first * starts_of(w.kind, w.layout, w.D, w.group);
    out.bits = bits.data() + first * ((w.D + 1) / 2 * 2);
    return out;
  }
};

void fail(const Case& at, int64_t N, const char* what) {
  std::printf("kind %d, %ld x %ld, group %ld, offset %d, half %d, %ld rows: %s\n",
              static_cast<int>(at.kind), static_cast<long>(at.Z), static_cast<long>(at.D),
              static_cast<long>(at.group), at.offset, at.half, static_cast<long>(N), what);
  ++failures;
}

struct Packing {
  Matrix w;
  std::vector<uint8_t> data;

  Packing(const Matrix& plain, Layout layout)
      : w(packed_form(plain, layout)), data(static_cast<size_t>(packed_bytes(w))) {
    pack(plain, w, 0, panels_of(w.Z), data.data());
    w.data = data.data();
  }
};

std::vector<float> check_variant(const PackedLinear& variant, const Case& at, const Matrix& plain,
                                 const std::vector<float>& x, int64_t N,
                                 const std::vector<float>& bias, const Made& law,
                                 const std::vector<float>& want) {
  const Packing packing(plain, variant.layout);
  const Matrix& w = packing.w;
  const Made ours(variant, w, x, N);
  if (ours.code != law.code) fail(at, N, "codes of the rows differ");
  if (variant.layout == packed_reference.layout && ours.start != law.start)
    fail(at, N, "corrections of the rows differ");
  std::vector<float> got(want.size(), 1.0f), alone = got;
  variant.product(w, bias.data(), ours.rows(w, x.data(), 0, N), got.data(), true, 0,
                  panels_of(w.Z));
  for (int64_t n = 0; n < N; ++n)
    for (int64_t panel = 0; panel < panels_of(w.Z); ++panel)
      variant.product(w, bias.data(), ours.rows(w, x.data(), n, 1), &alone[n * at.Z], true, panel,
                      panel + 1);
  float largest = 0.0f;
  for (const float value : want) largest = std::fmax(largest, std::fabs(value));
  for (size_t i = 0; i < got.size(); ++i) {
    const bool nan = std::isnan(want[i]);
    if (nan ? !std::isnan(got[i]) : !(std::fabs(got[i] - want[i]) <= 3e-6f * largest)) {
      fail(at, N, "differs from the reference");
      break;
    }
  }
  for (size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &alone[i], 4) != 0 && !std::isnan(got[i])) {
      fail(at, N, "a row alone has other bits");
      break;
    }
  return got;
}

void check(const Case& at, int64_t N) {
  std::vector<uint8_t> bytes(static_cast<size_t>(at.Z * at.D));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine());
  std::vector<float> numbers = short_numbers(at.Z * at.D), x = short_numbers(N * at.D);
  std::vector<float> scale = short_numbers(at.Z * at.D / at.group), offset = scale;
  if (!at.half) scale[0] = 1e-9f;
  if (N > 1) x[at.D] = NAN;
  std::vector<uint16_t> halves;
  for (const float value : numbers) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    halves.push_back(static_cast<uint16_t>(bits >> 16));
  }
  Matrix plain;
  plain.data = at.kind == Kind::fp32   ? static_cast<const void*>(numbers.data())
               : at.kind == Kind::bf16 ? static_cast<const void*>(halves.data())
                                       : bytes.data();
  plain.Z = at.Z, plain.D = at.D, plain.kind = at.kind, plain.group = at.group;
  if (has_codes(at.kind)) plain.scale = scale.data();
  if (at.offset) plain.offset = offset.data();
  const Packing packing(plain, packed_reference.layout);
  const Matrix& w = packing.w;
  if (has_codes(at.kind) && w.half != at.half) fail(at, N, "scales of the wrong width");
  const Made law(packed_reference, w, x, N);
  const std::vector<float> bias = short_numbers(at.Z);
  std::vector<float> want(static_cast<size_t>(N * at.Z), 1.0f);
  packed_reference.product(w, bias.data(), law.rows(w, x.data(), 0, N), want.data(), true, 0,
                           panels_of(w.Z));
  std::vector<float> first;
  for (const PackedLinear* variant : variants) {
    const std::vector<float> got = check_variant(*variant, at, plain, x, N, bias, law, want);
    // Variants of one layout sum integers exactly, and floats in one order.
    if (!first.empty() && std::memcmp(first.data(), got.data(), 4 * got.size()) != 0)
      fail(at, N, "the variants differ in bits");
    first = got;
  }
}

}  // namespace

int main() {
  for (const int64_t N : {1, 2, 7, 12, 13, 30}) {
    for (const Kind kind : {Kind::fp32, Kind::bf16})
      for (const int64_t D : {1, 16, 131, 300}) check({kind, 37, D, D, false, false}, N);
    for (const Kind kind : {Kind::int8, Kind::int4, Kind::int3})
      for (const int64_t group : {16, 32, 48, 64, 128, 256})
        for (const bool offset : {false, true})
          check({kind, 37, 3 * group, group, offset, group % 64 == 0}, N);
  }
  return failures ? 1 : 0;
}
