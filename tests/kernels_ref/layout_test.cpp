#include "kernels_ref/layout/layout.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/layout/digits.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

Layout make(const char* pattern, std::int64_t k, Grid grid, Phase phase, bool per_frame = false) {
  return Layout(parse_pattern(pattern, {k, k, k}, per_frame), grid, phase);
}

std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// ---- Hand-sized numbers ------------------------------------------------------------------------

TEST(Layout, Skiparse2dOnOneFourByFourFrame) {
  // Ratio 2: token phase gathers every second pixel, group phase the blocks of two by two that are
  // two apart. Numbers of sub-sequences, pixel by pixel:
  const std::vector<std::int64_t> token{0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3};
  const std::vector<std::int64_t> group{0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3};
  const Layout t = make("skiparse-2d", 2, {1, 4, 4}, Phase::token);
  const Layout g = make("skiparse-2d", 2, {1, 4, 4}, Phase::group);
  for (std::int64_t i = 0; i < 16; ++i) {
    EXPECT_EQ(t.place(i).subsequence, token[static_cast<std::size_t>(i)]);
    EXPECT_EQ(g.place(i).subsequence, group[static_cast<std::size_t>(i)]);
  }
  EXPECT_EQ(t.tokens_of(3), (std::vector<std::int64_t>{5, 7, 13, 15}));
  EXPECT_EQ(g.tokens_of(1), (std::vector<std::int64_t>{2, 3, 6, 7}));
}

TEST(Layout, Skiparse1dOnNineTokens) {
  const Layout t = make("skiparse-1d", 3, {1, 1, 9}, Phase::token);
  const Layout g = make("skiparse-1d", 3, {1, 1, 9}, Phase::group);
  EXPECT_EQ(t.tokens_of(1), (std::vector<std::int64_t>{1, 4, 7}));
  EXPECT_EQ(g.tokens_of(1), (std::vector<std::int64_t>{3, 4, 5}));
}

TEST(Layout, PaperGrids) {
  const Layout padded = make("skiparse-2d", 2, {21, 45, 80}, Phase::token);
  EXPECT_EQ(padded.axis(1).padded, 48);
  EXPECT_EQ(padded.padded_tokens(), 80640);
  EXPECT_EQ(padded.subsequences(), 4);
  EXPECT_EQ(padded.subsequence_length(), 20160);
  for (const Phase phase : {Phase::token, Phase::group})
    EXPECT_EQ(valid_lengths(make("skiparse-2d", 2, {21, 45, 80}, phase)),
              (std::vector<LengthCount>{{18480, 2}, {19320, 2}}));
  EXPECT_EQ(valid_lengths(make("skiparse-2d", 2, {21, 48, 80}, Phase::group)),
            (std::vector<LengthCount>{{20160, 4}}));
}

// ---- Against the paper's index form (section 3.1, Open-Sora Plan v1.3), written out ------------

struct Case {
  Grid grid;
  std::int64_t k;
};

std::vector<Case> ragged_cases() {
  std::vector<Case> cases;
  for (const std::int64_t k : {1, 2, 3, 4})
    for (const Grid grid : {Grid{1, 1, 1}, Grid{2, 5, 7}, Grid{3, 9, 16}, Grid{2, 17, 10},
                            Grid{5, 4, 33}, Grid{1, 36, 36}})
      cases.push_back({grid, k});
  return cases;
}

TEST(Layout, Skiparse2dIsTheIndexFormOfThePaper) {
  for (const auto& [grid, k] : ragged_cases()) {
    const std::int64_t height = round_up(grid.h, k * k), width = round_up(grid.w, k * k);
    const Layout token = make("skiparse-2d", k, grid, Phase::token);
    const Layout group = make("skiparse-2d", k, grid, Phase::group);
    ASSERT_EQ(token.padded_tokens(), grid.t * height * width);
    for (std::int64_t t = 0; t < grid.t; ++t)
      for (std::int64_t y = 0; y < grid.h; ++y)
        for (std::int64_t x = 0; x < grid.w; ++x) {
          const std::int64_t i = (t * grid.h + y) * grid.w + x;
          const std::int64_t y0 = y % k, y1 = y / k % k, yb = y / (k * k);
          const std::int64_t x0 = x % k, x1 = x / k % k, xb = x / (k * k);
          ASSERT_EQ(
              token.place(i),
              (Place{y0 * k + x0, (t * (height / k) + yb * k + y1) * (width / k) + xb * k + x1}));
          ASSERT_EQ(
              group.place(i),
              (Place{y1 * k + x1, (t * (height / k) + yb * k + y0) * (width / k) + xb * k + x0}));
        }
  }
}

