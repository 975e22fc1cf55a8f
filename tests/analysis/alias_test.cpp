#include "analysis/alias.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <map>
#include <numbers>

namespace ospsim {
namespace {

Layout layout(const char* pattern, const char* ratio, const Grid& grid, Phase phase) {
  const std::string name = pattern;
  return {parse_pattern(name, parse_ratio(ratio), name == "skiparse-1d"), grid, phase};
}

/// Frequencies in 1/period cycles, folded to (-1/2, 1/2], and their power; from the indicator of
/// the first token's class on a torus whose sides its period divides.
std::map<std::array<int, 3>, double> spectrum(const Layout& layout, int period) {
  const Grid& grid = layout.grid();
  std::map<std::array<int, 3>, double> found;
  const auto at = [&](int ft, int fy, int fx) {
    std::complex<double> sum = 0;
    for (std::int64_t i = 0; i < grid.tokens(); ++i) {
      if (layout.place(i).subsequence != layout.place(0).subsequence) continue;
      const double phase = static_cast<double>(ft * (i / grid.frame_tokens()) +
                                               fy * (i / grid.w % grid.h) + fx * (i % grid.w)) /
                           period;
      sum += std::polar(1.0, 2 * std::numbers::pi * phase);
    }
    return std::norm(sum);
  };
  const int frequencies_t = grid.t % period == 0 ? period : 1;
  const double at_zero = at(0, 0, 0);
  for (int ft = 0; ft < frequencies_t; ++ft)
    for (int fy = 0; fy < period; ++fy)
      for (int fx = 0; fx < period; ++fx) {
        const double power = at(ft, fy, fx) / at_zero;
        const auto folded = [&](int f) { return 2 * f > period ? f - period : f; };
        if (power > 1e-9 && (ft != 0 || fy != 0 || fx != 0))
          found[{folded(ft), folded(fy), folded(fx)}] = power;
      }
  return found;
}

void expect_spectrum(const Layout& layout, int period) {
  const auto expected = spectrum(layout, period);
  const auto found = aliases(layout);
  ASSERT_TRUE(found.has_value());
  std::map<std::array<int, 3>, double> powers;
  for (const Alias& alias : *found) {
    std::array<int, 3> key{};
    for (std::size_t a = 0; a < 3; ++a) {
      EXPECT_GT(alias.frequency[a], -0.5);
      EXPECT_LE(alias.frequency[a], 0.5);
      key[a] = static_cast<int>(std::lround(alias.frequency[a] * period));
      EXPECT_NEAR(alias.frequency[a] * period, key[a], 1e-9);
    }
    EXPECT_TRUE(powers.emplace(key, alias.power).second) << "a frequency twice";
  }
  ASSERT_EQ(powers.size(), expected.size());
  for (const auto& [frequency, power] : expected) EXPECT_NEAR(powers[frequency], power, 1e-9);
}

TEST(Aliases, AreTheSpectrumOfAClass) {
  for (const Phase phase : {Phase::token, Phase::group}) {
    expect_spectrum(layout("skiparse-2d", "2", {1, 16, 32}, phase), 4);
    expect_spectrum(layout("skiparse-3d", "2", {8, 8, 8}, phase), 4);
    expect_spectrum(layout("skiparse-3d", "1,3,1", {1, 18, 18}, phase), 9);
    expect_spectrum(layout("skiparse-1d", "2", {1, 8, 8}, phase), 4);
    // One row further the class has moved by the width: 16 + 1, 16 + 4, 16 + 10 modulo 16.
    for (const std::int64_t width : {16, 32})
      expect_spectrum(layout("skiparse-1d", "4", {1, 16, width}, phase), 16);
  }
}

/// The same class on a frame of a width its period does not divide: a row down is a step of the
/// width along the flattened frame.
TEST(Aliases, OfAFlattenedFrameTurnWithItsWidth) {
  const auto found = aliases(layout("skiparse-1d", "4", {1, 48, 81}, Phase::token));
  ASSERT_EQ(found->size(), 3u);
  std::map<double, double> y_of_x;
  for (const Alias& alias : *found) {
    EXPECT_NEAR(alias.power, 1, 1e-12);
    EXPECT_EQ(alias.frequency[0], 0);
    y_of_x[alias.frequency[2]] = alias.frequency[1];
  }
  // 81 = 1 modulo 4: the frequency along y is that along x.
  const std::map<double, double> expected{{-0.25, -0.25}, {0.25, 0.25}, {0.5, 0.5}};
  EXPECT_EQ(y_of_x, expected);
}

TEST(Aliases, HaveThePowerThatParsevalAsksFor) {
  for (const Phase phase : {Phase::token, Phase::group})
    for (const std::int64_t width : {63, 64, 66, 77, 80}) {
      double sum = 1;
      const auto found = aliases(layout("skiparse-1d", "4", {21, 48, width}, phase));
      for (const Alias& alias : *found) sum += alias.power;
      EXPECT_NEAR(sum, 4, 1e-9);
    }
}

TEST(Aliases, ShortestIsWhatTheGapsSay) {
  const Grid columns{21, 48, 80};
  EXPECT_NEAR(shortest_alias(*aliases(layout("skiparse-2d", "2", columns, Phase::token))), 1.0 / 2,
              1e-12);
  EXPECT_NEAR(shortest_alias(*aliases(layout("skiparse-2d", "2", columns, Phase::group))), 1.0 / 4,
              1e-12);
  EXPECT_NEAR(shortest_alias(*aliases(layout("skiparse-1d", "4", columns, Phase::token))), 1.0 / 4,
              1e-12);
  EXPECT_NEAR(shortest_alias(*aliases(layout("skiparse-1d", "4", columns, Phase::group))), 1.0 / 16,
              1e-12);
  EXPECT_NEAR(shortest_alias(*aliases(layout("skiparse-1d", "4", {21, 48, 79}, Phase::group))),
              std::hypot(1.0, 1.0) / 16, 1e-12);
  EXPECT_TRUE(std::isinf(shortest_alias(*aliases(layout("full", "1", columns, Phase::token)))));
}

TEST(Aliases, TilesHaveNone) {
  EXPECT_FALSE(aliases(layout("window", "1,2,2", {21, 48, 80}, Phase::token)).has_value());
}

/// Far from the border and with attention wider than the gaps, the formula is the error.
TEST(AliasError, IsTheLimitOfWideAttention) {
  const Grid grid{1, 400, 400};
  const auto model = AttentionModel::isotropic(6);
  for (const char* ratio : {"1,2,2", "1,4,1", "1,1,3"})
    for (const Phase phase : {Phase::token, Phase::group}) {
      const Layout one = layout("skiparse-3d", ratio, grid, phase);
      const double exact = phase_error(mask_of(one), model).output_error.value;
      const double tolerance = phase == Phase::token ? 0.04 : 0.25;
      EXPECT_NEAR(alias_error(*aliases(one), model) / exact, 1, tolerance) << ratio;
    }
}

TEST(AliasError, OfNothingIsNothing) {
  const Layout full = layout("full", "1", {1, 8, 8}, Phase::token);
  EXPECT_EQ(alias_error(*aliases(full), AttentionModel::isotropic(3)), 0);
}

}  // namespace
}  // namespace ospsim
