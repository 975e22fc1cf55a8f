#include "analysis/mask.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"
#include "tests/analysis/random_cases.hpp"

namespace ospsim {
namespace {

// ---- The oracle: every pair of tokens -----------------------------------------------------------

/// [query * tokens + key]
using Pairs = std::vector<bool>;

struct Token {
  std::int64_t t, y, x;
};
Token token_at(const Grid& grid, std::int64_t i) {
  return {i / (grid.h * grid.w), i / grid.w % grid.h, i % grid.w};
}

template <class Attends>
Pairs pairs_where(const Grid& grid, const Attends& attends) {
  Pairs pairs;
  for (std::int64_t q = 0; q < grid.tokens(); ++q)
    for (std::int64_t k = 0; k < grid.tokens(); ++k) pairs.push_back(attends(q, k));
  return pairs;
}

Pairs pairs_of(const Mask& mask) {
  return pairs_where(mask.grid, [&](auto q, auto k) { return mask.attends(q, k); });
}

bool local_axis(std::int64_t q, std::int64_t k, std::int64_t n, std::int64_t window,
                std::int64_t stride) {
  if (window >= n) return true;
  std::int64_t leader = (q / stride) * stride + stride / 2;
  if (leader > n - 1) leader = n - 1;
  std::int64_t start = leader - window / 2;
  if (start < 0) start = 0;
  if (start > n - window) start = n - window;
  return k >= start && k <= start + window - 1;
}

bool tile_axis(std::int64_t q, std::int64_t k, std::int64_t n, std::int64_t tile,
               std::int64_t window) {
  const std::int64_t tiles = n / tile + (n % tile == 0 ? 0 : 1);
  if (window >= tiles) return true;
  const std::int64_t half = (window - 1) / 2;
  std::int64_t centre = q / tile;
  while (centre < half) ++centre;
  while (centre + half > tiles - 1) --centre;
  return k / tile >= centre - half && k / tile <= centre + half;
}

Pairs svg_pairs(const Grid& grid, double density, std::int64_t block, bool temporal) {
  const double band = static_cast<double>(grid.tokens()) * (1 - std::sqrt(1 - density));
  const double blocks = std::ceil(band / static_cast<double>(block));
  const auto position = [&](std::int64_t i) {
    const Token token = token_at(grid, i);
    return temporal ? (token.y * grid.w + token.x) * grid.t + token.t : i;
  };
  return pairs_where(grid, [&](auto q, auto k) {
    const std::int64_t bq = position(q) / block, bk = position(k) / block;
    return static_cast<double>(bq > bk ? bq - bk : bk - bq) <= blocks ||
           bk * block < grid.h * grid.w;
  });
}

int bit_length(std::int64_t n) {
  int bits = 0;
  for (; n > 0; n /= 2) ++bits;
  return bits;
}

/// The rule between tokens, then of each pair of frames the blocks it leaves, then all of them.
Pairs radial_pairs(const Grid& grid, double decay, double adjacent, bool sink, std::int64_t block) {
  const std::int64_t frame = grid.h * grid.w, tokens = grid.tokens();
  const auto rule = [&](std::int64_t i, std::int64_t j, std::int64_t p, std::int64_t p2) {
    const std::int64_t d = i > j ? i - j : j - i;
    const auto apart = static_cast<double>(p > p2 ? p - p2 : p2 - p);
    if (d == 0 || (sink && j == 0)) return true;
    if (d == 1) return apart <= adjacent * static_cast<double>(frame);
    const double span = std::pow(2.0, bit_length(frame)) / std::pow(2.0, bit_length(d));
    const auto b = static_cast<double>(block);
    if (span < b && d % static_cast<std::int64_t>(std::floor(b / span)) != 0) return false;
    return apart <= std::max(b, decay * span);
  };
  const std::int64_t blocks = (tokens + block - 1) / block;
  Pairs kept(index(blocks * blocks));
  for (std::int64_t b = 0; b < blocks; ++b) kept[index(b * blocks + b)] = true;
  for (std::int64_t i = 0; i < grid.t; ++i)
    for (std::int64_t j = 0; j < grid.t; ++j) {
      // Of each block of queries and each key of frame j: how many of the block see it.
      std::vector<std::int64_t> seen_by(index(blocks * frame));
      for (std::int64_t p = 0; p < frame; ++p)
        for (std::int64_t p2 = 0; p2 < frame; ++p2)
          if (rule(i, j, p, p2)) ++seen_by[index((i * frame + p) / block * frame + p2)];
      for (std::int64_t bq = 0; bq < blocks; ++bq)
        for (std::int64_t bk = 0; bk < blocks; ++bk) {
          double any = 0, dense = 0;
          for (std::int64_t k = bk * block; k < std::min(tokens, (bk + 1) * block); ++k) {
            if (k / frame != j) continue;
            const auto by = static_cast<double>(seen_by[index(bq * frame + k % frame)]);
            if (by > 0) any += 1;
            if (by / static_cast<double>(block) > 1.0 / 3) dense += 1;
          }
          if (any > 0 && dense / any > 0.6) kept[index(bq * blocks + bk)] = true;
        }
    }
  return pairs_where(grid,
                     [&](auto q, auto k) { return kept[index(q / block * blocks + k / block)]; });
}

// ---- Random cases -------------------------------------------------------------------------------

Grid random_grid(std::int64_t t, std::int64_t h, std::int64_t w) {
  return {whole(1, t), whole(1, h), whole(1, w)};
}

const std::vector<std::string> patterns{
    "full",     "skiparse-1d", "skiparse-2d", "skiparse-3d",  "window",
    "2+1d",     "skip+window", "s0|s1",       "t,s0|t,s1",    "y2,x|t0",
    "i1,i0|i2", "i/3|i0",      "s|s0",        "y/2,x0|yb,x1", "t0,x/2|y1,x0,tb"};

Pattern random_pattern(const std::vector<std::string>& texts) {
  const std::string text = one_of(texts);
  return parse_pattern(text, random_ratio(text), text == "skiparse-1d" && whole(0, 1) == 1);
}

// ---- Masks against their definitions ------------------------------------------------------------

RC_GTEST_PROP(MaskOf, TokensAttendIffTheySharePlacesSubsequence, ()) {
  const Grid grid = random_grid(7, 9, 9);
  const Pattern pattern = random_pattern(patterns);
  const std::vector<Mask> masks = masks_of(pattern, grid);
  RC_ASSERT(masks.size() == pattern.phase_count());
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout layout(pattern, grid, phase);
    const Mask mask = mask_of(layout);
    RC_ASSERT(mask.grid == grid);
    RC_ASSERT(pairs_of(mask) == pairs_where(grid, [&](auto q, auto k) {
                return layout.place(q).subsequence == layout.place(k).subsequence;
              }));
    RC_ASSERT(attended_pairs(mask) == attended_pairs(layout));
    RC_ASSERT(pairs_of(phase == Phase::token ? masks.front() : masks.back()) == pairs_of(mask));
  }
}

RC_GTEST_PROP(NamedMask, LocalIsItsDefinition, ()) {
  const Grid grid = random_grid(6, 9, 9);
  const Grid window = random_grid(7, 10, 10);
  const Grid stride = random_grid(window.t, window.h, window.w);
  const bool strided = whole(0, 3) > 0;
  const auto text = fmt::format("local:window={}", to_string(window)) +
                    (strided ? fmt::format(",stride={}", to_string(stride)) : "");
  const Grid step = strided ? stride : Grid{1, 1, 1};
  RC_ASSERT(pairs_of(parse_mask(text, grid)) == pairs_where(grid, [&](auto q, auto k) {
              const Token a = token_at(grid, q), b = token_at(grid, k);
              return local_axis(a.t, b.t, grid.t, window.t, step.t) &&
                     local_axis(a.y, b.y, grid.h, window.h, step.h) &&
                     local_axis(a.x, b.x, grid.w, window.w, step.w);
            }));
}

RC_GTEST_PROP(NamedMask, SlidingTileIsItsDefinition, ()) {
  const Grid grid = random_grid(6, 9, 9), tile = random_grid(3, 3, 3);
  const Grid window = random_grid(6, 6, 6);
  const auto text =
      fmt::format("sliding-tile:window={},tile={}", to_string(window), to_string(tile));
  const auto odd_or_all = [](std::int64_t k, std::int64_t n, std::int64_t size) {
    return k % 2 == 1 || k * size >= n;
  };
  if (!odd_or_all(window.t, grid.t, tile.t) || !odd_or_all(window.h, grid.h, tile.h) ||
      !odd_or_all(window.w, grid.w, tile.w)) {
    RC_ASSERT_THROWS_AS(parse_mask(text, grid), InputError);
    return;
  }
  RC_ASSERT(pairs_of(parse_mask(text, grid)) == pairs_where(grid, [&](auto q, auto k) {
              const Token a = token_at(grid, q), b = token_at(grid, k);
              return tile_axis(a.t, b.t, grid.t, tile.t, window.t) &&
                     tile_axis(a.y, b.y, grid.h, tile.h, window.h) &&
                     tile_axis(a.x, b.x, grid.w, tile.w, window.w);
            }));
}

RC_GTEST_PROP(NamedMask, SvgIsItsDefinition, ()) {
  const Grid grid = random_grid(6, 7, 7);
  const double density = one_of<double>({1e-6, 0.1, 0.2, 0.3, 0.5, 0.75, 0.9, 1});
  const std::int64_t block = whole(1, 20);
  for (const bool temporal : {false, true}) {
    const auto text = fmt::format("svg-{}:density={},block={}", temporal ? "temporal" : "spatial",
                                  density, block);
    RC_ASSERT(pairs_of(parse_mask(text, grid)) == svg_pairs(grid, density, block, temporal));
  }
}

RC_GTEST_PROP(NamedMask, RadialIsItsDefinition, ()) {
  const Grid grid = random_grid(14, 5, 6);
  const double decay = one_of<double>({0, 0.1, 0.5, 1, 2});
  const double adjacent = one_of<double>({0, 0.25, 0.5, 1});
  const bool sink = whole(0, 1) == 1;
  const std::int64_t block = whole(1, 20);
  const auto text = fmt::format("radial:decay={},adjacent={},sink={},block={}", decay, adjacent,
                                sink ? 1 : 0, block);
  RC_ASSERT(pairs_of(parse_mask(text, grid)) == radial_pairs(grid, decay, adjacent, sink, block));
}

TEST(NamedMask, ParametersThatAreNotGiven) {
  const Grid grid{7, 17, 18};
  const auto same = [&](const char* one, const char* other) {
    EXPECT_EQ(pairs_of(parse_mask(one, grid)), pairs_of(parse_mask(other, grid))) << one;
  };
  same("local:window=3x5x5", "local:stride=1x1x1,window=3x5x5");
  same("sliding-tile:window=1x1x1", "sliding-tile:tile=6x8x8,window=1x1x1");
  same("svg-spatial:density=0.3", "svg-spatial:block=128,density=0.3");
  same("svg-temporal:density=0.3", "svg-temporal:block=128,density=0.3");
  same("radial:decay=0.5", "radial:decay=0.5,adjacent=0.5,sink=1,block=128");
}

TEST(NamedMask, EveryTokenAttendsToItself) {
  for (const Grid grid :
       {Grid{1, 1, 1}, Grid{9, 1, 1}, Grid{1, 9, 1}, Grid{1, 1, 9}, Grid{5, 3, 4}})
    for (const char* text :
         {"local:window=1x1x1", "local:window=4x4x4,stride=3x4x2",
          "sliding-tile:window=1x1x1,tile=2x2x2", "svg-spatial:density=0.01,block=3",
          "svg-temporal:density=0.01,block=3", "radial:decay=0,adjacent=0,sink=0,block=1",
          "radial:decay=0,adjacent=0,sink=0,block=40"}) {
      const Mask mask = parse_mask(text, grid);
      for (std::int64_t i = 0; i < grid.tokens(); ++i)
        EXPECT_TRUE(mask.attends(i, i)) << text << " on " << to_string(grid);
    }
}

struct Published {
  const char* mask;
  Grid grid;
  double sparsity;
};
void PrintTo(const Published& p, std::ostream* out) {
  *out << p.mask << " on " << to_string(p.grid);
}

class PublishedSparsity : public testing::TestWithParam<Published> {};

TEST_P(PublishedSparsity, HoldsToFourDigits) {
  const auto& [text, grid, published] = GetParam();
  const Mask mask = parse_mask(text, grid);
  const auto tokens = static_cast<double>(grid.tokens());
  EXPECT_NEAR(1 - static_cast<double>(attended_pairs(mask)) / tokens / tokens, published, 5e-5);
  EXPECT_NEAR(1 - 1 / sparsity(mask), published, 5e-5);
}

INSTANTIATE_TEST_SUITE_P(
    NamedMask, PublishedSparsity,
    testing::Values(Published{"radial:decay=0.2", {18, 48, 80}, 0.7366},
                    Published{"radial:decay=0.2,adjacent=1", {18, 48, 80}, 0.7129},
                    Published{"radial:decay=0.2", {21, 48, 80}, 0.7592},
                    Published{"radial:decay=0.2,adjacent=1", {21, 48, 80}, 0.7386},
                    Published{"radial:decay=0.95,adjacent=1,sink=0", {30, 48, 80}, 0.7254},
                    Published{"sliding-tile:window=3x3x3", {30, 48, 80}, 0.91},
                    Published{"sliding-tile:window=5x3x5", {30, 48, 80}, 0.75},
                    Published{"sliding-tile:window=5x5x5", {30, 48, 80}, 0.5833},
                    Published{"local:window=18x24x24", {30, 48, 80}, 0.91}));

// ---- The questions of interaction.hpp, against walks from every token ---------------------------

constexpr std::int64_t unconnected = std::numeric_limits<std::int64_t>::max();

/// Fewest operations from each token to each other one, breadth first.
std::vector<std::int64_t> distances(const Pairs& pairs, std::int64_t tokens) {
  std::vector<std::int64_t> all;
  for (std::int64_t from = 0; from < tokens; ++from) {
    std::vector<std::int64_t> distance(index(tokens), unconnected), queue{from};
    distance[index(from)] = 0;
    for (std::size_t next = 0; next < queue.size(); ++next)
      for (std::int64_t k = 0; k < tokens; ++k)
        if (pairs[index(queue[next] * tokens + k)] && distance[index(k)] == unconnected) {
          distance[index(k)] = distance[index(queue[next])] + 1;
          queue.push_back(k);
        }
    all.insert(all.end(), distance.begin(), distance.end());
  }
  return all;
}

void reach_and_distance_equal_walks(const Mask& mask) {
  const std::int64_t n = mask.grid.tokens();
  const auto tokens = static_cast<Count>(n);
  const auto distance = distances(pairs_of(mask), n);
  const int hops = 5;
  const auto result = reach(mask, hops);
  RC_ASSERT(std::ssize(result) == hops);
  for (int h = 1; h <= hops; ++h) {
    std::int64_t least = n, sum = 0;
    for (auto row = distance.begin(); row != distance.end(); row += n) {
      const std::int64_t reached = std::count_if(row, row + n, [&](auto d) { return d <= h; });
      least = std::min(least, reached);
      sum += reached;
    }
    const Reach& at = result[index(h - 1)];
    RC_ASSERT(at.hops == h);
    RC_ASSERT(at.fraction_min.numerator == static_cast<Count>(least));
    RC_ASSERT(at.fraction_min.denominator == tokens);
    RC_ASSERT(at.fraction_mean.numerator == static_cast<Count>(sum));
    RC_ASSERT(at.fraction_mean.denominator == tokens * tokens);
  }
  Count sum = 0, connected = 0, one = 0;
  for (const auto d : distance) {
    if (d == unconnected) continue;
    sum += static_cast<Count>(d);
    ++connected;
    if (d <= 1) ++one;
  }
  const auto [over_connected, never] = average_distance(mask);
  RC_ASSERT(over_connected.numerator == sum);
  RC_ASSERT(over_connected.denominator == connected);
  RC_ASSERT(never.numerator == tokens * tokens - connected);
  RC_ASSERT(never.denominator == tokens * tokens);
  RC_ASSERT(attended_pairs(mask) == one);
  RC_ASSERT(std::abs(sparsity(mask) * static_cast<double>(one) - static_cast<double>(n * n)) <
            1e-9 * static_cast<double>(n * n));
}

struct Neighbours {
  std::int64_t met = 0, all = 0;
};
/// Pairs inside a frame whose distance (dy, dx) is `counted`.
template <class Counted>
Neighbours neighbours(const Mask& mask, const Counted& counted) {
  Neighbours result;
  const Grid& grid = mask.grid;
  for (std::int64_t q = 0; q < grid.tokens(); ++q)
    for (std::int64_t k = 0; k < grid.tokens(); ++k) {
      const Token a = token_at(grid, q), b = token_at(grid, k);
      if (a.t != b.t || !counted(b.y - a.y, b.x - a.x)) continue;
      ++result.all;
      if (mask.attends(q, k)) ++result.met;
    }
  return result;
}

void neighbours_equal_counts(const Mask& mask, std::int64_t radius) {
  const auto near = neighbours(mask, [&](auto dy, auto dx) {
    return (dy != 0 || dx != 0) && std::abs(dy) <= radius && std::abs(dx) <= radius;
  });
  const auto coverage = neighbour_coverage(mask, radius);
  RC_ASSERT(coverage.has_value() == (near.all > 0));
  if (coverage)
    RC_ASSERT(coverage->numerator * static_cast<Count>(near.all) ==
              coverage->denominator * static_cast<Count>(near.met));

  double least = 2, most = 0;
  for (const auto& [oy, ox] : {std::pair{-1, 0}, {1, 0}, {0, -1}, {0, 1}}) {
    const auto at = neighbours(mask, [&](auto dy, auto dx) { return dy == oy && dx == ox; });
    if (at.all == 0) continue;
    least = std::min(least, static_cast<double>(at.met) / static_cast<double>(at.all));
    most = std::max(most, static_cast<double>(at.met) / static_cast<double>(at.all));
  }
  const auto ratio = anisotropy(mask);
  RC_ASSERT(ratio.has_value() == (most > 0 && least > 0));
  if (ratio) RC_ASSERT(std::abs(*ratio - most / least) < 1e-12 * most / least);
}

RC_GTEST_PROP(MaskInteraction, RandomMasksEqualWalks, ()) {
  const Mask mask = random_mask(random_grid(4, 5, 5));
  reach_and_distance_equal_walks(mask);
  neighbours_equal_counts(mask, whole(1, 5));
}

RC_GTEST_PROP(MaskInteraction, NamedMasksEqualWalks, ()) {
  const Mask mask =
      parse_mask(one_of<std::string>(
                     {"local:window=1x3x3", "local:window=3x2x4,stride=2x1x3",
                      "sliding-tile:tile=2x2x2,window=1x3x1", "svg-spatial:density=0.2,block=3",
                      "svg-temporal:density=0.2,block=4", "radial:decay=0.5,block=5",
                      "radial:decay=0,adjacent=0.25,sink=0,block=2"}),
                 random_grid(5, 5, 5));
  reach_and_distance_equal_walks(mask);
  neighbours_equal_counts(mask, whole(1, 5));
}

RC_GTEST_PROP(MaskInteraction, OnePhasePartitionsEqualTheirClosedForms, ()) {
  const Pattern pattern =
      random_pattern({"full", "window", "t,y0", "y0,x1", "s0", "t,s1", "i/3", "i1", "t0,y/2,x"});
  const Phases phases(pattern, random_grid(9, 12, 12));
  const Mask mask = mask_of(phases.token);
  const auto equal = [](const Fraction& a, const Fraction& b) {
    return a.numerator * b.denominator == b.numerator * a.denominator;
  };
  const auto ours = reach(mask, 3), theirs = reach(phases, 3);
  for (std::size_t h = 0; h < 3; ++h) {
    RC_ASSERT(equal(ours[h].fraction_min, theirs[h].fraction_min));
    RC_ASSERT(equal(ours[h].fraction_mean, theirs[h].fraction_mean));
  }
  const auto our_distance = average_distance(mask), distance = average_distance(phases);
  RC_ASSERT(equal(our_distance.over_connected, distance.over_connected));
  RC_ASSERT(equal(our_distance.unconnected, distance.unconnected));
  const std::int64_t radius = whole(1, 4);
  const auto our_coverage = neighbour_coverage(mask, radius),
             coverage = neighbour_coverage(phases, radius);
  RC_ASSERT(our_coverage.has_value() == coverage.has_value());
  if (coverage) RC_ASSERT(equal(*our_coverage, *coverage));
  const auto our_anisotropy = anisotropy(mask), of_phases = anisotropy(phases);
  RC_ASSERT(our_anisotropy.has_value() == of_phases.has_value());
  if (of_phases) RC_ASSERT(std::abs(*our_anisotropy - *of_phases) < 1e-12 * *of_phases);
}

// ---- What cannot be a mask ----------------------------------------------------------------------

struct Refused {
  const char* mask;
  const char* culprit;  ///< what the message names
  Grid grid{4, 6, 8};
};
void PrintTo(const Refused& r, std::ostream* out) {
  *out << "'" << r.mask << "' on " << to_string(r.grid);
}

class MaskText : public testing::TestWithParam<Refused> {};

TEST_P(MaskText, IsRefusedInOneLineThatNamesTheCulprit) {
  const auto& [text, culprit, grid] = GetParam();
  try {
    parse_mask(text, grid);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(culprit), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

INSTANTIATE_TEST_SUITE_P(Names, MaskText,
                         testing::Values(Refused{"", "mask"}, Refused{":", "mask"},
                                         Refused{"loca", "loca"},
                                         Refused{"locals:window=1x1x1", "locals"},
                                         Refused{"Local:window=1x1x1", "Local"},
                                         Refused{" local:window=1x1x1", " local"},
                                         Refused{"skiparse-2d", "skiparse-2d"}));
INSTANTIATE_TEST_SUITE_P(
    Keys, MaskText,
    testing::Values(
        Refused{"local", "window"}, Refused{"local:", "window"}, Refused{"local:window=", "window"},
        Refused{"local:window", "window"}, Refused{"local:stride=1x1x1", "window"},
        Refused{"sliding-tile", "window"}, Refused{"sliding-tile:tile=1x1x1", "window"},
        Refused{"svg-spatial", "density"}, Refused{"svg-temporal:block=8", "density"},
        Refused{"radial", "decay"}, Refused{"radial:adjacent=1", "decay"},
        Refused{"local:window=1x1x1,window=1x1x1", "window"},
        Refused{"radial:decay=1,decay=1", "decay"},
        Refused{"local:window=1x1x1,tile=2x2x2", "tile"},
        Refused{"sliding-tile:window=1x1x1,stride=1x1x1", "stride"},
        Refused{"svg-spatial:density=0.5,decay=1", "decay"},
        Refused{"radial:decay=1,density=1", "density"}, Refused{"radial:decay=1,=1", "''"},
        Refused{"radial:decay=1,Sink=1", "Sink"}, Refused{"radial:decay=1,sink", "sink"},
        Refused{"radial:,decay=1", "key=value"}, Refused{"radial:decay=1,,sink=1", "key=value"},
        Refused{"radial:decay=1,", "key=value"}, Refused{"local:window=1x1x1,", "key=value"},
        Refused{"radial:decay=1;sink=1", "decay"}));
INSTANTIATE_TEST_SUITE_P(Extents, MaskText,
                         testing::Values(Refused{"local:window=3", "window=3"},
                                         Refused{"local:window=3x3", "window=3x3"},
                                         Refused{"local:window=3x3x3x3", "window=3x3x3x3"},
                                         Refused{"local:window=0x3x3", "window=0x3x3"},
                                         Refused{"local:window=3x-3x3", "window=3x-3x3"},
                                         Refused{"local:window=3x3x3 ", "window"},
                                         Refused{"local:window=3x3x3.5", "window"},
                                         Refused{"local:window=nanx3x3", "window"},
                                         Refused{"local:window=9999999999999999999x1x1", "window"},
                                         Refused{"local:window=3x3x3,stride=4x1x1", "stride"},
                                         Refused{"local:window=3x3x3,stride=1x4x1", "stride"},
                                         Refused{"local:window=3x3x3,stride=1x1x4", "stride"},
                                         Refused{"local:window=3x3x3,stride=0x1x1", "stride"},
                                         Refused{"sliding-tile:tile=1x1x1,window=2x1x1", "window"},
                                         Refused{"sliding-tile:tile=1x1x1,window=1x4x1", "window"},
                                         Refused{"sliding-tile:tile=1x1x1,window=1x1x6", "window"},
                                         Refused{"sliding-tile:tile=0x1x1,window=1x1x1", "tile"}));
INSTANTIATE_TEST_SUITE_P(
    Numbers, MaskText,
    testing::Values(
        Refused{"svg-spatial:density=0", "density"}, Refused{"svg-spatial:density=-0.5", "density"},
        Refused{"svg-spatial:density=1.0001", "density"},
        Refused{"svg-spatial:density=nan", "density"},
        Refused{"svg-spatial:density=inf", "density"}, Refused{"svg-spatial:density=", "density"},
        Refused{"svg-spatial:density=0.5x", "density"},
        Refused{"svg-spatial:density= 0.5", "density"},
        Refused{"svg-spatial:density=1e-999", "density"},
        Refused{"svg-temporal:density=0.5,block=0", "block"},
        Refused{"svg-temporal:density=0.5,block=-1", "block"},
        Refused{"svg-temporal:density=0.5,block=nan", "block"},
        Refused{"svg-temporal:density=0.5,block=8x", "block"},
        Refused{"svg-temporal:density=0.5,block=2.5", "block"},
        Refused{"svg-temporal:density=0.5,block=1e99", "block"},
        Refused{"radial:decay=-1", "decay"}, Refused{"radial:decay=nan", "decay"},
        Refused{"radial:decay=1e999", "decay"}, Refused{"radial:decay=1,adjacent=1.5", "adjacent"},
        Refused{"radial:decay=1,adjacent=-0.5", "adjacent"},
        Refused{"radial:decay=1,sink=2", "sink"}, Refused{"radial:decay=1,sink=0.5", "sink"},
        Refused{"radial:decay=1,sink=yes", "sink"}, Refused{"radial:decay=1,block=0", "block"},
        Refused{"radial:decay=1,block=7.9", "block"}));
INSTANTIATE_TEST_SUITE_P(
    Sizes, MaskText,
    testing::Values(Refused{"local:window=1x1x1", "tokens", {1, 1, (1 << 24) + 1}},
                    Refused{"local:window=1x1x1", "tokens", {1 << 17, 1 << 18, 1 << 18}},
                    Refused{"local:window=1x1x1", "blocks along x", {1, 1, 8193}},
                    Refused{"sliding-tile:tile=1x1x1,window=1x1x1", "blocks along t", {8193, 1, 1}},
                    Refused{"svg-spatial:density=0.5,block=1", "blocks", {1, 1, 8193}},
                    Refused{"svg-temporal:density=0.5,block=1", "blocks", {2, 1000, 1000}},
                    Refused{"radial:decay=1,block=1", "blocks", {1, 1, 1 << 24}}));

TEST(MaskText, NamesAndWhatIsOne) {
  const auto names = mask_names();
  EXPECT_EQ(names, (std::vector<std::string_view>{"local", "sliding-tile", "svg-spatial",
                                                  "svg-temporal", "radial"}));
  for (const auto name : names) {
    EXPECT_TRUE(is_mask(name));
    EXPECT_TRUE(is_mask(std::string(name) + ":anything"));
    EXPECT_FALSE(is_mask(std::string(name) + "s"));
    EXPECT_FALSE(is_mask(name.substr(1)));
  }
  for (const char* text : {"", ":", "full", "skiparse-2d", "window"}) EXPECT_FALSE(is_mask(text));
}

TEST(MaskOf, PartitionsOfMoreClassesThanAMaskCanHaveAreRefused) {
  const Layout layout(parse_pattern("x", {1, 1, 1}), {1, 1, 8193}, Phase::token);
  EXPECT_THROW(mask_of(layout), InputError);
}

}  // namespace
}  // namespace ospsim
