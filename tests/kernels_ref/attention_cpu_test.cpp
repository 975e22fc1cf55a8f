// The cpu back end against naive, by the rule of design section 6.

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "kernels_ref/attention/attention.hpp"
#include "tests/kernels_ref/attention_support.hpp"

namespace ospsim {
namespace {

double error(const std::vector<AttentionGroup>& groups, const Inputs& inputs,
             Order order = Order::heads_first) {
  return worst_error(run_attention<Backend::cpu>(groups, inputs, order),
                     run_attention<Backend::naive>(groups, inputs, order));
}

// With one or two channels the outputs nearly cancel on some draws, which costs any computation
// digits.
double plain_error(std::int64_t n, const Inputs& inputs) {
  const auto mask = Eigen::MatrixXd::Ones(n, n);
  return worst_error(dense_attention<float>(mask, inputs), dense_attention<double>(mask, inputs));
}

TEST(AttentionCpu, RaggedSizes) {
  for (const std::int64_t head_dim : {1, 3, 64, 80, 128})
    for (const std::int64_t n :
         {1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 257}) {
      const Inputs inputs = random_inputs({1, n, n, head_dim}, static_cast<std::uint64_t>(n));
      const double plain = head_dim < 4 ? plain_error(n, inputs) : 0;
      EXPECT_LT(error(group_of_all(n, n), inputs), float_tolerance(n) + 2 * plain)
          << n << " x " << head_dim;
    }
}

TEST(AttentionCpu, TilesThatAreNotFull) {
  for (const std::int64_t n : {383, 384, 385, 390, 769})
    EXPECT_LT(error(group_of_all(n, n), random_inputs({1, n, n, 20})), float_tolerance(n)) << n;
}

TEST(AttentionCpu, CrossAttention) {
  for (const auto& [queries, keys] : {std::pair{1, 257}, {257, 2}, {65, 512}, {400, 77}})
    for (const Order order : {Order::heads_first, Order::rows_first}) {
      const Inputs inputs = random_inputs({3, queries, keys, 40});
      EXPECT_LT(error(group_of_all(queries, keys), inputs, order), float_tolerance(queries + keys));
    }
}

TEST(AttentionCpu, OneKeyHasNoGradientButRounding) {
  const Inputs inputs = random_inputs({1, 257, 1, 40});
  const auto r = run_attention<Backend::cpu>(group_of_all(257, 1), inputs);
  for (const auto* values : {&r.dq, &r.dk})
    for (const float value : *values) EXPECT_NEAR(value, 0, 1e-4);
}

TEST(AttentionCpu, WideHeads) {
  EXPECT_LT(error(group_of_all(70, 70), random_inputs({1, 70, 70, 256})), float_tolerance(70));
}

TEST(AttentionCpu, EveryPatternInBothOrders) {
  const Grid grid{3, 14, 17};
  const Inputs inputs = random_inputs({2, grid.tokens(), grid.tokens(), 24});
  for (const char* name :
       {"full", "skiparse-1d", "skiparse-2d", "skiparse-3d", "window", "2+1d", "skip+window"})
    for (const Phase phase : {Phase::token, Phase::group}) {
      const auto groups = groups_in_place(Layout(parse_pattern(name, {2, 2, 2}), grid, phase));
      for (const Order order : {Order::heads_first, Order::rows_first})
        EXPECT_LT(error(groups, inputs, order), float_tolerance(grid.tokens())) << name;
    }
}

TEST(AttentionCpu, LongSequences) {
  // Many keys for few queries, and many queries for few keys: every sum is long once.
  EXPECT_LT(error(group_of_all(96, 10000), random_inputs({1, 96, 10000, 64})),
            float_tolerance(10000));
  EXPECT_LT(error(group_of_all(10000, 96), random_inputs({1, 10000, 96, 64})),
            float_tolerance(10000));
}

TEST(AttentionCpu, LargeLogits) {
  const Inputs inputs = random_inputs({1, 500, 500, 128}, 5, 30);
  const auto groups = group_of_all(500, 500);
  const auto exact = run_attention<Backend::naive>(groups, inputs);
  const auto fast = run_attention<Backend::cpu>(groups, inputs);
  const auto plain = dense_attention<float>(Eigen::MatrixXd::Ones(500, 500), inputs);
  EXPECT_LT(relative_l2(fast.o, exact.o), 2 * relative_l2(plain.o, exact.o) + 5e-6);
  EXPECT_LT(worst_error(fast, exact), 2 * worst_error(plain, exact) + 5e-6);
  for (const auto* values : {&fast.o, &fast.lse, &fast.dq, &fast.dk, &fast.dv})
    for (const float value : *values) ASSERT_TRUE(std::isfinite(value));
}

TEST(AttentionCpu, NanReachesTheOutput) {
  Inputs inputs = random_inputs({1, 40, 40, 8});
  inputs.q[3 * 8] = NAN;
  const auto r = run_attention<Backend::cpu>(group_of_all(40, 40), inputs);
  for (std::size_t i = 0; i < r.o.size(); ++i) EXPECT_EQ(std::isnan(r.o[i]), i / 8 == 3);
}

TEST(AttentionCpu, ThreadsDoNotChangeABit) {
  const Grid grid{3, 21, 30};
  const Inputs inputs = random_inputs({3, grid.tokens(), grid.tokens(), 16});
  for (const char* name : {"full", "skiparse-2d"}) {
    const auto groups = groups_in_place(Layout(parse_pattern(name, {2, 2, 2}), grid, Phase::token));
    const auto one = run_attention<Backend::cpu>(groups, inputs, Order::heads_first, 1);
    for (const int threads : {0, 2, 3, 7})
      EXPECT_EQ(run_attention<Backend::cpu>(groups, inputs, Order::heads_first, threads), one)
          << threads;
  }
}

TEST(AttentionCpu, EveryInstructionSetOfThisMachine) {
  const Inputs inputs = random_inputs({2, 150, 90, 37});
  const std::int64_t all = hwy::SupportedTargets();
  for (std::int64_t left = all; left != 0; left &= left - 1) {
    const std::int64_t target = left & -left;
    hwy::SetSupportedTargetsForTest(target);
    EXPECT_LT(error(group_of_all(150, 90), inputs), float_tolerance(150))
        << hwy::TargetName(target);
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace ospsim
