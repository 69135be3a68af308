// One layer's paged keys and values with attention over them, for tests and measurements.
#include "attend.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <memory>

#include "arrays.h"

namespace nb = nanobind;

namespace sparing {
namespace {

template <class Array>
int64_t extent(const Array& array, size_t i) {
  return static_cast<int64_t>(array.shape(i));
}

class PagedAttention {
 public:
  PagedAttention(const std::string& isa, int threads, const std::string& kind, int64_t G, int64_t K,
                 int64_t block_tokens, int64_t blocks)
      : pool_(threads), attend_(isa_named(isa), pool_), blocks_(blocks) {
    for (const int64_t count : {G, K, block_tokens, blocks})
      require(count > 0 && count < (int64_t{1} << 28), "extents: expected 1 to 2^28");
    layout_.kind = kv_kind_named(kind);
    layout_.G = G, layout_.K = K, layout_.block_tokens = block_tokens;
    keys_.reset(new char[static_cast<size_t>(bytes() + 64)]());
    values_.reset(new char[static_cast<size_t>(bytes() + 64)]());
  }

  int64_t bytes() const { return blocks_ * layout_.block_bytes(); }
  int64_t token_bytes() const { return kv_token_bytes(layout_); }

  // Keys and values [T, G, K] of positions `position` and on.
  void write(const In<int32_t, 1>& table, int64_t position, const In<float, 3>& k,
             const In<float, 3>& v) {
    const int64_t T = extent(k, 0), row = layout_.G * layout_.K;
    require(extent(v, 0) == T, "v_TGK: expected as many positions as k_TGK");
    for (const auto* array : {&k, &v})
      require(extent(*array, 1) == layout_.G && extent(*array, 2) == layout_.K,
              "k_TGK, v_TGK: expected the cache's heads");
    check(table, extent(table, 0), position, position + T);
    for (int64_t t = 0; t < T; ++t) {
      const int64_t at = position + t, slot = at % layout_.block_tokens;
      const int64_t block = table.data()[at / layout_.block_tokens];
      kv_write_keys(layout_, keys(), block, slot, k.data() + t * row);
      kv_write_values(layout_, values(), block, slot, v.data() + t * row);
    }
  }

  // What attention computes with, for positions 0 and on.
  void read(const In<int32_t, 1>& table, const Out<float, 3>& k, const Out<float, 3>& v) {
    const int64_t S = extent(k, 0), G = layout_.G, K = layout_.K;
    require(extent(v, 0) == S && extent(k, 1) == G && extent(v, 1) == G && extent(k, 2) == K &&
                extent(v, 2) == K,
            "k_SGK, v_SGK: expected the cache's heads");
    check(table, extent(table, 0), 0, S);
    for (int64_t s = 0; s < S; ++s)
      for (int64_t g = 0; g < G; ++g) {
        const int64_t block = table.data()[s / layout_.block_tokens];
        const int64_t slot = s % layout_.block_tokens;
        kv_read_key(layout_, keys(), block, g, slot, k.data() + (s * G + g) * K);
        kv_read_value(layout_, values(), block, g, slot, v.data() + (s * G + g) * K);
      }
  }

