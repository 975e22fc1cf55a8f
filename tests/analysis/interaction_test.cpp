#include "analysis/interaction.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "analysis/axis_walk.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

Phases make(const char* pattern, std::int64_t k, Grid grid, bool per_frame = false) {
  return Phases(parse_pattern(pattern, {k, k, k}, per_frame), grid);
}

// ---- The oracle: every pair of tokens, looked at -----------------------------------------------

struct BruteForce {
  Grid grid;
  std::vector<std::int64_t> token_class, group_class;

  explicit BruteForce(const Phases& phases) : grid(phases.grid()) {
    for (std::int64_t i = 0; i < grid.tokens(); ++i) {
      token_class.push_back(phases.token.place(i).subsequence);
      group_class.push_back(phases.group.place(i).subsequence);
    }
  }
  std::size_t size() const { return token_class.size(); }

  std::vector<bool> step(const std::vector<bool>& reached,
                         const std::vector<std::int64_t>& classes) const {
    std::vector<bool> next(size());
    for (std::size_t i = 0; i < size(); ++i)
      if (reached[i])
        for (std::size_t j = 0; j < size(); ++j)
          if (classes[i] == classes[j]) next[j] = true;
    return next;
  }

  /// Tokens reached from `from` after each of `hops` hops, starting with the token or the group
  /// phase.
  std::vector<std::vector<bool>> reached(std::size_t from, int hops, bool token_first) const {
    std::vector<bool> now(size());
    now[from] = true;
    std::vector<std::vector<bool>> after{now};
    for (int hop = 0; hop < hops; ++hop) {
      now = step(now, (hop % 2 == 0) == token_first ? token_class : group_class);
      after.push_back(now);
    }
    return after;
  }

  bool meet(std::size_t i, std::size_t j) const {
    return token_class[i] == token_class[j] || group_class[i] == group_class[j];
  }
};

std::int64_t ones(const std::vector<bool>& set) {
  return std::count(set.begin(), set.end(), true);
}

Phases random_phases(std::int64_t max_extent) {
  const auto extent = [&] {
    return *rc::gen::resize(100, rc::gen::inRange<std::int64_t>(1, max_extent));
  };
  const Grid grid{*rc::gen::inRange<std::int64_t>(1, 5), extent(), extent()};
  const std::int64_t k = *rc::gen::resize(100, rc::gen::inRange<std::int64_t>(1, 5));
  const auto text = *rc::gen::elementOf(std::vector<std::string>{
      "full", "skiparse-1d", "skiparse-2d", "skiparse-3d", "window", "2+1d", "skip+window", "s0|s1",
      "t,s0|t,s1", "y2,x|t0", "y/2,x0|yb,x1", "i1,i0|i2", "i/3|i0", "s|s0"});
  return Phases(parse_pattern(text, {k, k, k}), grid);
}

RC_GTEST_PROP(Interaction, ReachAndDistanceEqualBruteForce, ()) {
  const Phases phases = random_phases(9);
  const BruteForce brute(phases);
  const int hops = 6;
  std::vector<std::int64_t> least(hops + 1, phases.grid().tokens()), sum(hops + 1),
      within(hops + 1);
  for (std::size_t i = 0; i < brute.size(); ++i) {
    const auto token_first = brute.reached(i, hops, true),
               group_first = brute.reached(i, hops, false);
    for (std::size_t h = 0; h <= static_cast<std::size_t>(hops); ++h) {
      const std::int64_t best = std::max(ones(token_first[h]), ones(group_first[h]));
      least[h] = std::min(least[h], best);
      sum[h] += best;
      for (std::size_t j = 0; j < brute.size(); ++j)
        within[h] += token_first[h][j] || group_first[h][j];
    }
  }
  const auto result = reach(phases, hops);
  for (std::size_t h = 1; h <= static_cast<std::size_t>(hops); ++h) {
    RC_ASSERT(result[h - 1].hops == static_cast<int>(h));
    RC_ASSERT(result[h - 1].fraction_min.numerator == static_cast<Count>(least[h]));
    RC_ASSERT(result[h - 1].fraction_mean.numerator == static_cast<Count>(sum[h]));
  }
  const AverageDistance distance = average_distance(phases);
  if (within[hops] == within[hops - 1]) {
    Count total = 0;
    for (std::size_t h = 1; h <= static_cast<std::size_t>(hops); ++h)
      total += static_cast<Count>(h) * static_cast<Count>(within[h] - within[h - 1]);
    RC_ASSERT(distance.over_connected.numerator == total);
    RC_ASSERT(distance.over_connected.denominator == static_cast<Count>(within[hops]));
    RC_ASSERT(distance.unconnected.numerator + static_cast<Count>(within[hops]) ==
              distance.unconnected.denominator);
  }
}

