#include "analysis/recall.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "tests/analysis/random_cases.hpp"

namespace ospsim {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// ---- The oracle: the definition, pair of tokens by pair of tokens -------------------------------

using Real = long double;
/// Of an offset between two tokens.
using OfOffset = std::function<Real(Real dt, Real dy, Real dx)>;
using Attends = std::function<bool(std::int64_t query, std::int64_t key)>;

struct Exact {
  double recall, output_error;
};

std::vector<Real> every_pair(const Grid& grid, const OfOffset& f) {
  std::vector<Real> values;
  for (std::int64_t i = 0; i < grid.tokens(); ++i)
    for (std::int64_t j = 0; j < grid.tokens(); ++j)
      values.push_back(f(static_cast<Real>(i / (grid.h * grid.w) - j / (grid.h * grid.w)),
                         static_cast<Real>(i / grid.w % grid.h - j / grid.w % grid.h),
                         static_cast<Real>(i % grid.w - j % grid.w)));
  return values;
}

/// exp(-d^2 / 2 length^2); length 0 is [d = 0].
Real bell(Real d, double length) {
  if (d == 0) return 1;
  if (length == 0) return 0;
  const Real ratio = d / static_cast<Real>(length);
  return std::exp(-ratio * ratio / 2);
}

class Oracle {
 public:
  Oracle(const Grid& grid, const OfOffset& kernel, const OfOffset& correlation)
      : n_(grid.tokens()), full_(every_pair(grid, kernel)), rho_(every_pair(grid, correlation)) {
    for (std::int64_t q = 0; q < n_; ++q) {
      Real all = 0;
      for (std::int64_t j = 0; j < n_; ++j) all += full_[index(q * n_ + j)];
      for (std::int64_t j = 0; j < n_; ++j) full_[index(q * n_ + j)] /= all;
      squares_ += square(&full_[index(q * n_)]);
    }
  }
  Oracle(const Grid& grid, const AttentionModel& model)
      : Oracle(
            grid,
            [&](Real dt, Real dy, Real dx) {
              const auto& [t, y, x] = model.bandwidth;
              return bell(dt, t) * bell(dy, y) * bell(dx, x);
            },
            [&](Real dt, Real dy, Real dx) {
              Real sum = 0;
              for (const auto& [weight, length] : model.correlation)
                sum += static_cast<Real>(weight) * bell(dt, length.t) * bell(dy, length.y) *
                       bell(dx, length.x);
              return sum;
            }) {}
  /// Bandwidth s in the frame and the correlation that AttentionModel::isotropic stands for.
  static Oracle isotropic(const Grid& grid, double s) {
    return {grid,
            [&](Real dt, Real dy, Real dx) {
              return std::isinf(s) ? 1 : bell(dt, 2) * std::exp(-(dy * dy + dx * dx) / (2 * s * s));
            },
            [](Real dt, Real dy, Real dx) {
              const Real squared = dy * dy + dx * dx;
              Real sum = squared == 0 ? 1 : 0;
              for (const Real l : {1, 2, 4, 8, 16}) sum += std::exp(-squared / (2 * l * l));
              return bell(dt, 4) * sum / 6;
            }};
  }

  Exact operator()(const Attends& attends) const {
    Real recalls = 0, difference_squares = 0;
    std::vector<Real> difference(index(n_));
    for (std::int64_t q = 0; q < n_; ++q) {
      Real m = 0;
      for (std::int64_t j = 0; j < n_; ++j)
        if (attends(q, j)) m += full_[index(q * n_ + j)];
      recalls += m;
      for (std::int64_t j = 0; j < n_; ++j) {
        const Real f = full_[index(q * n_ + j)];
        difference[index(j)] = (attends(q, j) ? f / m : 0) - f;
      }
      difference_squares += square(difference.data());
    }
    return {static_cast<double>(recalls / static_cast<Real>(n_)),
            static_cast<double>(std::sqrt(std::max<Real>(0, difference_squares / squares_)))};
  }

 private:
  /// <v, rho v>
  Real square(const Real* v) const {
    Real sum = 0;
    for (std::int64_t i = 0; i < n_; ++i) {
      Real of_row = 0;
      for (std::int64_t j = 0; j < n_; ++j) of_row += rho_[index(i * n_ + j)] * v[j];
      sum += v[i] * of_row;
    }
    return sum;
  }

