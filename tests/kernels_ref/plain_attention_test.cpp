#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "kernels_ref/attention/plain_kernel.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/index.hpp"
#include "tests/kernels_ref/attention_support.hpp"
#include "tests/kernels_ref/host_launch.hpp"

namespace ospsim {
namespace {

constexpr float poison = NAN;  // of what must not be read

/// How the rows of q, k, v and o lie in memory.
enum class Lie { heads_first, rows_first, side_by_side };

/// A tensor with NaNs between its rows.
template <class T>
class Array {
 public:
  Array(Lie lie, std::int64_t heads, std::int64_t rows, std::int64_t head_dim)
      : view_(heads_first<T>(nullptr, heads, rows, head_dim)) {
    if (lie != Lie::heads_first) view_ = rows_first<T>(nullptr, heads, rows, head_dim);
    if (lie == Lie::side_by_side) view_.row_stride *= 3;
    narrow(poison, blank_);
    data_.assign(index(3 * heads * rows * head_dim), blank_);
    view_.data = data_.data();
  }
  HeadTensor<T> view() const { return view_; }
  void fill(const std::vector<double>& values) {
    std::size_t next = 0;
    each([&](T& x) { narrow(static_cast<float>(values[next++]), x); });
  }
  /// In [heads, rows, head_dim] order.
  std::vector<float> values() {
    std::vector<float> all;
    each([&](T& x) { all.push_back(to_float(x)); });
    return all;
  }

 private:
  template <class F>
  void each(const F& f) {
    for (std::int64_t head = 0; head < view_.heads; ++head)
      for (std::int64_t row = 0; row < view_.rows; ++row)
        for (std::int64_t d = 0; d < view_.head_dim; ++d) f(view_.row(head, row)[d]);
  }