TEST(Layout, Skiparse1dIsTheIndexFormOfOpenSoraPlan) {
  for (const auto& [grid, k] : ragged_cases()) {
    const Layout token = make("skiparse-1d", k, grid, Phase::token);
    const Layout group = make("skiparse-1d", k, grid, Phase::group);
    ASSERT_EQ(token.padded_tokens(), round_up(grid.tokens(), k * k));
    for (std::int64_t i = 0; i < grid.tokens(); ++i) {
      ASSERT_EQ(token.place(i), (Place{i % k, i / k}));
      ASSERT_EQ(group.place(i), (Place{i / k % k, i / (k * k) * k + i % k}));
    }
  }
}

TEST(Layout, PerFrameSkiparse1dPadsEachFrame) {
  for (const auto& [grid, k] : ragged_cases()) {
    const std::int64_t frame = round_up(grid.frame_tokens(), k * k);
    const Layout token = make("skiparse-1d", k, grid, Phase::token, true);
    const Layout group = make("skiparse-1d", k, grid, Phase::group, true);
    ASSERT_EQ(token.padded_tokens(), grid.t * frame);
    for (std::int64_t i = 0; i < grid.tokens(); ++i) {
      const std::int64_t flat = i / grid.frame_tokens() * frame + i % grid.frame_tokens();
      ASSERT_EQ(token.place(i), (Place{flat % k, flat / k}));
      ASSERT_EQ(group.place(i), (Place{flat / k % k, flat / (k * k) * k + flat % k}));
    }
  }
}

TEST(Layout, TilesFramesAndWindows) {
  const Layout tiles(parse_pattern("window", {1, 2, 3}), {2, 5, 9}, Phase::token);
  EXPECT_EQ(tiles.subsequences(), 6);
  EXPECT_EQ(tiles.axis(1).padded, 6);
  EXPECT_EQ(tiles.place(0), (Place{0, 0}));
  EXPECT_EQ(tiles.place(9 * 3 + 4), (Place{4, 1}));  // y = 3 is tile row 1; x = 4 is tile column 1
  const Layout spatial = make("2+1d", 1, {2, 3, 4}, Phase::token);
  EXPECT_EQ(spatial.place(17), (Place{1, 5}));
  const Layout temporal = make("2+1d", 1, {2, 3, 4}, Phase::group);
  EXPECT_EQ(temporal.place(17), (Place{5, 1}));
  const Layout windows = make("skip+window", 4, {1, 3, 5}, Phase::group);
  EXPECT_EQ(windows.subsequences(), 4);
  EXPECT_EQ(windows.tokens_of(3), (std::vector<std::int64_t>{12, 13, 14}));
  const Layout spelled = make("i0|ib", 4, {1, 3, 5}, Phase::group);
  EXPECT_EQ(spelled, windows);
}

TEST(Layout, EqualPatternsAreEqualLayouts) {
  const Grid grid{4, 10, 13};
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout two(parse_pattern("skiparse-2d", {2, 2, 2}), grid, phase);
    EXPECT_EQ(two, Layout(parse_pattern("skiparse-3d", {1, 2, 2}), grid, phase));
    EXPECT_EQ(two, Layout(parse_pattern("y0,x0|y1,x1", {2, 2, 2}), grid, phase));
    for (const char* pattern : {"skiparse-1d", "skiparse-2d", "skiparse-3d", "window"}) {
      const Layout one = make(pattern, 1, grid, phase);
      EXPECT_EQ(one.subsequences(), 1);
      EXPECT_FALSE(one.is_padded());
    }
  }
}

// The layout is a constant expression once built; its maps run at compile time and on a device.
static_assert(std::is_trivially_copyable_v<Layout>);
static_assert(Grid{21, 45, 80}.tokens() == 75600);