  std::int64_t n_;
  std::vector<Real> full_, rho_;  ///< of each pair of tokens
  Real squares_ = 0;              ///< <F, rho F> over all queries
};

Attends same_subsequence(const Layout& layout) {
  return [classes = [&] {
    std::vector<std::int64_t> c;
    for (std::int64_t i = 0; i < layout.grid().tokens(); ++i)
      c.push_back(layout.place(i).subsequence);
    return c;
  }()](auto q, auto k) { return classes[index(q)] == classes[index(k)]; };
}
Attends pairs_of(const Mask& mask) {
  return [&mask](auto q, auto k) { return mask.attends(q, k); };
}

bool agree(const PhaseError& error, const Exact& exact) {
  return std::abs(error.recall.value - exact.recall) <= 1e-9 &&
         std::abs(error.output_error.value - exact.output_error) <= 1e-9 &&
         error.recall.standard_error == 0 && error.output_error.standard_error == 0;
}

// ---- Grids, patterns and masks ------------------------------------------------------------------

struct Named {
  const char* pattern;
  Ratio ratio{2, 2, 2};
  bool per_frame = false;
};
const std::vector<Named> patterns{{"skiparse-1d", {2, 2, 2}, true},
                                  {"skiparse-1d", {3, 3, 3}, true},
                                  {"skiparse-1d", {2, 2, 2}},
                                  {"skiparse-1d", {4, 4, 4}},
                                  {"skiparse-2d"},
                                  {"skiparse-2d", {3, 3, 3}},
                                  {"skiparse-3d"},
                                  {"skiparse-3d", {2, 3, 1}},
                                  {"window", {1, 2, 3}},
                                  {"window", {2, 1, 2}},
                                  {"2+1d"},
                                  {"skip+window", {3, 3, 3}},
                                  {"y2,x|t0"},
                                  {"t,s0|t,s1"},
                                  {"s|s0"},
                                  {"i1,i0|i2"},
                                  {"i/3|i0"},
                                  {"y/2,x0|yb,x1"}};
const std::vector<const char*> masks{"local:window=1x3x3",
                                     "local:window=2x3x4,stride=1x3x2",
                                     "sliding-tile:tile=2x2x2,window=1x1x3",
                                     "svg-spatial:density=0.2,block=3",
                                     "svg-temporal:density=0.3,block=4",
                                     "radial:decay=0.5,block=4",
                                     "radial:decay=0.2,adjacent=0.25,sink=0,block=3",
                                     "radial:decay=0,adjacent=0,sink=0,block=1"};
/// Ragged for every pattern above; one frame, row, column and token among them.
const std::vector<Grid> grids{{3, 5, 7},  {1, 7, 9}, {4, 1, 11}, {3, 11, 1}, {13, 1, 1},
                              {1, 13, 1}, {1, 1, 1}, {4, 4, 4},  {2, 3, 13}};

Pattern pattern_of(const Named& named) {
  return parse_pattern(named.pattern, named.ratio, named.per_frame);
}

template <class F>
void for_each_layout(const Grid& grid, const F& f) {
  for (const Named& named : patterns)
    for (const Phase phase : {Phase::token, Phase::group}) {
      if (phase == Phase::group && pattern_of(named).phase_count() == 1) continue;
      SCOPED_TRACE(std::string(named.pattern) + " on " + to_string(grid));
      f(Layout(pattern_of(named), grid, phase));
    }
}

template <class F>
void for_each_mask(const Grid& grid, const F& f) {
  for (const char* text : masks) {
    SCOPED_TRACE(std::string(text) + " on " + to_string(grid));
    try {
      f(parse_mask(text, grid));
    } catch (const InputError&) {
      ADD_FAILURE();
    }
  }
}

/// A different length along each axis; some are 0, tiny, huge or infinite.
AttentionModel random_model() {
  const auto bandwidth = [] {
    return one_of<double>({0.05, 0.3, 0.7, 1.1, 2, 3.3, 5, 16, 1e9, infinity});
  };
  const auto length = [] { return one_of<double>({0, 1e-3, 0.4, 1, 1.7, 3, 16, 1e9, infinity}); };
  AttentionModel model{{bandwidth(), bandwidth(), bandwidth()}, {}};
  // Values that vary: of a constant every pattern's error is 0 and the relative one is rounding.
  model.correlation.push_back({one_of<double>({0.1, 1, 5}), {1.5, 0, 1}});
  for (auto terms = whole(0, 3); terms > 0; --terms)
    model.correlation.push_back({one_of<double>({0.1, 0.5, 3}), {length(), length(), length()}});
  return model;
}

// ---- Against the oracle -------------------------------------------------------------------------

class Bandwidth : public testing::TestWithParam<double> {};

TEST_P(Bandwidth, EveryPatternEqualsItsDefinition) {
  const double s = GetParam();
  for (const Grid& grid : grids) {
    const Oracle oracle = Oracle::isotropic(grid, s);
    for_each_layout(grid, [&](const Layout& layout) {
      const auto error = phase_error(mask_of(layout), AttentionModel::isotropic(s));
      const auto exact = oracle(same_subsequence(layout));
      EXPECT_TRUE(agree(error, exact)) << error.recall.value - exact.recall << ", "
                                       << error.output_error.value - exact.output_error;
    });
  }
}

TEST_P(Bandwidth, EveryNamedMaskEqualsItsDefinition) {
  const double s = GetParam();
  for (const Grid& grid : grids) {
    const Oracle oracle = Oracle::isotropic(grid, s);
    for_each_mask(grid, [&](const Mask& mask) {
      const auto error = phase_error(mask, AttentionModel::isotropic(s));
      const auto exact = oracle(pairs_of(mask));
      EXPECT_TRUE(agree(error, exact)) << error.recall.value - exact.recall << ", "
                                       << error.output_error.value - exact.output_error;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Recall, Bandwidth, testing::Values(0.05, 0.7, 1.0, 3.0, 16.0, infinity));

RC_GTEST_PROP(Recall, RandomMasksAndModelsEqualTheDefinition, ()) {
  const Mask mask = random_mask({whole(1, 4), whole(1, 5), whole(1, 6)});
  const AttentionModel model = random_model();
  RC_ASSERT(agree(phase_error(mask, model), Oracle(mask.grid, model)(pairs_of(mask))));
}

RC_GTEST_PROP(Recall, RandomPatternsAndModelsEqualTheDefinition, ()) {
  const Grid grid{whole(1, 4), whole(1, 5), whole(1, 6)};
  const Named named = patterns[index(whole(0, std::ssize(patterns) - 1))];
  const Pattern pattern =
      parse_pattern(named.pattern, random_ratio(named.pattern), named.per_frame);
  const AttentionModel model = random_model();
  const Oracle oracle(grid, model);
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout layout(pattern, grid, phase);
    RC_ASSERT(agree(phase_error(mask_of(layout), model), oracle(same_subsequence(layout))));
  }
}

/// The value of a frame's neighbours in time enters differently into each term, so nothing cancels.
TEST(Recall, CorrelationsThatFadeDifferentlyOverTime) {
  const Grid grid{4, 3, 5};
  const AttentionModel model{{1.5, 1, 1}, {{1, {0, 0, 0}}, {1, {8, 3, 3}}}};
  const Layout layout(parse_pattern("skiparse-1d", {2, 2, 2}, true), grid, Phase::token);
  const auto exact = Oracle(grid, model)(same_subsequence(layout));
  EXPECT_NEAR(phase_error(mask_of(layout), model).output_error.value, exact.output_error, 1e-9);
}

/// What leaves frames alone is the same whether it looks at one frame or at the whole video.
TEST(Recall, FramesAloneAreTheWholeVideo) {
  const Grid video{4, 5, 6}, frame{1, 5, 6};
  for (const double s : {0.7, 3.0, 16.0, infinity}) {
    const auto model = AttentionModel::isotropic(s);
    const Oracle of_video = Oracle::isotropic(video, s), of_frame = Oracle::isotropic(frame, s);
    for (const Named& named : patterns) {
      const Pattern pattern = pattern_of(named);
      if (pattern.coordinates == Coordinates::flat) continue;
      for (const Phase phase : {Phase::token, Phase::group}) {
        const Layout whole_video(pattern, video, phase), one_frame(pattern, frame, phase);
        if (mask_of(whole_video).axes[0].blocks > 1) continue;
        SCOPED_TRACE(named.pattern);
        const auto over_video = of_video(same_subsequence(whole_video));
        const auto over_frame = of_frame(same_subsequence(one_frame));
        EXPECT_NEAR(over_video.recall, over_frame.recall, 1e-12);
        EXPECT_NEAR(over_video.output_error, over_frame.output_error, 1e-12);
        EXPECT_TRUE(agree(phase_error(mask_of(whole_video), model), over_frame));
        EXPECT_TRUE(agree(phase_error(mask_of(one_frame), model), over_frame));
      }
    }
  }
}

// ---- What is known in closed form ---------------------------------------------------------------

TEST(Recall, NothingIsLostWhereEverythingIsSeen) {
  for (const Grid& grid : grids)
    for (const double s : {1e-200, 0.05, 0.7, 3.0, 16.0, 1e200, infinity}) {
      const auto model = AttentionModel::isotropic(s);
      std::vector<Mask> seeing_all{parse_mask("local:window=99x99x99", grid),
                                   parse_mask("sliding-tile:window=99x99x99", grid),
                                   parse_mask("svg-spatial:density=1,block=2", grid),
                                   parse_mask("svg-temporal:density=1,block=2", grid)};
      for (const char* pattern : {"full", "skiparse-1d", "skiparse-2d", "skiparse-3d", "window"})
        for (const bool per_frame : {false, true}) {
          const Pattern one =
              parse_pattern(pattern, {1, 1, 1}, per_frame && std::string(pattern) == "skiparse-1d");
          for (const Phase phase : {Phase::token, Phase::group})
            seeing_all.push_back(mask_of(Layout(one, grid, phase)));
        }
      for (const Mask& mask : seeing_all) {
        const auto error = phase_error(mask, model);
        EXPECT_NEAR(error.recall.value, 1, 1e-12) << to_string(grid) << " " << s;
        EXPECT_NEAR(error.output_error.value, 0, 1e-12) << to_string(grid) << " " << s;
      }
    }
}

TEST(Recall, OfUniformAttentionIsOneOverSparsity) {
  struct Unpadded {
    Named named;
    Grid grid;
    double classes;
  };
  for (const auto& [named, grid, classes] :
       {Unpadded{{"skiparse-1d", {2, 2, 2}, true}, {3, 4, 6}, 2},
        Unpadded{{"skiparse-1d", {3, 3, 3}}, {2, 9, 4}, 3},
        Unpadded{{"skiparse-2d"}, {3, 8, 12}, 4}, Unpadded{{"skiparse-3d"}, {4, 8, 4}, 8},
        Unpadded{{"window", {3, 2, 2}}, {6, 4, 6}, 12}})
    for (const Phase phase : {Phase::token, Phase::group}) {
      const Mask mask = mask_of(Layout(pattern_of(named), grid, phase));
      const auto error = phase_error(mask, AttentionModel::isotropic(infinity));
      EXPECT_NEAR(error.recall.value, 1 / classes, 1e-12) << named.pattern;
      EXPECT_NEAR(sparsity(mask), classes, 1e-12) << named.pattern;
    }
  // Whatever the mask: the share of pairs.
  for (const Grid& grid : grids)
    for_each_mask(grid, [&](const Mask& mask) {
      EXPECT_NEAR(phase_error(mask, AttentionModel::isotropic(infinity)).recall.value,
                  1 / sparsity(mask), 1e-12);
    });
}

/// Two tokens side by side, each seeing itself alone: F = (1, e) / (1 + e) with e = exp(-1/2s^2),
/// D = (e, -e) / (1 + e), and r = rho(1): error^2 = 2 e^2 (1 - r) / (1 + e^2 + 2 e r).
TEST(Recall, TwoTokensByHand) {
  const double e = std::exp(-1 / (2 * 1.5 * 1.5)), r = 0.25 + 0.75 * std::exp(-1.0 / 8);
  const AttentionModel model{{9, 9, 1.5}, {{1, {0, 0, infinity}}, {3, {0, 0, 2}}}};
  for (const char* each_alone : {"x", "s", "i"}) {
    const Layout layout(parse_pattern(each_alone, {1, 1, 1}), {1, 1, 2}, Phase::token);
    const auto error = phase_error(mask_of(layout), model);
    EXPECT_NEAR(error.recall.value, 1 / (1 + e), 1e-14);
    EXPECT_NEAR(error.output_error.value, std::sqrt(2 * e * e * (1 - r) / (1 + e * e + 2 * e * r)),
                1e-14);
  }
}

/// Nothing a pattern does changes the mean of values that are all the same. The square root of
/// what rounding leaves.
TEST(Recall, ConstantValuesHaveNoError) {
  const AttentionModel model{{2, 2, 2}, {{1, {infinity, infinity, infinity}}}};
  for (const Grid& grid : grids) {
    for_each_layout(grid, [&](const Layout& layout) {
      EXPECT_LT(phase_error(mask_of(layout), model).output_error.value, 1e-7);
    });
    for_each_mask(grid, [&](const Mask& mask) {
      EXPECT_LT(phase_error(mask, model).output_error.value, 1e-7);
    });
  }
}

TEST(Recall, LengthsThatUnderflowWhenSquaredAreTiny) {
  const Grid grid{3, 4, 5};
  for (const char* pattern : {"skiparse-2d", "i0", "s0"}) {
    const Layout layout(parse_pattern(pattern, {2, 2, 2}), grid, Phase::token);
    for (const double tiny : {1e-100, 1e-170, 5e-324}) {
      const auto attentive = phase_error(mask_of(layout), AttentionModel::isotropic(tiny));
      EXPECT_NEAR(attentive.recall.value, 1, 1e-12) << pattern << " " << tiny;
      EXPECT_NEAR(attentive.output_error.value, 0, 1e-12) << pattern << " " << tiny;
      const AttentionModel noise{{2, 2, 2}, {{1, {tiny, tiny, tiny}}}},
          zero{{2, 2, 2}, {{1, {0, 0, 0}}}};
      EXPECT_NEAR(phase_error(mask_of(layout), noise).output_error.value,
                  phase_error(mask_of(layout), zero).output_error.value, 1e-12)
          << pattern << " " << tiny;
    }
  }
}

TEST(Recall, OfAPatternIsTheRootMeanSquareOfItsPhases) {
  const std::vector<PhaseError> phases{{{0.5}, {3}}, {{0.1}, {4}}};
  EXPECT_NEAR(output_error(phases), std::sqrt(12.5), 1e-15);
  EXPECT_EQ(output_error(std::span(phases).first(1)), 3);
}

// ---- Sampled queries ----------------------------------------------------------------------------

const std::vector<std::string> sampled_masks{"svg-temporal:density=0.3,block=5",
                                             "radial:decay=0.5,block=6", "skiparse-1d",
                                             "skiparse-1d per frame"};
Mask sampled_mask(const std::string& text) {
  const Grid grid{3, 6, 9};
  if (is_mask(text)) return parse_mask(text, grid);
  // Per frame one frame stands for all, so sampling is from it.
  const bool per_frame = text != "skiparse-1d";
  return mask_of(Layout(parse_pattern("skiparse-1d", {4, 4, 4}, per_frame),
                        per_frame ? Grid{1, 9, 18} : grid, Phase::token));
}

class Sampled : public testing::TestWithParam<std::tuple<std::string, std::int64_t>> {};

TEST_P(Sampled, AgreesWithTheExactValueAndKnowsItsSpread) {
  const auto& [text, count] = GetParam();
  const Mask mask = sampled_mask(text);
  const auto model = AttentionModel::isotropic(1.5);
  const auto exact = phase_error(mask, model);
  constexpr std::int64_t seeds = 300;
  struct Spread {
    double deviations = 0, squares = 0, variances = 0, farthest = 0;
    std::int64_t far = 0;
    void add(double deviation, double se) {
      deviations += deviation;
      squares += deviation * deviation;
      variances += se * se;
      farthest = std::max(farthest, std::abs(deviation));
      if (std::abs(deviation) > 2 * se) ++far;
    }
    void check() const {
      const auto n = static_cast<double>(seeds);
      EXPECT_NEAR(std::sqrt(variances / squares), 1, 0.2);
      EXPECT_LT(farthest, 4.5 * std::sqrt(variances / n));
      EXPECT_LT(static_cast<double>(far) / n, 0.12);  // 0.046 if it were normal
      EXPECT_LT(std::abs(deviations / n), 4.5 * std::sqrt(squares / n / n));
    }
  } recall, error;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const auto sampled = phase_error(mask, model, {count, seed}, 1);
    recall.add(sampled.recall.value - exact.recall.value, sampled.recall.standard_error);
    error.add(sampled.output_error.value - exact.output_error.value,
              sampled.output_error.standard_error);
  }
  recall.check();
  error.check();
}

INSTANTIATE_TEST_SUITE_P(Recall, Sampled,
                         testing::Combine(testing::ValuesIn(sampled_masks),
                                          testing::Values(50, 120)));

TEST(Recall, SamplingEveryQueryIsExact) {
  for (const std::string& text : sampled_masks) {
    const Mask mask = sampled_mask(text);
    const std::int64_t tokens = mask.grid.tokens();
    const auto model = AttentionModel::isotropic(1.5);
    const auto exact = phase_error(mask, model);
    for (const std::int64_t count : {std::int64_t{0}, tokens, tokens + 1, max_tokens}) {
      const auto all = phase_error(mask, model, {count, 5});
      EXPECT_EQ(all.recall.value, exact.recall.value);
      EXPECT_EQ(all.output_error.value, exact.output_error.value);
      EXPECT_EQ(all.recall.standard_error, 0);
      EXPECT_EQ(all.output_error.standard_error, 0);
    }
    const auto nearly_all = phase_error(mask, model, {tokens - 1, 5});
    EXPECT_NE(nearly_all.recall.value, exact.recall.value);
    EXPECT_GT(nearly_all.recall.standard_error, 0);
    EXPECT_GT(nearly_all.output_error.standard_error, 0);
  }
}

TEST(Recall, ProductsAreNeverSampled) {
  const Mask mask = parse_mask("local:window=1x3x3", {3, 6, 9});
  const auto model = AttentionModel::isotropic(1.5);
  const auto exact = phase_error(mask, model), sampled = phase_error(mask, model, {5, 1});
  EXPECT_EQ(sampled.output_error.value, exact.output_error.value);
  EXPECT_EQ(sampled.recall.value, exact.recall.value);
  EXPECT_EQ(sampled.recall.standard_error, 0);
}

TEST(Recall, OneQuerySaysNothingAboutTheSpread) {
  const auto sampled =
      phase_error(sampled_mask("skiparse-1d"), AttentionModel::isotropic(1.5), {1, 1});
  EXPECT_NE(sampled.recall.standard_error, 0) << "0 stands for all queries";
  EXPECT_NE(sampled.output_error.standard_error, 0) << "0 stands for all queries";
}

TEST(Recall, ThreadsChangeNoBit) {
  for (const std::string& text : sampled_masks)
    for (const std::int64_t count : {0, 77}) {
      const Mask mask = sampled_mask(text);
      const auto model = AttentionModel::isotropic(1.5);
      const auto one = phase_error(mask, model, {count, 3}, 1);
      for (const int threads : {2, 3, 0}) {
        const auto many = phase_error(mask, model, {count, 3}, threads);
        EXPECT_EQ(one.recall.value, many.recall.value);
        EXPECT_EQ(one.output_error.value, many.output_error.value);
        EXPECT_EQ(one.recall.standard_error, many.recall.standard_error);
        EXPECT_EQ(one.output_error.standard_error, many.output_error.standard_error);
      }
    }
}

// ---- Bad arguments ------------------------------------------------------------------------------

TEST(Recall, ModelsThatMakeNoSenseAreRefused) {
  const double nan = std::nan("");
  const AttentionModel good = AttentionModel::isotropic(2);
  std::vector<AttentionModel> bad;
  for (const double s : {0.0, -1.0, nan, -infinity})
    for (double AxisLengths::*axis : {&AxisLengths::t, &AxisLengths::y, &AxisLengths::x}) {
      bad.push_back(good);
      bad.back().bandwidth.*axis = s;
    }
  for (const double l : {-1e-9, nan, -infinity})
    for (double AxisLengths::*axis : {&AxisLengths::t, &AxisLengths::y, &AxisLengths::x}) {
      bad.push_back(good);
      bad.back().correlation[3].length.*axis = l;
    }
  for (const double weight : {0.0, -1.0, nan, infinity}) {
    bad.push_back(good);
    bad.back().correlation[5].weight = weight;
  }
  bad.push_back({{1, 1, 1}, {}});
  for (const char* text : {"full", "skiparse-1d"}) {
    const Mask mask = mask_of(Layout(parse_pattern(text, {2, 2, 2}), {2, 4, 4}, Phase::token));
    phase_error(mask, good);
    for (std::size_t i = 0; i < bad.size(); ++i)
      EXPECT_THROW(phase_error(mask, bad[i]), InputError) << text << ", model " << i;
  }
}

// ---- Crossovers ---------------------------------------------------------------------------------

struct Crossing {
  const char* what;
  std::vector<double> bandwidths;
  std::function<double(double)> difference;
  std::vector<double> expected;
};
void PrintTo(const Crossing& c, std::ostream* out) {
  *out << c.what;
}

class Crossovers : public testing::TestWithParam<Crossing> {};

TEST_P(Crossovers, AreWhereTheDifferenceChangesSign) {
  const auto& [what, bandwidths, difference, expected] = GetParam();
  std::vector<double> differences;
  for (const double s : bandwidths) differences.push_back(difference(s));
  const auto found = crossovers(bandwidths, differences, [&](double s) {
    EXPECT_GE(s, bandwidths.front() * (1 - 1e-12));
    EXPECT_LE(s, bandwidths.back() * (1 + 1e-12));
    return difference(s);
  });
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-6 * expected[i]);
}

const std::vector<double> powers{0.5, 1, 2, 4, 8, 16};
INSTANTIATE_TEST_SUITE_P(
    Recall, Crossovers,
    testing::Values(
        Crossing{"no points", {}, [](double) { return 1; }, {}},
        Crossing{"one point", {2}, [](double) { return 1; }, {}},
        Crossing{"none", powers, [](double s) { return 1 + s; }, {}},
        Crossing{"equal", powers, [](double) { return 0; }, {}},
        Crossing{"rising", powers, [](double s) { return s - 3; }, {3}},
        Crossing{"falling", powers, [](double s) { return 3 - s; }, {3}},
        Crossing{"several",
                 powers,
                 [](double s) { return (s - 0.6) * (s - 3) * (s - 5) * (s - 15); },
                 {0.6, 3, 5, 15}},
        Crossing{"two between neighbours cannot be seen",
                 powers,
                 [](double s) { return (s - 2.5) * (s - 3); },
                 {}},
        Crossing{"tiny values", powers, [](double s) { return 1e-290 * (s - 3); }, {3}},
        Crossing{"flat", powers, [](double s) { return std::pow(s - 3, 9); }, {3}},
        Crossing{"jump", powers, [](double s) { return s < 3 ? -1e-9 : 1e9; }, {3}},
        Crossing{"steep", powers, [](double s) { return std::expm1(300 * (s - 3)); }, {3}},
        Crossing{"close to a point", powers, [](double s) { return s - 2 * (1 + 1e-12); }, {2}},
        Crossing{"touches between points", powers, [](double s) { return (s - 3) * (s - 3); }, {}},
        Crossing{"touches at a point", powers, [](double s) { return (s - 4) * (s - 4); }, {}},
        Crossing{"at a point", powers, [](double s) { return s - 4; }, {4}},
        Crossing{"at a point, falling", powers, [](double s) { return 4 - s; }, {4}},
        Crossing{"at and between points",
                 powers,
                 [](double s) { return (s - 1) * (s - 3) * (s - 8); },
                 {1, 3, 8}},
        Crossing{"starts at zero", powers, [](double s) { return s - 0.5; }, {}},
        Crossing{"ends at zero", powers, [](double s) { return s - 16; }, {}},
        Crossing{
            "both vanish at first", powers, [](double s) { return s < 1.5 ? 0 : s - 3; }, {3}}));

TEST(Crossovers, WithoutANumberThereIsNone) {
  const double nan = std::nan("");
  const std::vector<double> bandwidths{1, 2, 4, 8};
  const auto from_three = [&](double s) { return s < 3 ? nan : s - 5; };
  for (const auto& [differences, expected] :
       {std::pair{std::vector{nan, nan, -1.0, 3.0}, std::vector{5.0}},
        std::pair{std::vector{nan, -1.0, -1.0, -1.0}, std::vector<double>{}},
        std::pair{std::vector{-1.0, nan, -1.0, -1.0}, std::vector<double>{}},
        std::pair{std::vector{1.0, nan, -1.0, -1.0}, std::vector<double>{}}}) {
    const auto found = crossovers(bandwidths, differences, from_three);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5);
  }
}

}  // namespace
}  // namespace ospsim
