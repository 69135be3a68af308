// Embedding and encoding of texts and images.
#include "encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "refuse.h"

namespace sparing {
namespace {

void fit(std::vector<float>& buffer, int64_t count) {
  if (static_cast<int64_t>(buffer.size()) < count) buffer.resize(static_cast<size_t>(count));
}

}  // namespace

Encoder::Encoder(EncoderShape shape, Isa isa, Activations activations, int threads)
    : shape_(shape),
      workers_(isa, activations, threads),
      slots_(workers_.products),
      stack_(shape.stack, "", slots_, workers_) {
  const StackShape& stack = shape_.stack;
  const int64_t D = stack.width;
  if (shape_.vocab > 0) slots_.rows("embed.weight", &embed_, shape_.vocab, D);
  if (shape_.positions > 0) slots_.rows("positions.weight", &positions_, shape_.positions, D);
  if (shape_.types > 0) slots_.rows("types.weight", &types_, shape_.types, D);
  if (shape_.patch > 0) slots_.affine("patch", &patch_, D, shape_.patch, shape_.patch_bias);
  if (shape_.first_row) slots_.vector("first.weight", &first_, D);
  if (shape_.embed_norm) slots_.norm("embed_norm", &embed_norm_, stack.norm, D);
  if (shape_.probe) {
    slots_.vector("probe.weight", &probe_query_, D);
    slots_.affine("probe.query", &probe_.query, D, D, true);
    slots_.affine("probe.key", &probe_.key, D, D, true);
    slots_.affine("probe.value", &probe_.value, D, D, true);
    slots_.affine("probe.output", &probe_.output, D, D, true);
    slots_.norm("probe_norm", &probe_.norm, stack.norm, D);
    slots_.affine("probe.up", &probe_up_, stack.hidden, D, stack.mlp_bias);
    slots_.affine("probe.down", &probe_down_, D, stack.hidden, stack.mlp_bias);
  }
  if (shape_.head_norm) slots_.norm("head_norm", &head_norm_, stack.norm, D);
  if (shape_.head_width > 0) slots_.affine("head", &head_, shape_.head_width, D, shape_.head_bias);
}

void Encoder::check_starts(int64_t N, const int32_t* starts, int64_t R) const {
  require(R > 0, "starts_R1", "at least one sequence", R);
  require(starts[0] == 0, "starts_R1", "a first value of 0", starts[0]);
  for (int64_t r = 0; r < R; ++r)
    require(starts[r] < starts[r + 1], "starts_R1", "rising values", starts[r + 1]);
  require(starts[R] == N, "starts_R1", "the number of rows as last value", starts[R]);
}

void Encoder::check_text(const int32_t* ids, int64_t N, const int32_t* starts, int64_t R) const {
  require(shape_.vocab > 0, "ids_N", "a model of texts", 0);
  check_starts(N, starts, R);
  const int64_t most = shape_.positions - shape_.position_offset;
  for (int64_t r = 0; r < R && shape_.positions > 0; ++r)
    require(starts[r + 1] - starts[r] <= most, "starts_R1",
            "at most " + std::to_string(most) + " tokens in a sequence", starts[r + 1] - starts[r]);
  for (int64_t n = 0; n < N; ++n)
    require(ids[n] >= 0 && ids[n] < shape_.vocab, "ids_N",
            "0 <= value < " + std::to_string(shape_.vocab), ids[n]);
}

void Encoder::encode_text(const int32_t* ids, const int32_t* starts, int64_t R, float* out) {
  const FlushDenormals flush;
  const int64_t D = shape_.stack.width, N = starts[R];
  stack_.grow(N);
  fit(embedded_, N * D);
  std::vector<int32_t> position(static_cast<size_t>(N));
  for (int64_t r = 0; r < R; ++r)
    for (int64_t n = starts[r]; n < starts[r + 1]; ++n)
      position[static_cast<size_t>(n)] = static_cast<int32_t>(n - starts[r]);
  workers_.rows(N, [&](int64_t n) {
    float *x = stack_.x() + n * D, *other = &embedded_[n * D];
    workers_.products.decode(embed_, ids[n], x);
    const auto join = [&](const Matrix& table, int64_t row) {
      workers_.products.decode(table, row, other);
      for (int64_t d = 0; d < D; ++d) x[d] += other[d];
    };
    if (shape_.types > 0) join(types_, 0);
    if (shape_.positions > 0)
      join(positions_, position[static_cast<size_t>(n)] + shape_.position_offset);
  });
  run(starts, R, out);
}

void Encoder::encode_images(const float* patches, int64_t B, float* out) {
  const FlushDenormals flush;
  const int64_t D = shape_.stack.width, P = image_patches(), rows = image_rows();
  const int64_t first = rows - P;
  stack_.grow(B * rows);
  fit(embedded_, std::max<int64_t>(B * P, 1) * D);
  workers_.products.multiply({{&patch_, patches, embedded_.data(), false}}, B * P);
  workers_.rows(B * rows, [&](int64_t n) {
    const int64_t image = n / rows, row = n % rows;
    float* x = stack_.x() + n * D;
    workers_.products.decode(positions_, row, x);
    const float* from = row < first ? first_ : &embedded_[(image * P + row - first) * D];
    for (int64_t d = 0; d < D; ++d) x[d] += from[d];
  });
  std::vector<int32_t> starts(static_cast<size_t>(B + 1));
  for (int64_t b = 0; b <= B; ++b) starts[static_cast<size_t>(b)] = static_cast<int32_t>(b * rows);
  run(starts.data(), B, out);
}

void Encoder::run(const int32_t* starts, int64_t R, float* out) {
  const int64_t N = starts[R];
  if (shape_.embed_norm) stack_.norm(embed_norm_, stack_.x(), stack_.x(), N);
  stack_.run(R, starts);
  std::memcpy(out, stack_.x(), static_cast<size_t>(N * shape_.stack.width) * sizeof(float));
}

void Encoder::probe(const float* rows, const int32_t* starts, int64_t R, float* out) {
  const FlushDenormals flush;
  const int64_t D = shape_.stack.width, N = starts[R], H = shape_.stack.heads;
  stack_.grow(std::max(N, R));
  fit(probed_, 2 * R * D);
  fit(embedded_, 2 * N * D);
  float *query = probed_.data(), *mixed = query + R * D;
  float *keys = embedded_.data(), *values = keys + N * D;
  workers_.products.multiply({{&probe_.query, probe_query_, query, false}}, 1);
  for (int64_t r = 1; r < R; ++r) std::copy(query, query + D, query + r * D);
  workers_.products.multiply(
      {{&probe_.key, rows, keys, false}, {&probe_.value, rows, values, false}}, N);
  sheet_.lay(H, D / H, R, starts);
  sheet_.write(workers_, keys, values);
  std::vector<int32_t> each(static_cast<size_t>(R + 1)), zeros(static_cast<size_t>(R));
  for (int64_t r = 0; r <= R; ++r) each[static_cast<size_t>(r)] = static_cast<int32_t>(r);
  AttentionRows seen = sheet_.rows();
  seen.q = query, seen.out = mixed;
  seen.starts = each.data(), seen.positions = zeros.data();
  seen.rule.scale = 1.0f / std::sqrt(static_cast<float>(D / H));
  seen.rule.causal = false;
  workers_.attend.run(seen);
  workers_.products.multiply({{&probe_.output, mixed, out, false}}, R);
  stack_.norm(probe_.norm, out, query, R);
  stack_.through(Affine{}, probe_up_, probe_down_, query, out, R);
}

void Encoder::head(const float* pooled, int64_t B, float* out) {
  const FlushDenormals flush;
  const int64_t D = shape_.stack.width, Z = shape_.head_width;
  if (shape_.head_norm) {
    fit(pooled_, B * D);
    float* normed = Z > 0 ? pooled_.data() : out;
    stack_.norm(head_norm_, pooled, normed, B);
    pooled = normed;
  }
  if (Z == 0) return;
  workers_.products.multiply({{&head_, pooled, out, false}}, B);
  if (shape_.head_tanh)
    for (int64_t i = 0; i < B * Z; ++i) out[i] = std::tanh(out[i]);
}

}  // namespace sparing
