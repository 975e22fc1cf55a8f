#include "kernels_ref/block/dit_block.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels_ref/errors.hpp"
#include "tests/kernels_ref/dit_block_support.hpp"

namespace ospsim {
namespace {

/// A block on a grid laid out by one phase of Skiparse-2D, padded and rearranged or in place.
struct Problem {
  DitBlockShape shape;
  DitBlockWeights<double> weights;
  std::vector<double> x, text, modulation, dy;
  std::vector<AttentionGroup> groups;
  std::vector<TokenPosition> positions;
};

Problem problem_in_place(const Layout& layout, DitBlockShape shape) {
  shape.rows = layout.grid().tokens();
  return {shape,
          random_weights(shape, 100),
          normal(shape.rows * shape.dim, 1),
          normal(shape.text_rows * shape.dim, 2),
          normal(6 * shape.dim, 3, 0.5),
          normal(shape.rows * shape.dim, 4),
          groups_in_place(layout),
          positions_in_place(layout.grid())};
}

std::int64_t rearranged_row(const Layout& layout, std::int64_t token) {
  const Place place = layout.place(token);
  return place.subsequence * layout.subsequence_length() + place.slot;
}

Problem rearranged(const Problem& problem, const Layout& layout) {
  Problem result = problem;
  result.shape.rows = layout.padded_tokens();
  result.groups = groups_rearranged(layout);
  result.positions = positions_rearranged(layout);
  const std::int64_t dim = problem.shape.dim;
  for (auto [from, to] : {std::pair{&problem.x, &result.x}, {&problem.dy, &result.dy}}) {
    to->assign(static_cast<std::size_t>(layout.padded_tokens() * dim), 0);
    for (std::int64_t i = 0; i < problem.shape.rows; ++i)
      std::copy_n(from->begin() + i * dim, dim, to->begin() + rearranged_row(layout, i) * dim);
  }
  return result;
}

template <class T>
struct Outcome {
  std::vector<T> y;
  DitBlockGradients<T> gradients;
};

template <Backend B>
Outcome<Real<B>> run(const Problem& p, int threads = 2) {
  using T = Real<B>;
  const auto weights = converted_weights<T>(p.shape, p.weights);
  const auto x = converted<T>(p.x), text = converted<T>(p.text),
             modulation = converted<T>(p.modulation), dy = converted<T>(p.dy);
  const DitBlockInputs<T> inputs{x, text, modulation, p.groups, p.positions};
  std::vector<T> y(x.size());
  DitBlockActivations<T> activations;
  dit_block_forward<B>(p.shape, weights, inputs, y, activations, threads);
  return {y, dit_block_backward<B>(p.shape, weights, inputs, activations, dy, threads)};
}

/// All gradients as one list of arrays.
template <class T>
std::vector<std::vector<T>> all_arrays(DitBlockGradients<T>& gradients) {
  std::vector<std::vector<T>> arrays{gradients.x, gradients.text, gradients.modulation};
  for_each_weight(gradients.weights, [&](std::vector<T>& array) { arrays.push_back(array); });
  return arrays;
}

Layout skiparse(Grid grid, Phase phase) {
  return Layout(parse_pattern("skiparse-2d", {2, 2, 2}), grid, phase);
}

TEST(DitBlockNaive, BackwardEqualsFiniteDifferences) {
  const Layout layout = skiparse({1, 3, 2}, Phase::group);
  Problem p = rearranged(
      problem_in_place(layout, {.text_rows = 3, .dim = 12, .heads = 2, .ffn_dim = 8}), layout);
  auto outcome = run<Backend::naive>(p);
  const auto gradients = all_arrays(outcome.gradients);
  const DitBlockInputs<double> inputs{p.x, p.text, p.modulation, p.groups, p.positions};
  const auto loss = [&] {
    std::vector<double> y(p.x.size());
    DitBlockActivations<double> activations;
    dit_block_forward<Backend::naive>(p.shape, p.weights, inputs, y, activations);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * p.dy[i];
    return sum;
  };
  std::vector<std::vector<double>*> arrays{&p.x, &p.text, &p.modulation};
  for_each_weight(p.weights, [&](std::vector<double>& array) { arrays.push_back(&array); });
  ASSERT_EQ(arrays.size(), gradients.size());
  for (std::size_t a = 0; a < arrays.size(); ++a)
    for (std::size_t i = 0; i < arrays[a]->size(); ++i) {
      double& element = (*arrays[a])[i];
      // In a padded row all channels are equal, and there LayerNorm has no useful derivative.
      if (a == 0 && element == 0) continue;
      const double step = 1e-5, value = element;
      element = value + step;
      const double above = loss();
      element = value - step;
      const double below = loss();
      element = value;
      ASSERT_NEAR(gradients[a][i], (above - below) / (2 * step), 1e-6)
          << "array " << a << " element " << i;
    }
}

TEST(DitBlockCpu, EqualsNaive) {
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout layout = skiparse({3, 6, 9}, phase);
    const Problem p = rearranged(
        problem_in_place(layout, {.text_rows = 13, .dim = 48, .heads = 4, .ffn_dim = 100}), layout);
    auto exact = run<Backend::naive>(p);
    auto fast = run<Backend::cpu>(p);
    EXPECT_LT(relative_l2(fast.y, exact.y), 2e-6);
    const auto exact_arrays = all_arrays(exact.gradients);
    const auto fast_arrays = all_arrays(fast.gradients);
    for (std::size_t a = 0; a < exact_arrays.size(); ++a)
      EXPECT_LT(relative_l2(fast_arrays[a], exact_arrays[a]), 5e-6) << "array " << a;
    auto one_thread = run<Backend::cpu>(p, 1);
    EXPECT_EQ(one_thread.y, fast.y);
    EXPECT_EQ(all_arrays(one_thread.gradients), fast_arrays);
  }
}

TEST(DitBlockNaive, RearrangedAndPaddedEqualsInPlace) {
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout layout = skiparse({2, 5, 3}, phase);
    const Problem in_place =
        problem_in_place(layout, {.text_rows = 4, .dim = 24, .heads = 2, .ffn_dim = 20});
    auto a = run<Backend::naive>(in_place);
    auto b = run<Backend::naive>(rearranged(in_place, layout));
    const std::int64_t dim = in_place.shape.dim;
    for (std::int64_t i = 0; i < in_place.shape.rows; ++i) {
      const auto same = [&](const std::vector<double>& here, const std::vector<double>& there) {
        return std::equal(here.begin() + i * dim, here.begin() + (i + 1) * dim,
                          there.begin() + rearranged_row(layout, i) * dim);
      };
      ASSERT_TRUE(same(a.y, b.y));
    }
    const auto here = all_arrays(a.gradients), there = all_arrays(b.gradients);
    for (std::size_t k = 1; k < here.size(); ++k)
      EXPECT_LT(relative_l2(there[k], here[k]), 1e-12) << k;
  }
}

