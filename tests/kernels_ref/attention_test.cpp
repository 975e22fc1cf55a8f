#include "kernels_ref/attention/attention.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <utility>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"
#include "tests/kernels_ref/attention_support.hpp"

namespace ospsim {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

template <class B>
class Attention : public testing::Test {
 public:
  static constexpr Backend backend = B::value;
  static constexpr double tolerance = backend == Backend::naive ? 1e-12 : 2e-6;
};
using Backends = testing::Types<std::integral_constant<Backend, Backend::naive>,
                                std::integral_constant<Backend, Backend::cpu>>;
TYPED_TEST_SUITE(Attention, Backends);

// ---- Hand-sized numbers ------------------------------------------------------------------------

TYPED_TEST(Attention, OneQueryTwoKeys) {
  // Logits 0 and ln 3, so weights 1/4 and 3/4; o = 4/4 + 3*8/4 = 7.
  const double ln3 = std::log(3.0);
  const Inputs inputs{{1, 1, 2, 1}, {1}, {0, ln3}, {4, 8}, {1}};
  const auto r = run_attention<TestFixture::backend>(group_of_all(1, 2), inputs);
  const auto near = [&](const auto& actual, const std::vector<double>& expected) {
    EXPECT_LT(relative_l2(actual, expected), TestFixture::tolerance);
  };
  near(r.o, {7});
  near(r.lse, {std::log(4.0)});
  near(r.dv, {0.25, 0.75});
  // d_logit = p * (d_o . v - d_o . o) = (1/4 * (4 - 7), 3/4 * (8 - 7))
  near(r.dk, {-0.75, 0.75});
  near(r.dq, {0.75 * ln3});
}

TYPED_TEST(Attention, LogitsAreScaledByTheSquareRootOfHeadDim) {
  // Three keys; q . k / sqrt(4) = 0, ln 2, ln 5: weights 1/8, 2/8, 5/8.
  const Inputs inputs{{1, 1, 3, 4},
                      {2, 0, 0, 2},
                      {0, 9, 9, 0, std::log(2.0), 9, 9, 0, 0, 9, 9, std::log(5.0)},
                      {8, 0, 0, 1, 0, 8, 0, 1, 0, 0, 8, 1},
                      {0, 0, 0, 0}};
  const auto r = run_attention<TestFixture::backend>(group_of_all(1, 3), inputs);
  EXPECT_LT(relative_l2(r.o, std::vector<double>{1, 2, 5, 1}), TestFixture::tolerance);
  EXPECT_LT(relative_l2(r.lse, std::vector<double>{std::log(8.0)}), TestFixture::tolerance);
}

TYPED_TEST(Attention, QueriesWithoutKeysGiveZerosNotNan) {
  Inputs inputs = random_inputs({2, 3, 2, 5});
  const auto r = run_attention<TestFixture::backend>({{{0, 2}, {}}, {{1}, {0, 1}}}, inputs);
  for (std::size_t head = 0; head < 2; ++head)
    for (const std::size_t row : {0u, 2u}) {
      EXPECT_EQ(r.lse[head * 3 + row], -infinity);
      for (std::size_t d = 0; d < 5; ++d) {
        EXPECT_EQ(r.o[(head * 3 + row) * 5 + d], 0);
        EXPECT_EQ(r.dq[(head * 3 + row) * 5 + d], 0);
      }
    }
  for (const auto* values : {&r.o, &r.dq, &r.dk, &r.dv})
    for (const auto value : *values) EXPECT_TRUE(std::isfinite(value));
}

TYPED_TEST(Attention, KeysWithoutQueriesGetZeroGradients) {
  const auto r = run_attention<TestFixture::backend>({{{}, {0, 1}}}, random_inputs({1, 2, 2, 3}));
  for (const auto* values : {&r.dk, &r.dv})
    for (const auto value : *values) EXPECT_EQ(value, 0);
}

TYPED_TEST(Attention, RowsNoGroupNamesStayUntouched) {
  const auto r = run_attention<TestFixture::backend>({{{1}, {0}}}, random_inputs({1, 3, 2, 1}));
  for (const std::size_t row : {0u, 2u}) {
    EXPECT_EQ(r.o[row], untouched);
    EXPECT_EQ(r.lse[row], untouched);
    EXPECT_EQ(r.dq[row], untouched);
  }
  EXPECT_EQ(r.dk[1], untouched);
  EXPECT_EQ(r.dv[1], untouched);
}

// ---- Against a dense masked softmax, the mask built without layouts ----------------------------

struct PatternCase {
  const char* name;
  std::int64_t ratio;
  Grid grid;
};

const PatternCase pattern_cases[] = {
    {"full", 1, {2, 3, 5}},        {"skiparse-1d", 2, {2, 3, 5}}, {"skiparse-1d", 3, {1, 4, 7}},
    {"skiparse-2d", 2, {2, 5, 7}}, {"skiparse-2d", 3, {1, 9, 9}}, {"skiparse-3d", 2, {5, 4, 6}},
    {"window", 2, {3, 5, 8}},      {"2+1d", 1, {3, 4, 5}},        {"skip+window", 4, {2, 3, 5}},
};

Layout layout_of(const PatternCase& c, Phase phase) {
  return Layout(parse_pattern(c.name, {c.ratio, c.ratio, c.ratio}), c.grid, phase);
}

/// The name of a token's sub-sequence, from the definitions of design section 2.
std::vector<std::int64_t> subsequence_name(const PatternCase& c, Phase phase, std::int64_t i) {
  const std::int64_t k = c.ratio, t = i / (c.grid.h * c.grid.w), y = i / c.grid.w % c.grid.h,
                     x = i % c.grid.w;
  const bool token = phase == Phase::token;
  const auto digit = [&](std::int64_t n) { return (token ? n : n / k) % k; };
  const auto tile = [&](std::int64_t n, std::int64_t extent) { return n / ((extent + k - 1) / k); };
  const std::string_view name = c.name;
  if (name == "skiparse-1d") return {digit(i)};
  if (name == "skiparse-2d") return {digit(y), digit(x)};
  if (name == "skiparse-3d") return {digit(t), digit(y), digit(x)};
  if (name == "window") return {tile(t, c.grid.t), tile(y, c.grid.h), tile(x, c.grid.w)};
  if (name == "2+1d") return token ? std::vector{t} : std::vector{y, x};
  if (name == "skip+window") return {token ? i % k : i / k};
  return {};
}

TYPED_TEST(Attention, EqualsDenseMaskedSoftmaxForEveryPattern) {
  for (const auto& c : pattern_cases)
    for (const Phase phase : {Phase::token, Phase::group}) {
      const std::int64_t n = c.grid.tokens();
      Eigen::MatrixXd mask(n, n);
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j)
          mask(i, j) = subsequence_name(c, phase, i) == subsequence_name(c, phase, j);
      const Inputs inputs = random_inputs({2, n, n, 8});
      const auto groups = groups_in_place(layout_of(c, phase));
      EXPECT_LT(worst_error(run_attention<TestFixture::backend>(groups, inputs),
                            dense_attention<double>(mask, inputs)),
                TestFixture::tolerance)
          << c.name << ' ' << to_string(phase);
      EXPECT_EQ(attended_pairs(groups), static_cast<Count>(mask.sum()));
    }
}