  HeadTensor<T> view_;
  T blank_{};
  std::vector<T> data_;
};

struct Outputs {
  std::vector<float> o, lse;
  friend bool operator==(const Outputs&, const Outputs&) = default;
};

template <class T, int MostChannels = 128>
Outputs plain(const std::vector<AttentionGroup>& groups, const Inputs& inputs,
              Lie lie = Lie::heads_first, LaneOrder order = LaneOrder::ascending,
              bool with_lse = true) {
  const auto [heads, queries, keys, head_dim] = inputs.sizes;
  Array<T> q(lie, heads, queries, head_dim), k(lie, heads, keys, head_dim),
      v(lie, heads, keys, head_dim), o(lie, heads, queries, head_dim);
  q.fill(inputs.q);
  k.fill(inputs.k);
  v.fill(inputs.v);
  o.fill(std::vector<double>(index(inputs.sizes.query_elements()), untouched));
  std::vector<float> lse(index(heads * queries), untouched);
  const KeyLists lists(groups);
  host_launch(PlainAttention<T, MostChannels>{.q = q.view(),
                                              .k = k.view(),
                                              .v = v.view(),
                                              .o = o.view(),
                                              .lse = with_lse ? lse.data() : nullptr,
                                              .queries = lists.queries.data(),
                                              .query_count = std::ssize(lists.queries),
                                              .keys = lists.keys.data()},
              order);
  return {o.values(), lse};
}

struct Exact {
  std::vector<double> o, lse;
};

Exact naive(const std::vector<AttentionGroup>& groups, const Inputs& inputs) {
  const auto [heads, queries, keys, head_dim] = inputs.sizes;
  Exact r{std::vector<double>(inputs.q.size(), untouched),
          std::vector<double>(index(heads * queries), untouched)};
  attention_forward<Backend::naive>(groups, heads_first(inputs.q.data(), heads, queries, head_dim),
                                    heads_first(inputs.k.data(), heads, keys, head_dim),
                                    heads_first(inputs.v.data(), heads, keys, head_dim),
                                    heads_first(r.o.data(), heads, queries, head_dim), r.lse);
  return r;
}

/// Of lse, which is -infinity where a query has no keys: there both must be.
double lse_error(std::vector<float> lse, std::vector<double> exact) {
  for (std::size_t i = 0; i < exact.size(); ++i)
    if (std::isinf(exact[i]) && std::isinf(lse[i]) && lse[i] < 0) exact[i] = lse[i] = 0;
  return relative_l2(lse, exact);
}

template <int MostChannels = 128>
void expect_exact(const std::vector<AttentionGroup>& groups, const Inputs& inputs) {
  const Exact exact = naive(groups, inputs);
  const Outputs got = plain<float, MostChannels>(groups, inputs);
  const double allowed = float_tolerance(inputs.sizes.keys);
  EXPECT_LT(relative_l2(got.o, exact.o), allowed);
  EXPECT_LT(lse_error(got.lse, exact.lse), allowed);
}

std::vector<Layout> ragged_layouts() {
  std::vector<Layout> layouts;
  for (const auto& [pattern, ratio, grid] :
       {std::tuple<const char*, std::int64_t, Grid>{"full", 1, {2, 3, 5}},
        {"skiparse-1d", 2, {3, 3, 5}},
        {"skiparse-1d", 3, {1, 4, 7}},
        {"skiparse-2d", 2, {2, 5, 7}},
        {"skiparse-2d", 3, {1, 7, 8}}})
    for (const Phase phase : {Phase::token, Phase::group})
      layouts.emplace_back(parse_pattern(pattern, {ratio, ratio, ratio}), grid, phase);
  return layouts;
}

TEST(PlainAttention, EqualsNaiveInPlace) {
  for (const Layout& layout : ragged_layouts()) {
    const std::int64_t n = layout.grid().tokens();
    expect_exact(groups_in_place(layout), random_inputs({2, n, n, 32}));
  }
}

TEST(PlainAttention, EqualsNaiveRearrangedAndReadsNoPadding) {
  for (const Layout& layout : ragged_layouts()) {
    const std::int64_t n = layout.padded_tokens(), head_dim = 16;
    const auto groups = groups_rearranged(layout);
    Inputs inputs = random_inputs({1, n, n, head_dim});
    for (const auto& group : groups)
      if (group.keys.empty())
        for (const auto row : group.queries)
          for (auto* values : {&inputs.q, &inputs.k, &inputs.v})
            std::fill_n(values->begin() + row * head_dim, head_dim, poison);
    expect_exact(groups, inputs);
  }
}

TEST(PlainAttention, AnyHeadDim) {
  for (const std::int64_t head_dim : {1, 32, 64, 80, 127, 128})
    expect_exact(group_of_all(5, 9), random_inputs({2, 5, 9, head_dim}));
  for (const std::int64_t head_dim : {64, 200, 256})
    expect_exact<256>(group_of_all(5, 9), random_inputs({2, 5, 9, head_dim}));
}

TEST(PlainAttention, CrossAttentionOfAnyLength) {
  for (const std::int64_t keys : {1, 2, 3, 4, 5, 7, 8, 33})
    expect_exact(group_of_all(6, keys), random_inputs({2, 6, keys, 64}));
}

TEST(PlainAttention, QueriesWithoutKeysAndRowsThatNobodyNames) {
  const Inputs inputs = random_inputs({2, 4, 2, 48});
  const std::vector<AttentionGroup> groups{{{0, 2}, {}}, {{3}, {1}}, {{}, {0}}};
  expect_exact(groups, inputs);
  const Outputs got = plain<float>(groups, inputs);
  for (const std::size_t head : {0u, 1u})
    for (std::size_t d = 0; d < 48; ++d) {
      EXPECT_EQ(got.o[(head * 4 + 0) * 48 + d], 0);
      EXPECT_EQ(got.o[(head * 4 + 1) * 48 + d], untouched);
    }
  host_launch(PlainAttention<float>{});  // of nothing
}

TEST(PlainAttention, ReadsAnyStridesAndSharedKeysToTheBit) {
  const Inputs inputs = random_inputs({3, 6, 5, 80});
  const std::vector<AttentionGroup> groups{{{5, 0}, {4, 1, 2}}, {{2, 3}, {1, 4}}};
  const Outputs expected = plain<float>(groups, inputs);
  for (const Lie lie : {Lie::rows_first, Lie::side_by_side})
    EXPECT_EQ(plain<float>(groups, inputs, lie), expected);
  EXPECT_LT(relative_l2(expected.o, naive(groups, inputs).o), float_tolerance(5));
  const Outputs without = plain<float>(groups, inputs, Lie::rows_first, {}, false);
  EXPECT_EQ(without.o, expected.o);
}

TEST(PlainAttention, NeedsNoBarriers) {
  const Layout layout(parse_pattern("skiparse-2d", {2, 2, 2}), {1, 5, 3}, Phase::token);
  const Inputs inputs = random_inputs({2, 15, 15, 40});
  const Outputs expected = plain<float>(groups_in_place(layout), inputs);
  for (const LaneOrder order : lane_orders)
    EXPECT_EQ(plain<float>(groups_in_place(layout), inputs, Lie::rows_first, order), expected);
}

TEST(PlainAttention, LargeLogitsDoNotOverflow) {
  const Inputs inputs = random_inputs({1, 4, 21, 64}, 3, 30);
  const Exact exact = naive(group_of_all(4, 21), inputs);
  const Outputs got = plain<float>(group_of_all(4, 21), inputs);
  EXPECT_LT(relative_l2(got.o, exact.o), 1e-3);  // float32 knows logits of 2,000 to 1e-4
  for (const float x : got.o) EXPECT_TRUE(std::isfinite(x));
}

TEST(PlainAttention, NanReachesTheOutput) {
  Inputs inputs = random_inputs({1, 3, 6, 16});
  inputs.q[16] = NAN;
  const Outputs got = plain<float>(group_of_all(3, 6), inputs);
  for (std::size_t i = 0; i < got.o.size(); ++i) EXPECT_EQ(std::isnan(got.o[i]), i / 16 == 1);
}

TEST(PlainAttention, AFullVideoOfKeys) {
  expect_exact(group_of_all(1, 80640), random_inputs({1, 1, 80640, 128}));
}

TEST(PlainAttention, Bfloat16IsOneRoundingAwayFromExact) {
  Inputs inputs = random_inputs({2, 12, 40, 128});
  for (auto* values : {&inputs.q, &inputs.k, &inputs.v})
    for (double& x : *values) x = round_to_bf16(static_cast<float>(x));
  const Exact exact = naive(group_of_all(12, 40), inputs);
  const Outputs got = plain<Bfloat16>(group_of_all(12, 40), inputs, Lie::side_by_side);
  auto rounded = converted<float>(exact.o);
  for (float& x : rounded) x = round_to_bf16(x);
  EXPECT_LT(relative_l2(got.o, exact.o), 2 * relative_l2(rounded, exact.o));
  EXPECT_LT(lse_error(got.lse, exact.lse), float_tolerance(40));
}

TEST(PlainAttention, CostCountsPairsAndRows) {
  const float* const none = nullptr;
  const PlainAttention<float> kernel{.q = heads_first(none, 2, 10, 16),
                                     .k = heads_first(none, 2, 7, 16),
                                     .v = {},
                                     .o = {},
                                     .query_count = 3,
                                     .pairs = 20};
  EXPECT_DOUBLE_EQ(kernel.cost().flops, 4.0 * 20 * 2 * 16);
  EXPECT_DOUBLE_EQ(kernel.cost().bytes, (2 * 3 + 2 * 7) * 2 * 16 * 4.0);
  EXPECT_EQ(kernel.blocks(), 2);
}

/// The cuda back end, which is this kernel.
TEST(AttentionCuda, EqualsNaiveOnADevice) {
  if (const CudaStatus status = cuda_status(); !status.available) GTEST_SKIP() << status.reason;
  for (const std::int64_t head_dim : {80, 128, 200})
    for (const Layout& layout : ragged_layouts()) {
      const std::int64_t n = layout.grid().tokens();
      Inputs inputs = random_inputs({2, n, n, head_dim});
      auto groups = groups_in_place(layout);
      groups.front().queries.pop_back();
      groups.front().keys.clear();
      const Exact exact = naive(groups, inputs);
      const auto q = converted<float>(inputs.q), k = converted<float>(inputs.k),
                 v = converted<float>(inputs.v);
      Outputs got{std::vector<float>(q.size(), untouched),
                  std::vector<float>(index(2 * n), untouched)};
      attention_forward<Backend::cuda>(groups, heads_first(q.data(), 2, n, head_dim),
                                       heads_first(k.data(), 2, n, head_dim),
                                       heads_first(v.data(), 2, n, head_dim),
                                       heads_first(got.o.data(), 2, n, head_dim), got.lse);
      EXPECT_LT(relative_l2(got.o, exact.o), float_tolerance(n));
      EXPECT_LT(lse_error(got.lse, exact.lse), float_tolerance(n));
    }
}

}  // namespace
}  // namespace ospsim