TEST(DitBlock, RejectsWrongSizes) {
  const Layout layout = skiparse({1, 2, 2}, Phase::token);
  const Problem good =
      problem_in_place(layout, {.text_rows = 1, .dim = 4, .heads = 2, .ffn_dim = 3});
  EXPECT_NO_THROW(run<Backend::cpu>(good));
  Problem bad = good;
  bad.shape.heads = 3;
  EXPECT_THROW(run<Backend::cpu>(bad), std::invalid_argument);
  bad = good;
  bad.modulation.pop_back();
  EXPECT_THROW(run<Backend::cpu>(bad), std::invalid_argument);
  bad = good;
  bad.positions.pop_back();
  EXPECT_THROW(run<Backend::cpu>(bad), std::invalid_argument);
  bad = good;
  bad.weights.ffn_up.weight.pop_back();
  EXPECT_THROW(run<Backend::cpu>(bad), std::invalid_argument);
}

// ---- Costs: paper facts, section 3 -------------------------------------------------------------

constexpr DitBlockShape wan_14b{
    .rows = 75600, .text_rows = 512, .dim = 5120, .heads = 40, .ffn_dim = 13824};

void expect_four_digits(double actual, double published) {
  EXPECT_NEAR(actual / published, 1,
              0.5e-3 / published * std::pow(10, std::floor(std::log10(published))));
}

TEST(DitBlockCost, FullBlockOfThePaper) {
  const auto cost = dit_block_forward_cost(wan_14b, Count{75600} * 75600, 1, 2);
  const double n = 75600, d = 5120, f = 13824;
  EXPECT_DOUBLE_EQ(cost.self_attention.flops, 4 * n * n * d);
  EXPECT_DOUBLE_EQ(cost.projections.flops, 8 * n * d * d);
  EXPECT_DOUBLE_EQ(cost.feed_forward.flops, 4 * n * d * f);
  EXPECT_DOUBLE_EQ(cost.cross_attention.flops, 4 * n * d * d + 4 * 512 * d * d + 4 * n * 512 * d);
  expect_four_digits(cost.self_attention.flops, 1.171e14);
  expect_four_digits(cost.matrix().flops, 1.631e14);
  EXPECT_LT(cost.elementwise.flops, 1e-3 * cost.matrix().flops);
}

TEST(DitBlockCost, SparseBlocksOfThePaper) {
  DitBlockShape padded = wan_14b;
  padded.rows = 80640;
  const Count dense = 4 * Count{20160} * 20160;
  expect_four_digits(dit_block_forward_cost(padded, dense, 4, 2).matrix().flops, 8.255e13);
  expect_four_digits(dit_block_forward_cost(padded, dense, 1, 2).matrix().flops, 8.239e13);
}

TEST(DitBlockCost, BackwardProductsCostTwiceTheForwardOnes) {
  const auto forward = dit_block_forward_cost(wan_14b, 1000, 1, 2);
  const auto backward = dit_block_backward_cost(wan_14b, 1000, 1, 2);
  EXPECT_DOUBLE_EQ(backward.self_attention.flops, 2.5 * forward.self_attention.flops);
  EXPECT_NEAR(backward.feed_forward.flops / forward.feed_forward.flops, 2, 1e-3);
  EXPECT_DOUBLE_EQ(backward.total().flops, backward.matrix().flops + backward.elementwise.flops);
}

}  // namespace
}  // namespace ospsim