TYPED_TEST(Attention, CrossAttentionEqualsDenseSoftmax) {
  const Inputs inputs = random_inputs({3, 11, 7, 6});
  EXPECT_LT(worst_error(run_attention<TestFixture::backend>(group_of_all(11, 7), inputs),
                        dense_attention<double>(Eigen::MatrixXd::Ones(11, 7), inputs)),
            TestFixture::tolerance);
}

TEST(AttentionNaive, BackwardEqualsFiniteDifferences) {
  Inputs inputs = random_inputs({2, 4, 5, 3});
  const std::vector<AttentionGroup> groups{{{0, 3}, {1, 2, 4}}, {{1}, {0}}, {{2}, {}}};
  const auto loss = [&] {
    const auto r = run_attention<Backend::naive>(groups, inputs);
    double sum = 0;
    for (std::size_t i = 0; i < r.o.size(); ++i) sum += r.o[i] * inputs.d_o[i];
    return sum;
  };
  const auto r = run_attention<Backend::naive>(groups, inputs);
  const auto check = [&](std::vector<double>& input, std::size_t i, double gradient) {
    const double step = 1e-5, value = input[i];
    input[i] = value + step;
    const double above = loss();
    input[i] = value - step;
    const double below = loss();
    input[i] = value;
    EXPECT_NEAR(gradient == untouched ? 0 : gradient, (above - below) / (2 * step), 1e-8);
  };
  for (std::size_t i = 0; i < inputs.q.size(); ++i) check(inputs.q, i, r.dq[i]);
  for (std::size_t i = 0; i < inputs.k.size(); ++i) check(inputs.k, i, r.dk[i]);
  for (std::size_t i = 0; i < inputs.v.size(); ++i) check(inputs.v, i, r.dv[i]);
}