// ---- Properties over random grids --------------------------------------------------------------

struct RandomLayout {
  Grid grid;
  Pattern pattern;
};

RandomLayout random_layout() {
  const auto extent = rc::gen::inRange<std::int64_t>(1, 20);
  const Grid grid{*rc::gen::inRange<std::int64_t>(1, 6), *extent, *extent};
  const std::int64_t k = *rc::gen::inRange<std::int64_t>(1, 5);
  const auto text = *rc::gen::elementOf(std::vector<std::string>{
      "full", "skiparse-1d", "skiparse-2d", "skiparse-3d", "window", "2+1d", "skip+window", "s0|s1",
      "t,s0|t,s1", "y2,x|t0", "y/2,x0|yb,x1", "i1,i0|i2"});
  return {grid, parse_pattern(text, {k, k, k})};
}

RC_GTEST_PROP(LayoutProperty, PlaceAndTokenAreInverse, ()) {
  const auto [grid, pattern] = random_layout();
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout layout(pattern, grid, phase);
    RC_ASSERT(layout.subsequences() * layout.subsequence_length() == layout.padded_tokens());
    std::int64_t valid = 0;
    for (std::int64_t c = 0; c < layout.subsequences(); ++c) {
      const auto tokens = layout.tokens_of(c);
      valid += static_cast<std::int64_t>(tokens.size());
      std::int64_t slot_before = -1;
      for (const auto token : tokens) {
        const Place place = layout.place(token);
        RC_ASSERT(place.subsequence == c);
        RC_ASSERT(place.slot > slot_before);
        RC_ASSERT(layout.token(place) == token);
        slot_before = place.slot;
      }
    }
    RC_ASSERT(valid == grid.tokens());
  }
}

RC_GTEST_PROP(LayoutProperty, TokenToGroupToTokenIsTheIdentity, ()) {
  const auto [grid, pattern] = random_layout();
  const Layout token(pattern, grid, Phase::token), group(pattern, grid, Phase::group);
  const Rearrangement there(token, group), back(group, token);
  std::vector<bool> hit(static_cast<std::size_t>(there.size()));
  for (std::int64_t from = 0; from < there.size(); ++from) {
    RC_ASSERT(back.map(there.map(from)) == from);
    hit[static_cast<std::size_t>(there.map(from))] = true;
  }
  RC_ASSERT(std::count(hit.begin(), hit.end(), true) == there.size());
  for (std::int64_t i = 0; i < grid.tokens(); ++i) {
    const Place a = token.place(i), b = group.place(i);
    RC_ASSERT(there.map(a.subsequence * token.subsequence_length() + a.slot) ==
              b.subsequence * group.subsequence_length() + b.slot);
  }
}

// Paper section 3.1: for Skiparse-2D the switch is one and the same map in both directions.
RC_GTEST_PROP(LayoutProperty, Skiparse2dSwitchIsAnInvolution, ()) {
  const auto extent = rc::gen::inRange<std::int64_t>(1, 30);
  const Grid grid{*rc::gen::inRange<std::int64_t>(1, 4), *extent, *extent};
  const auto k = *rc::gen::inRange<std::int64_t>(1, 5);
  const Layout token = make("skiparse-2d", k, grid, Phase::token);
  const Layout group = make("skiparse-2d", k, grid, Phase::group);
  const Rearrangement there(token, group), back(group, token);
  for (std::int64_t from = 0; from < there.size(); ++from)
    RC_ASSERT(there.map(from) == back.map(from));
}

// Paper section 3.2: rearranging a frame is rearranging each k^2 x k^2 unit by itself.
RC_GTEST_PROP(LayoutProperty, LocalEquivalence, ()) {
  const auto k = *rc::gen::inRange<std::int64_t>(1, 4);
  const auto units = rc::gen::inRange<std::int64_t>(1, 4);
  const std::int64_t rows = *units, columns = *units, unit = k * k;
  const Grid whole{2, rows * unit, columns * unit}, part{2, unit, unit};
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout of_whole = make("skiparse-2d", k, whole, phase);
    const Layout of_unit = make("skiparse-2d", k, part, phase);
    for (std::int64_t i = 0; i < whole.tokens(); ++i) {
      const std::int64_t t = i / whole.frame_tokens(), y = i / whole.w % whole.h, x = i % whole.w;
      const Place inside = of_unit.place((t * unit + y % unit) * unit + x % unit);
      const std::int64_t uy = inside.slot / k % k, ux = inside.slot % k;
      const std::int64_t slot =
          (t * rows * k + y / unit * k + uy) * columns * k + x / unit * k + ux;
      RC_ASSERT(of_whole.place(i) == (Place{inside.subsequence, slot}));
    }
  }
}

