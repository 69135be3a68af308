// Compares variants that the processor at hand may not run, the AVX-512 ones on portable stand-ins
// for the instructions and the Arm ones in an emulator, with the reference variants on random input.
// Exits with 1 and a line per failure.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "activation.h"
#include "attention.h"
#include "linear.h"

// The variants under test, as parts of this file: the stand-ins are then read once.
#ifdef SPARING_SIMDE
#include "attention/avx512.cpp"
#include "linear/avx512.cpp"
#include "activation/avx512.cpp"
#define VARIANT(operation) operation##_avx512
#else
#include "attention/neon.cpp"
#include "linear/neon.cpp"
#include "activation/neon.cpp"
#define VARIANT(operation) operation##_neon
#endif

namespace sparing {
extern const Linear linear_reference;
extern const Attention attention_reference;
Activate activation_reference(Activation kind);
}  // namespace sparing

using namespace sparing;

namespace {

std::mt19937 engine(7);
int failures = 0;

struct Extents {
  int64_t Z, D, group;
};

std::vector<float> normal(int64_t count) {
  std::normal_distribution<float> draw;
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = draw(engine);
  return out;
}

void compare(const char* what, int64_t a, int64_t b, const std::vector<float>& got,
             const std::vector<float>& want, float bound) {
  float worst = 0.0f;
  for (size_t i = 0; i < got.size(); ++i) {
    const float error = std::fabs(got[i] - want[i]);
    if (!(error <= worst)) worst = error;  // a NaN is the worst
  }
  if (worst <= bound) return;
  std::printf("%s %ld %ld: error %g above %g\n", what, static_cast<long>(a), static_cast<long>(b),
              static_cast<double>(worst), static_cast<double>(bound));
  ++failures;
}

void check_linear(Kind kind, bool shifted, int64_t N, int64_t Z, int64_t D, int64_t group) {
  std::vector<uint8_t> bytes(static_cast<size_t>(Z * D * 4));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine());
  std::vector<float> numbers = normal(Z * D), scale = normal(Z * D / group), x = normal(N * D);
  std::vector<uint16_t> halves(static_cast<size_t>(Z * D));
  for (size_t i = 0; i < halves.size(); ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, &numbers[i], 4);
    halves[i] = static_cast<uint16_t>(bits >> 16);
  }
  const void* data = bytes.data();
  if (kind == Kind::fp32) data = numbers.data();
  if (kind == Kind::bf16) data = halves.data();
  const std::vector<float> offset = normal(Z * D / group);
  Matrix w;
  w.data = data, w.Z = Z, w.D = D, w.group = group, w.kind = kind;
  w.scale = scale.data(), w.offset = shifted ? offset.data() : nullptr;
  std::vector<float> scratch(static_cast<size_t>(linear_tile * D)), bias = normal(Z);
  std::vector<float> got(static_cast<size_t>(N * Z), 1.0f), want = got, alone = got;
  VARIANT(linear).product(w, bias.data(), x.data(), N, got.data(), Z, true, 0, Z, scratch.data());
  linear_reference.product(w, bias.data(), x.data(), N, want.data(), Z, true, 0, Z,
                           scratch.data());
  const float unit = kind == Kind::int8 ? 128.0f : kind == Kind::int4 ? 8.0f : 4.0f;
  compare("linear", static_cast<int64_t>(kind), D, got, want,
          1e-5f * unit * std::sqrt(static_cast<float>(D)) * 8);
  for (int64_t n = 0; n < N; ++n)  // rows alone have the same bits
    VARIANT(linear).product(w, bias.data(), &x[n * D], 1, &alone[n * Z], Z, true, 0, Z,
                          scratch.data());
  compare("linear alone", static_cast<int64_t>(kind), D, got, alone, 0.0f);
  std::vector<float> row(static_cast<size_t>(D)), law = row;
  for (int64_t z = 0; z < Z; ++z) {
    VARIANT(linear).decode(w, z, row.data());
    linear_reference.decode(w, z, law.data());
    compare("decode", static_cast<int64_t>(kind), D, row, law, 0.0f);
  }
}

struct Setting {
  int64_t T, R, K, position, block_tokens;
  KvKind kind;
  AttentionRule rule;
};