// ---- Identities --------------------------------------------------------------------------------

TYPED_TEST(Attention, RatioOneIsFullAttentionToTheBit) {
  const Grid grid{2, 7, 11};
  const Inputs inputs = random_inputs({2, grid.tokens(), grid.tokens(), 16});
  const auto full =
      run_attention<TestFixture::backend>(group_of_all(grid.tokens(), grid.tokens()), inputs);
  for (const char* pattern : {"full", "skiparse-1d", "skiparse-2d", "skiparse-3d", "window"})
    for (const Phase phase : {Phase::token, Phase::group}) {
      const Layout layout = layout_of({pattern, 1, grid}, phase);
      EXPECT_EQ(run_attention<TestFixture::backend>(groups_in_place(layout), inputs), full)
          << pattern;
      EXPECT_EQ(run_attention<TestFixture::backend>(groups_rearranged(layout), inputs), full)
          << pattern;
    }
}

TYPED_TEST(Attention, RearrangedEqualsInPlaceToTheBitAndPaddingIsZero) {
  using T = Real<TestFixture::backend>;
  constexpr std::int64_t head_dim = 8;
  for (const auto& c : pattern_cases)
    for (const Phase phase : {Phase::token, Phase::group}) {
      const Layout layout = layout_of(c, phase);
      const std::int64_t n = c.grid.tokens(), padded = layout.padded_tokens();
      const Inputs inputs = random_inputs({1, n, n, head_dim});
      const auto row_of = [&](std::int64_t token) {
        const Place place = layout.place(token);
        return place.subsequence * layout.subsequence_length() + place.slot;
      };
      // What stands in padding must not matter, not even if it is not a number.
      const auto rearranged = [&](const std::vector<double>& from) {
        std::vector<double> to(static_cast<std::size_t>(padded * head_dim), NAN);
        for (std::int64_t i = 0; i < n; ++i)
          std::copy_n(from.begin() + i * head_dim, head_dim, to.begin() + row_of(i) * head_dim);
        return to;
      };
      const auto in_place = run_attention<TestFixture::backend>(groups_in_place(layout), inputs);
      const auto r = run_attention<TestFixture::backend>(groups_rearranged(layout),
                                                         {{1, padded, padded, head_dim},
                                                          rearranged(inputs.q),
                                                          rearranged(inputs.k),
                                                          rearranged(inputs.v),
                                                          rearranged(inputs.d_o)});
      std::vector<bool> valid(static_cast<std::size_t>(padded));
      for (std::int64_t i = 0; i < n; ++i) {
        valid[static_cast<std::size_t>(row_of(i))] = true;
        const auto same = [&](const std::vector<T>& a, const std::vector<T>& b) {
          return std::equal(a.begin() + i * head_dim, a.begin() + (i + 1) * head_dim,
                            b.begin() + row_of(i) * head_dim);
        };
        ASSERT_TRUE(same(in_place.o, r.o)) << c.name;
        ASSERT_TRUE(same(in_place.dq, r.dq)) << c.name;
        ASSERT_TRUE(same(in_place.dk, r.dk)) << c.name;
        ASSERT_TRUE(same(in_place.dv, r.dv)) << c.name;
      }
      for (std::size_t row = 0; row < valid.size(); ++row)
        if (!valid[row]) {
          EXPECT_EQ(r.lse[row], -infinity);
          EXPECT_EQ(r.o[row * head_dim], 0);
          EXPECT_EQ(r.dq[row * head_dim], 0);
          EXPECT_EQ(r.dk[row * head_dim], untouched);
        }
    }
}

