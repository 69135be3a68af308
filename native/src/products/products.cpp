#include "products.h"

#include <algorithm>
#include <stdexcept>

namespace sparing {
namespace {

constexpr int64_t unit = panel_rows;  // output rows that are not divided

// Output rows per task: some four tasks a thread, none so small that handing it out shows.
int64_t chunk_of(const Product& product, int threads) {
  const Matrix& w = product.map->weight;
  const int64_t even = w.Z / (4 * threads);
  const int64_t least = 16384 / (w.D * std::min<int64_t>(product.N, 64)) + 1;
  return (std::max(even, least) + unit - 1) / unit * unit;
}

int64_t tasks_of(const Product& product, int threads) {
  if (product.N == 0) return 0;
  const int64_t chunk = chunk_of(product, threads);
  return (product.map->weight.Z + chunk - 1) / chunk;
}

template <class Number>
void grow(std::vector<Number>* numbers, int64_t count) {
  if (static_cast<int64_t>(numbers->size()) < count) numbers->resize(static_cast<size_t>(count));
}

}  // namespace

Products::Products(Isa isa, Activations activations, Pool* pool)
    : linear_(linear_for(isa)),
      packed_(packed_linear_for(isa)),
      activations_(activations),
      pool_(pool),
      scratch_(static_cast<size_t>(pool->threads())) {}

Matrix Products::adopt(const Matrix& plain) {
  if (plain.packed && activations_ == Activations::exact)
    throw std::invalid_argument("packed weights: expected int8 activations, got exact");
  if (plain.packed && plain.layout != packed_.layout)
    throw std::invalid_argument("packed weights: packed for another instruction set");
  const bool packable = packed_group(plain.kind, plain.D, plain.group) > 0;
  if (plain.packed || activations_ == Activations::exact || !packable) return plain;
  Matrix form = packed_form(plain, packed_.layout);
  uint8_t* data = store_.take(packed_bytes(form));
  constexpr int64_t chunk = 4;
  const int64_t panels = panels_of(form.Z);
  pool_->run((panels + chunk - 1) / chunk, [&](int64_t task, int) {
    const int64_t end = std::min(panels, (task + 1) * chunk);
    pack(plain, form, task * chunk, end, data);
  });
  form.data = data;
  return form;
}

void Products::decode(const Matrix& w, int64_t z, float* row) const {
  if (w.packed)
    decode_packed(w, z, row);
  else
    linear_.decode(w, z, row);
}

void Products::multiply(std::initializer_list<Product> products, int64_t N) {
  asked_.assign(products);
  for (Product& product : asked_) product.N = N;
  multiply(asked_);
}

// Packed weights take rows of x as they are, as bf16 or as codes: each made once.
const Rows& Products::rows_for(const Product& product) {
  const Matrix& w = product.map->weight;
  const Kind kind = w.kind == Kind::bf16 && !packed_.narrow_rows ? Kind::fp32 : w.kind;
  const int64_t group = has_codes(kind) ? w.group : w.D;
  for (size_t i = 0; i < in_use_; ++i) {
    const Prepared& had = prepared_[i];
    if (had.x == product.x && had.N == product.N && had.D == w.D && had.group == group &&
        had.kind == kind)
      return had.rows;
  }
  Prepared& made = prepared_[in_use_++];
  made.x = product.x, made.N = product.N, made.D = w.D, made.group = group, made.kind = kind;
  fill(&made);
  return made.rows;
}

void Products::fill(Prepared* to) {
  const int64_t N = to->N, D = to->D, J = D / to->group;
  to->rows = Rows();
  to->rows.N = N, to->rows.x = to->x;
  if (to->kind == Kind::fp32) return;
  constexpr int64_t chunk = 4;  // rows per task
  const int64_t tasks = (N + chunk - 1) / chunk;
  const auto each = [&](const auto& row) {
    pool_->run(tasks, [&](int64_t task, int) {
      for (int64_t n = task * chunk; n < std::min(N, (task + 1) * chunk); ++n) row(n);
    });
  };
  if (to->kind == Kind::bf16) {
    const int64_t even = (D + 1) / 2 * 2;
    grow(&to->bits, N * even);
    each([&](int64_t n) { packed_.narrow(to->x + n * D, D, &to->bits[n * even]); });
    to->rows.bits = to->bits.data();
    return;
  }
  const int64_t starts = starts_of(to->kind, packed_.layout, D, to->group);
  const int32_t zero = zero_of(to->kind, packed_.layout);
  grow(&to->code, N * D), grow(&to->scale, N * J), grow(&to->sum, N * J);
  grow(&to->start, N * starts);
  each([&](int64_t n) {
    const RowCodes row = {&to->code[n * D], &to->scale[n * J], &to->sum[n * J],
                          &to->start[n * starts]};
    packed_.quantise(to->x + n * D, D, to->group, zero, row);
  });
  to->rows.code = to->code.data(), to->rows.scale = to->scale.data();
  to->rows.sum = to->sum.data(), to->rows.start = to->start.data();
}

void Products::multiply(const std::vector<Product>& products) {
  const int threads = pool_->threads();
  int64_t total = 0, widest = 0;
  in_use_ = 0;
  if (prepared_.size() < products.size()) prepared_.resize(products.size());
  rows_.assign(products.size(), nullptr);
  for (size_t i = 0; i < products.size(); ++i) {
    const Matrix& w = products[i].map->weight;
    if (products[i].N == 0) continue;
    total += tasks_of(products[i], threads);
    if (w.packed)
      rows_[i] = &rows_for(products[i]);
    else
      widest = std::max(widest, w.D);
  }
  for (auto& scratch : scratch_) grow(&scratch, linear_tile * widest);
  pool_->run(total, [&](int64_t task, int thread) {
    size_t i = 0;
    while (task >= tasks_of(products[i], threads)) task -= tasks_of(products[i++], threads);
    const Product& product = products[i];
    const Matrix& w = product.map->weight;
    const int64_t chunk = chunk_of(product, threads), begin = task * chunk;
    const int64_t end = std::min(w.Z, begin + chunk);
    if (rows_[i])
      packed_.product(w, product.map->bias, *rows_[i], product.y, product.add, begin / unit,
                      panels_of(end));
    else
      linear_.product(w, product.map->bias, product.x, product.N, product.y, w.Z, product.add,
                      begin, end, scratch_[static_cast<size_t>(thread)].data());
  });
}

}  // namespace sparing