RC_GTEST_PROP(Interaction, CoverageEqualsBruteForce, ()) {
  const Phases phases = random_phases(14);
  const Grid& grid = phases.grid();
  const BruteForce brute(phases);
  const std::int64_t radius = *rc::gen::inRange<std::int64_t>(1, 5);
  Count met = 0, pairs = 0, met_at = 0, pairs_at = 0;
  const std::int64_t chosen_dy = *rc::gen::inRange<std::int64_t>(-3, 4);
  const std::int64_t chosen_dx = *rc::gen::inRange<std::int64_t>(1, 4);
  for (std::int64_t t = 0; t < grid.t; ++t)
    for (std::int64_t y = 0; y < grid.h; ++y)
      for (std::int64_t x = 0; x < grid.w; ++x)
        for (std::int64_t dy = -radius; dy <= radius; ++dy)
          for (std::int64_t dx = -radius; dx <= radius; ++dx) {
            if ((dy == 0 && dx == 0) || y + dy < 0 || y + dy >= grid.h || x + dx < 0 ||
                x + dx >= grid.w)
              continue;
            const auto i = static_cast<std::size_t>((t * grid.h + y) * grid.w + x);
            const auto j = static_cast<std::size_t>((t * grid.h + y + dy) * grid.w + x + dx);
            ++pairs;
            met += brute.meet(i, j) ? 1U : 0U;
            if (dy == chosen_dy && dx == chosen_dx) {
              ++pairs_at;
              met_at += brute.meet(i, j) ? 1U : 0U;
            }
          }
  const auto coverage = neighbour_coverage(phases, radius);
  RC_ASSERT(coverage.has_value() == (pairs > 0));
  if (coverage) RC_ASSERT(coverage->numerator * pairs == met * coverage->denominator);
  if (pairs_at > 0) {
    const auto at = offset_coverage(phases, chosen_dy, chosen_dx);
    RC_ASSERT(at.has_value());
    RC_ASSERT(at->numerator * pairs_at == met_at * at->denominator);
  }
}

RC_GTEST_PROP(Interaction, ResolutionConsistencyEqualsBruteForce, ()) {
  const auto extent = [] { return *rc::gen::resize(100, rc::gen::inRange<std::int64_t>(1, 14)); };
  const Grid grid{extent() % 4 + 1, extent(), extent()};
  const std::int64_t k = *rc::gen::inRange<std::int64_t>(1, 5), new_width = extent();
  const auto text = *rc::gen::elementOf(
      std::vector<std::string>{"full", "skiparse-1d", "skiparse-2d", "skiparse-3d", "2+1d",
                               "skip+window", "s0|s1", "y2,x|t0"});
  const Pattern pattern = parse_pattern(text, {k, k, k});
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout before(pattern, grid, phase), after(pattern, {grid.t, grid.h, new_width}, phase);
    // Numbers of sub-sequences are comparable where the other axes' digits are the same and only
    // the most significant digit of x or i differs in size; compare the digits themselves.
    const auto digits = [](const Layout& layout, std::int64_t token) {
      std::vector<std::int64_t> values;
      for (int d = 0; d < layout.subsequence_digits(); ++d) {
        const Digit& digit = layout.digit(d);
        const AxisSpan& axis = layout.axis(digit.axis);
        values.push_back(digit.stride * 1000000 +
                         token / axis.token_stride % axis.extent / digit.stride % digit.radix);
      }
      return values;
    };
    const std::int64_t columns = std::min(grid.w, new_width);
    Count same = 0, all = 0;
    for (std::int64_t row = 0; row < grid.t * grid.h; ++row)
      for (std::int64_t x = 0; x < columns; ++x) {
        ++all;
        auto a = digits(before, row * grid.w + x), b = digits(after, row * new_width + x);
        // A digit that exists in one layout only is zero in the other.
        const auto drop_zeros = [](std::vector<std::int64_t>& v) {
          std::erase_if(v, [](auto d) { return d % 1000000 == 0; });
        };
        drop_zeros(a);
        drop_zeros(b);
        same += a == b ? 1U : 0U;
      }
    const auto consistency = resolution_consistency(pattern, grid, phase, new_width);
    if (consistency)
      RC_ASSERT(consistency->numerator * all == same * consistency->denominator);
    else
      RC_ASSERT(before.axis_count() < 3);
  }
}

// ---- Known numbers -----------------------------------------------------------------------------

TEST(Interaction, TwoHopsReachEverythingOnEveryGridOfAtLeastKSquared) {
  for (const std::int64_t k : {2, 3, 4})
    for (std::int64_t h = k * k; h < k * k + 9; ++h)
      for (std::int64_t w = k * k; w < 2 * k * k + 3; ++w)
        for (const char* pattern : {"skiparse-1d", "skiparse-2d"}) {
          const auto hops = reach(make(pattern, k, {3, h, w}), 2);
          ASSERT_EQ(hops[1].fraction_min.numerator, hops[1].fraction_min.denominator)
              << pattern << " " << k << " " << h << "x" << w;
        }
}