TYPED_TEST(Attention, LseIsOptional) {
  const auto o_with =
      run_attention<TestFixture::backend>(group_of_all(3, 3), random_inputs({1, 3, 3, 2})).o;
  using T = Real<TestFixture::backend>;
  const Inputs inputs = random_inputs({1, 3, 3, 2});
  const auto q = converted<T>(inputs.q), k = converted<T>(inputs.k), v = converted<T>(inputs.v);
  std::vector<T> o(6);
  attention_forward<TestFixture::backend>(
      group_of_all(3, 3), heads_first(q.data(), 1, 3, 2), heads_first(k.data(), 1, 3, 2),
      heads_first(v.data(), 1, 3, 2), heads_first(o.data(), 1, 3, 2), {});
  EXPECT_EQ(o, o_with);
}

// ---- Costs -------------------------------------------------------------------------------------

TEST(AttentionCost, CountsPairs) {
  const Layout layout(parse_pattern("skiparse-2d", {2, 2, 2}), {21, 45, 80}, Phase::token);
  // Two sub-sequences of 23 rows of 40 in 21 frames, two of 22 rows (paper section 3).
  const Count pairs = 2 * (Count{19320} * 19320 + Count{18480} * 18480);
  EXPECT_EQ(attended_pairs(groups_in_place(layout)), pairs);
  EXPECT_EQ(attended_pairs(groups_rearranged(layout)), pairs);
  EXPECT_EQ(attended_pairs(layout), pairs);
  const Cost forward = attention_forward_cost(Count{75600} * 75600, 40, 75600, 75600, 128, 2);
  EXPECT_DOUBLE_EQ(forward.flops, 4.0 * 75600 * 75600 * 5120);
  EXPECT_DOUBLE_EQ(forward.bytes, 4.0 * 75600 * 5120 * 2);
  const Cost backward = attention_backward_cost(6, 2, 3, 2, 5, 4);
  EXPECT_DOUBLE_EQ(backward.flops, 10.0 * 6 * 2 * 5);
  EXPECT_DOUBLE_EQ(backward.bytes, (4 * 3 + 4 * 2) * 2 * 5 * 4);
}

// ---- Bad input ---------------------------------------------------------------------------------

TYPED_TEST(Attention, RejectsWrongSizes) {
  using T = Real<TestFixture::backend>;
  std::vector<T> data(64), lse(8);
  const auto forward = [&](std::vector<AttentionGroup> groups, std::int64_t q_rows,
                           std::int64_t k_rows, std::int64_t v_rows, std::int64_t v_dim,
                           std::size_t lse_size) {
    attention_forward<TestFixture::backend>(groups, heads_first<const T>(data.data(), 1, q_rows, 4),
                                            heads_first<const T>(data.data(), 1, k_rows, 4),
                                            heads_first<const T>(data.data(), 1, v_rows, v_dim),
                                            heads_first(data.data(), 1, q_rows, 4),
                                            std::span(lse).first(lse_size));
  };
  EXPECT_NO_THROW(forward(group_of_all(3, 2), 3, 2, 2, 4, 3));
  EXPECT_THROW(forward(group_of_all(3, 2), 3, 2, 1, 4, 3), std::invalid_argument);
  EXPECT_THROW(forward(group_of_all(3, 2), 3, 2, 2, 3, 3), std::invalid_argument);
  EXPECT_THROW(forward(group_of_all(3, 2), 3, 2, 2, 4, 2), std::invalid_argument);
  EXPECT_THROW(forward({{{3}, {0}}}, 3, 2, 2, 4, 3), std::invalid_argument);
  EXPECT_THROW(forward({{{0}, {-1}}}, 3, 2, 2, 4, 3), std::invalid_argument);
  EXPECT_THROW(forward({{{0}, {0}}, {{0}, {1}}}, 3, 2, 2, 4, 3), std::invalid_argument);
  EXPECT_THROW(
      run_attention<TestFixture::backend>({{{0}, {0}}, {{1}, {0}}}, random_inputs({1, 2, 1, 1})),
      std::invalid_argument);
}

TEST(AttentionCuda, SaysWhatItLacks) {
  EXPECT_THROW(run_attention<Backend::cuda>(group_of_all(1, 1), random_inputs({})),
               UnavailableError);
}

}  // namespace
}  // namespace ospsim