RC_GTEST_PROP(LayoutProperty, ClosedFormLengthsAndPairsEqualCounting, ()) {
  const auto [grid, pattern] = random_layout();
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout layout(pattern, grid, phase);
    std::map<std::int64_t, std::int64_t> counted;
    Count pairs = 0;
    for (std::int64_t c = 0; c < layout.subsequences(); ++c) {
      const auto length = static_cast<std::int64_t>(layout.tokens_of(c).size());
      ++counted[length];
      pairs += static_cast<Count>(length) * static_cast<Count>(length);
    }
    std::vector<LengthCount> expected;
    for (const auto& [length, classes] : counted) expected.push_back({length, classes});
    RC_ASSERT(valid_lengths(layout) == expected);
    RC_ASSERT(attended_pairs(layout) == pairs);
  }
}

TEST(Layout, BillionsOfTokensAreClosedForm) {
  const Layout layout = make("skiparse-2d", 2, {1000, 1001, 1000}, Phase::token);
  EXPECT_EQ(valid_lengths(layout),
            (std::vector<LengthCount>{{1000LL * 500 * 500, 2}, {1000LL * 501 * 500, 2}}));
  const Layout flat = make("skip+window", 4, {1, 1, 1000000001}, Phase::group);
  EXPECT_EQ(valid_lengths(flat), (std::vector<LengthCount>{{1, 1}, {4, 250000000}}));
}

// ---- Bad input ---------------------------------------------------------------------------------

TEST(Layout, RejectsWhatItCannotLay) {
  for (const char* grid :
       {"", "21x45", "21x45x80x1", "0x45x80", "-1x4x4", "21X45X80", "21x45x80 ", "axbxc",
        "99999999999999999999x1x1", "1000000x1000000x1000000", "21xx80"})
    EXPECT_THROW(parse_grid(grid), InputError) << grid;
  for (const char* ratio : {"", "0", "-2", "2,2", "1,2,3,4", "2.5", "70000", "k", "2,"})
    EXPECT_THROW(parse_ratio(ratio), InputError) << ratio;
  for (const char* pattern : {"", "skiparse", "z0", "y0|y1|y2", "y0,y0", "y0,i0", "i0|x0", "t,i0",
                              "y/0", "y-1", "y0,", "|", "y10", "t0,s0|y1"})
    EXPECT_THROW(parse_pattern(pattern, {2, 2, 2}), InputError) << pattern;
  EXPECT_THROW(parse_pattern("skiparse-2d", {1, 2, 2}), InputError);
  EXPECT_THROW(parse_pattern("skiparse-2d", {2, 2, 2}, true), InputError);
  EXPECT_THROW(make("skiparse-2d", 65536, {1, 1, 1}, Phase::token), InputError);
  EXPECT_THROW(make("y/2|y/3", 2, {1, 12, 12}, Phase::token), InputError);
  EXPECT_THROW(grid_of_video("1080p", 81), InputError);
  EXPECT_THROW(grid_of_video("720p", 80), InputError);
  EXPECT_THROW(grid_of_video("721x1280", 81), InputError);
}

TEST(Grid, OfVideos) {
  EXPECT_EQ(grid_of_video("720p", 81), (Grid{21, 45, 80}));
  EXPECT_EQ(grid_of_video("768p", 81), (Grid{21, 48, 80}));
  EXPECT_EQ(grid_of_video("480p", 81), (Grid{21, 30, 52}));
  EXPECT_EQ(grid_of_video("512x512", 93), (Grid{24, 32, 32}));
}

}  // namespace
}  // namespace ospsim