TEST(Interaction, BelowKSquaredTheExactFraction) {
  // 3 x 3 pixels, ratio 2, worked by hand for the pixel in row 1, column 2. Token phase first: row
  // 1 has no other odd row, column 2 meets column 0, so 2 pixels; then rows 0, 1 and all columns,
  // so 6. Group phase first: 2 pixels, then all rows and columns 0, 2: 6 again. The third hop
  // reaches all 9.
  const auto hops = reach(make("skiparse-2d", 2, {1, 3, 3}), 3);
  EXPECT_EQ(hops[0].fraction_min.numerator, 2U);
  EXPECT_EQ(hops[1].fraction_min.numerator, 6U);
  EXPECT_EQ(hops[2].fraction_min.numerator, 9U);
}

// Open-Sora Plan report v1.3: average attention distance at 93x512x512, 24 x 32 x 32 tokens.
TEST(Interaction, AverageDistanceOfOpenSoraPlan) {
  const Grid grid{24, 32, 32};
  const auto distance = [&](const char* pattern, std::int64_t k) {
    const AverageDistance d = average_distance(make(pattern, k, grid));
    EXPECT_EQ(d.unconnected.numerator, 0U);
    return d.over_connected.value();
  };
  EXPECT_NEAR(distance("full", 1), 1 - 1.0 / 24576, 1e-12);
  EXPECT_NEAR(distance("2+1d", 1), 1.957357, 1e-6);
  EXPECT_NEAR(distance("skip+window", 2), 1.499919, 1e-6);
  EXPECT_NEAR(distance("skip+window", 4), 1.749837, 1e-6);
  EXPECT_NEAR(distance("skip+window", 6), 1.833089, 1e-6);
  EXPECT_NEAR(distance("skip+window", 8), 1.874674, 1e-6);
  EXPECT_NEAR(distance("skiparse-1d", 2), 1.249959, 1e-6);
  EXPECT_NEAR(distance("skiparse-1d", 4), 1.562459, 1e-6);
  EXPECT_NEAR(distance("skiparse-1d", 6), 1.694404, 1e-6);
  EXPECT_NEAR(distance("skiparse-1d", 8), 1.765584, 1e-6);
  EXPECT_NEAR(distance("skiparse-2d", 2), 1.562459, 1e-6);
}

TEST(Interaction, LoadAndConsistencyAtPaperSize) {
  const Pattern two = parse_pattern("skiparse-2d", {2, 2, 2}),
                one = parse_pattern("skiparse-1d", {4, 4, 4});
  const Grid grid{21, 45, 80};
  const LoadBalance load = load_balance(Layout(two, grid, Phase::token));
  EXPECT_EQ(load.lengths, (std::vector<LengthCount>{{18480, 2}, {19320, 2}}));
  EXPECT_NEAR(load.largest_over_mean_work,
              2 * 19320.0 * 19320 / (19320.0 * 19320 + 18480.0 * 18480), 1e-12);
  EXPECT_EQ(resolution_consistency(two, grid, Phase::group, 83)->value(), 1);
  EXPECT_NEAR(resolution_consistency(one, grid, Phase::token, 81)->value(), 0.25, 0.01);
  EXPECT_EQ(resolution_consistency(one, grid, Phase::token, 84)->value(), 1);
  EXPECT_EQ(resolution_consistency(one, grid, Phase::group, 96)->value(), 1);
  EXPECT_LT(resolution_consistency(one, grid, Phase::group, 84)->value(), 0.5);
}

TEST(Interaction, AnisotropyKnownCases) {
  EXPECT_EQ(anisotropy(make("full", 1, {1, 5, 5})), 1.0);
  // 80 columns are a multiple of 4^2: 1-D skipping degenerates to whole columns.
  EXPECT_EQ(offset_coverage(make("skiparse-1d", 4, {21, 45, 80}), 1, 0)->value(), 1);
  EXPECT_NEAR(offset_coverage(make("skiparse-1d", 4, {21, 45, 80}), 0, 1)->value(), 0.76, 0.005);
  EXPECT_NEAR(offset_coverage(make("skiparse-2d", 2, {21, 45, 80}), 0, 1)->value(), 0.51, 0.005);
  EXPECT_FALSE(anisotropy(make("full", 1, {5, 1, 1})).has_value());
}

TEST(Interaction, BillionsOfTokens) {
  for (const Grid grid : {Grid{1000, 1001, 1003}, Grid{1, 1, 1000000007}, Grid{1000000007, 1, 1}})
    for (const char* pattern :
         {"skiparse-1d", "skiparse-2d", "skiparse-3d", "window", "2+1d", "skip+window"}) {
      const Phases phases = make(pattern, 4, grid);
      reach(phases, 3);
      EXPECT_LE(average_distance(phases).over_connected.value(), 2.0);
      for (const std::int64_t radius : {1, 2, 4}) neighbour_coverage(phases, radius);
      anisotropy(phases);
      load_balance(phases.token);
    }
}

}  // namespace
}  // namespace ospsim