void check_attention(const Setting& at) {
  KvLayout layout;
  layout.kind = at.kind, layout.G = 2, layout.K = at.K, layout.block_tokens = at.block_tokens;
  const int64_t S = at.position + at.T, P = (S + at.block_tokens - 1) / at.block_tokens;
  const int64_t H = layout.G * at.R;
  std::vector<float> q = normal(at.T * H * at.K), row = normal(layout.G * at.K);
  std::vector<char> keys(static_cast<size_t>(P * layout.block_bytes() + 64)), values = keys;
  std::vector<int32_t> table;
  for (int64_t p = 0; p < P; ++p) table.push_back(static_cast<int32_t>(P - 1 - p));
  for (int64_t s = 0; s < S; ++s) {
    const int64_t block = table[static_cast<size_t>(s / at.block_tokens)];
    kv_write_keys(layout, keys.data(), block, s % at.block_tokens, row.data());
    row = normal(layout.G * at.K);
    kv_write_values(layout, values.data(), block, s % at.block_tokens, row.data());
    row = normal(layout.G * at.K);
  }
  std::vector<float> scratch(static_cast<size_t>(attention_scratch(at.T, at.R, at.K)));
  std::vector<float> got(q.size()), want(q.size()), apart(q.size());
  std::vector<float> side = normal(H * 2 * S), slopes = normal(H), sinks = normal(H);
  for (float& slope : slopes) slope = std::fabs(slope);
  AttentionTask task;
  task.q = q.data() + at.R * at.K, task.row_stride = H * at.K;
  task.T = at.T, task.R = at.R, task.head = 1, task.position = at.position, task.length = S;
  task.layout = layout, task.keys = keys.data(), task.values = values.data();
  task.blocks = table.data(), task.rule = at.rule, task.scratch = scratch.data();
  if (task.rule.bias) task.rule.bias = &side[static_cast<size_t>(S)], task.rule.bias_stride = 2 * S;
  if (task.rule.slopes) task.rule.slopes = slopes.data();
  if (task.rule.sinks) task.rule.sinks = sinks.data();
  task.out = got.data();
  VARIANT(attention).attend(task);
  task.out = want.data();
  attention_reference.attend(task);
  compare("attention", at.K, S, got, want, 1e-5f);
  task.out = apart.data();
  const int64_t chunks = (S + attention_chunk - 1) / attention_chunk;
  std::vector<float> states(static_cast<size_t>(chunks * attention_state(at.T, at.R, at.K)));
  for (int64_t c = 0; c < chunks; ++c)
    VARIANT(attention).part(
        task, c, &states[static_cast<size_t>(c * attention_state(at.T, at.R, at.K))]);
  VARIANT(attention).merge(task, chunks, states.data());
  compare("attention in parts", at.K, S, apart, got, 0.0f);
}

void check_attentions() {
  const float on = 1.0f;  // any pointer that is not null
  AttentionRule plain, window, rich, both;
  plain.scale = window.scale = rich.scale = both.scale = 0.2f;
  window.window = 9;
  rich.softcap = 3.0f, rich.sinks = &on, rich.slopes = &on;
  both.causal = false, both.bias = &on;
  for (const KvKind kind : {KvKind::fp32, KvKind::bf16, KvKind::int8, KvKind::int4})
    for (const AttentionRule& rule : {plain, window, rich, both})
      for (const int64_t K : {5, 16, 64, 80})
        for (const int64_t tokens : {5, 16})
          for (const auto& [T, R, position] :
               {Extents{1, 1, 70}, Extents{3, 2, 130}, Extents{1, 7, 515}})
            check_attention({T, R, K, position, tokens, kind, rule});
}

}  // namespace

int main() {
  for (const int64_t N : {1, 2, 7})
    for (const auto& [Z, D, group] :
         std::vector<Extents>{{9, 64, 32}, {4, 48, 16}, {8, 96, 96}, {5, 30, 10}, {3, 14, 14}}) {
      for (const Kind kind : {Kind::fp32, Kind::bf16, Kind::int8, Kind::int4, Kind::int3}) {
        if (kind == Kind::int3 && D % 8) continue;
        check_linear(kind, false, N, Z, D, group);
        if (kind != Kind::fp32 && kind != Kind::bf16) check_linear(kind, true, N, Z, D, group);
      }
    }
  check_attentions();
  for (const Activation kind :
       {Activation::silu, Activation::gelu, Activation::gelu_tanh, Activation::relu,
        Activation::quick_gelu})
    for (const int64_t count : {1, 16, 45}) {
      std::vector<float> x = normal(count), up = normal(count);
      for (float& value : x) value *= 20.0f;
      std::vector<float> want = x;
      const float* factor = kind == Activation::gelu ? nullptr : up.data();
      VARIANT(activation)(kind)(x.data(), factor, count);
      activation_reference(kind)(want.data(), factor, count);
      compare("activation", count, static_cast<int64_t>(kind), x, want, 1e-5f);
    }
  return failures ? 1 : 0;
}