  void attend(const In<float, 3>& q, const In<int32_t, 1>& starts, const In<int32_t, 1>& positions,
              const In<int32_t, 1>& lengths, const In<int32_t, 2>& blocks,
              const Out<float, 3>& out, const nb::dict& options) {
    AttentionRows rows;
    const int64_t N = extent(q, 0);
    rows.H = extent(q, 1), rows.R = extent(blocks, 0), rows.P = extent(blocks, 1);
    require(rows.H > 0 && rows.H % layout_.G == 0 && extent(q, 2) == layout_.K,
            "q_NHK: expected heads in groups of the cache's");
    require(extent(out, 0) == N && extent(out, 1) == rows.H && extent(out, 2) == layout_.K,
            "out_NHK: expected the shape of q_NHK");
    require(extent(positions, 0) == N && extent(lengths, 0) == rows.R &&
                extent(starts, 0) == rows.R + 1 && starts.data()[0] == 0 &&
                starts.data()[rows.R] == N,
            "starts, positions, lengths: expected those of the rows");
    for (int64_t r = 0; r < rows.R; ++r) {
      require(starts.data()[r] < starts.data()[r + 1], "starts_R1: expected rows in each sequence");
      for (int64_t n = starts.data()[r]; n < starts.data()[r + 1]; ++n)
        require(positions.data()[n] == positions.data()[starts.data()[r]] + n - starts.data()[r] &&
                    positions.data()[n] >= 0,
                "positions_N: expected consecutive positions");
      check(blocks, rows.P, 0, lengths.data()[r], r * rows.P);
    }
    rows.q = q.data(), rows.out = out.data();
    rows.starts = starts.data(), rows.positions = positions.data();
    rows.lengths = lengths.data(), rows.blocks = blocks.data();
    rows.layout = layout_, rows.keys = keys(), rows.values = values();
    rule_of(options, rows);
    const nb::gil_scoped_release release;
    const FlushDenormals flush;
    attend_.run(rows);
  }

 private:
  template <class Table>
  void check(const Table& table, int64_t columns, int64_t begin, int64_t end,
             int64_t at = 0) const {
    require(begin >= 0 && end <= columns * layout_.block_tokens,
            "blocks: expected one for each block of positions");
    for (int64_t i = begin / layout_.block_tokens; i * layout_.block_tokens < end; ++i)
      require(table.data()[at + i] >= 0 && table.data()[at + i] < blocks_,
              "blocks: expected blocks of the cache");
  }

  static void rule_of(const nb::dict& options, AttentionRows& rows) {
    AttentionRule& rule = rows.rule;
    rule.scale = nb::cast<float>(options["scale"]);
    rule.causal = nb::cast<bool>(options["causal"]);
    rule.window = nb::cast<int64_t>(options["window"]);
    rule.softcap = nb::cast<float>(options["softcap"]);
    for (auto [name, to] : {std::pair("slopes_H", &rule.slopes), {"sinks_H", &rule.sinks}}) {
      if (nb::handle(options[name]).is_none()) continue;
      const auto array = nb::cast<In<float, 1>>(options[name], false);
      require(extent(array, 0) == rows.H, std::string(name) + ": expected one for each head");
      *to = array.data();
    }
    if (nb::handle(options["bias_HC"]).is_none()) return;
    const auto bias = nb::cast<In<float, 2>>(options["bias_HC"], false);
    rule.bias_stride = extent(bias, 1);
    const int64_t farthest = (rule.bias_stride - 1) / 2;  // distances -farthest .. farthest
    require(extent(bias, 0) == rows.H && rule.bias_stride % 2 == 1,
            "bias_HC: expected a row of distances -C/2 to C/2 for each head");
    for (int64_t r = 0; r < rows.R; ++r)
      require(rows.lengths[r] <= farthest + 1 &&
                  rows.positions[rows.starts[r + 1] - 1] <= farthest,
              "bias_HC: expected every distance");
    rule.bias = bias.data() + farthest;
  }

  char* keys() const { return line_of(keys_.get()); }
  char* values() const { return line_of(values_.get()); }
  static char* line_of(char* p) { return p + (64 - reinterpret_cast<uintptr_t>(p) % 64) % 64; }

  Pool pool_;
  Attend attend_;
  KvLayout layout_;
  int64_t blocks_;
  std::unique_ptr<char[]> keys_, values_;
};

}  // namespace

void bind_attention(nb::module_& module) {
  nb::class_<PagedAttention>(module, "PagedAttention")
      .def(nb::init<const std::string&, int, const std::string&, int64_t, int64_t, int64_t,
                    int64_t>())
      .def("write", &PagedAttention::write)
      .def("read", &PagedAttention::read)
      .def("attend", &PagedAttention::attend)
      .def_prop_ro("bytes", &PagedAttention::bytes)
      .def_prop_ro("token_bytes", &PagedAttention::token_bytes);
}

}  // namespace sparing
