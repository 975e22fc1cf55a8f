#include "sim/parallel/sharding.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>

#include "tests/sim/parallel_support.hpp"

namespace ospsim {
namespace {

// ---- The oracle: Skiparse in 1, 2 and 3 dimensions, every place of the padded grid --------------

struct Setting {
  int dimensions = 2;
  std::int64_t k = 2;
  Sequence sequence;
  int ssp = 1, ulysses = 1;
};

struct OraclePlace {
  bool valid = false;
  TokenPosition position;
  /// By phase.
  std::array<std::int64_t, 2> subsequence{}, slot{};
  std::array<std::int64_t, 2> unit{};  ///< row and column of the k^2 x k^2 unit
};

/// Places in (t, y, x) order of the padded grid; in 1-D in flat order.
std::vector<OraclePlace> oracle_places(const Setting& setting) {
  const Grid& grid = setting.sequence.grid;
  const std::int64_t k = setting.k;
  Integers extent{grid.t, grid.h, grid.w};
  if (setting.dimensions == 1) extent = {grid.tokens()};
  Integers padded = extent;
  const std::size_t first_split = setting.dimensions == 2 ? 1 : 0;
  for (std::size_t a = first_split; a < padded.size(); ++a) padded[a] = round_up(padded[a], k * k);

  std::int64_t all = 1;
  for (const auto p : padded) all *= p;
  std::vector<OraclePlace> places;
  for (std::int64_t i = 0; i < all; ++i) {
    OraclePlace place{.valid = true};
    Integers coordinate(padded.size());
    std::int64_t rest = i;
    for (std::size_t a = padded.size(); a-- > 0; rest /= padded[a])
      coordinate[a] = rest % padded[a];
    for (std::size_t a = 0; a < padded.size(); ++a) {
      const std::int64_t c = coordinate[a];
      place.valid = place.valid && c < extent[a];
      for (const int phase : {0, 1}) {
        auto &sub = place.subsequence[at(phase)], &slot = place.slot[at(phase)];
        if (a < first_split) {
          slot = slot * padded[a] + c;
          continue;
        }
        const std::int64_t low = c % k, middle = c / k % k, high = c / (k * k);
        sub = sub * k + (phase == 0 ? low : middle);
        slot = slot * (padded[a] / k) + high * k + (phase == 0 ? middle : low);
      }
    }
    if (setting.dimensions == 1) {
      place.unit = {0, coordinate[0] / (k * k)};
      const std::int64_t token = coordinate[0];
      place.position = {token / grid.frame_tokens(), token / grid.w % grid.h, token % grid.w};
    } else {
      place.unit = {coordinate[1] / (k * k), coordinate[2] / (k * k)};
      place.position = {coordinate[0], coordinate[1], coordinate[2]};
    }
    places.push_back(place);
  }
  return places;
}

PartGrid oracle_cut(const Setting& setting) {
  PartGrid cut{1, setting.ulysses};
  if (setting.dimensions > 1)
    for (int rows = 1; rows * rows <= setting.ulysses; ++rows)
      if (setting.ulysses % rows == 0) cut = {rows, setting.ulysses / rows};
  return cut;
}

std::array<std::int64_t, 2> oracle_units(const Setting& setting) {
  const Grid& grid = setting.sequence.grid;
  const std::int64_t unit = setting.k * setting.k;
  if (setting.dimensions == 1) return {1, round_up(grid.tokens(), unit) / unit};
  return {round_up(grid.h, unit) / unit, round_up(grid.w, unit) / unit};
}

std::vector<Integers> oracle_rows(const Setting& setting, int phase) {
  const auto places = oracle_places(setting);
  const PartGrid cut = oracle_cut(setting);
  const auto units = oracle_units(setting);
  const auto row_owner = owners(units[0], cut.rows), column_owner = owners(units[1], cut.columns);
  std::int64_t subsequences = 1;
  for (int d = 0; d < setting.dimensions; ++d) subsequences *= setting.k;
  const auto ssp_owner = owners(subsequences, setting.ssp);

  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // sub-sequence, sample, slot
  std::vector<std::map<Key, std::int64_t>> held(at(setting.ssp * setting.ulysses));
  for (std::int64_t sample = 0; sample < setting.sequence.batch; ++sample)
    for (std::int64_t i = 0; i < std::ssize(places); ++i) {
      const OraclePlace& place = places[at(i)];
      const std::int64_t sub = place.subsequence[at(phase)];
      const int part = row_owner[at(place.unit[0])] * cut.columns + column_owner[at(place.unit[1])];
      held[at(ssp_owner[at(sub)] * setting.ulysses + part)][{sub, sample, place.slot[at(phase)]}] =
          sample * std::ssize(places) + i;
    }
  std::vector<Integers> rows;
  for (const auto& shard : held) {
    rows.emplace_back();
    for (const auto& [key, row] : shard) rows.back().push_back(row);
  }
  return rows;
}

Setting random_setting() {
  Setting setting;
  setting.dimensions = static_cast<int>(number(1, 3));
  setting.k = number(2, setting.dimensions == 3 ? 3 : 4);
  const std::int64_t k = setting.k, most = setting.dimensions == 3 ? 11 : 37;
  setting.sequence = {
      {number(1, 3), number(1, most), number(1, most)},
      parse_pattern("skiparse-" + std::to_string(setting.dimensions) + "d", {k, k, k}),
      number(1, 2),
      number(1, 5),
      number(1, 3)};
  std::int64_t subsequences = 1;
  for (int d = 0; d < setting.dimensions; ++d) subsequences *= k;
  do setting.ssp = static_cast<int>(number(1, subsequences));
  while (subsequences % setting.ssp != 0);
  do {
    setting.ulysses = static_cast<int>(number(1, 9));
    const PartGrid cut = oracle_cut(setting);
    const auto units = oracle_units(setting);
    if (cut.rows <= units[0] && cut.columns <= units[1]) return setting;
  } while (true);
}

RC_GTEST_PROP(Sharding, SubsequencesAreOwnedAsTheIndexFormSays, ()) {
  const Setting setting = random_setting();
  const RowNumbers numbers(setting.sequence);
  for (const int phase : {0, 1}) {
    const Sharding sharding =
        subsequence_sharding(setting.sequence, numbers, phase == 0 ? Phase::token : Phase::group,
                             setting.ssp, setting.ulysses);
    const auto expected = oracle_rows(setting, phase);
    RC_ASSERT(sharding.size() == expected.size());
    for (std::size_t r = 0; r < expected.size(); ++r) {
      RC_ASSERT(sharding[r].rows == expected[r]);
      RC_ASSERT(sharding[r].channels == (Range{0, setting.sequence.dim()}));
      RC_ASSERT(sharding[r].elements() > 0);
    }
    auto rows = all_rows(sharding);
    std::ranges::sort(rows);
    RC_ASSERT(std::ssize(rows) == setting.sequence.batch * numbers.padded_tokens());
    for (std::int64_t row = 0; row < std::ssize(rows); ++row) RC_ASSERT(rows[at(row)] == row);
  }
}

RC_GTEST_PROP(Sharding, RectanglesAreWholeUnitsAndTheSameInBothPhases, ()) {
  const Setting setting = random_setting();
  const RowNumbers numbers(setting.sequence);
  const auto places = oracle_places(setting);
  using Unit = std::array<std::int64_t, 2>;
  std::map<Unit, std::set<int>> parts_of_unit;
  std::map<int, std::set<Unit>> units_of_part;
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Sharding sharding =
        subsequence_sharding(setting.sequence, numbers, phase, setting.ssp, setting.ulysses);
    for (int r = 0; r < std::ssize(sharding); ++r)
      for (const std::int64_t row : sharding[at(r)].rows) {
        const Unit unit = places[at(row % std::ssize(places))].unit;
        parts_of_unit[unit].insert(r % setting.ulysses);
        units_of_part[r % setting.ulysses].insert(unit);
      }
  }
  for (const auto& [unit, parts] : parts_of_unit) RC_ASSERT(parts.size() == 1u);
  for (const auto& [part, units] : units_of_part) {
    const auto [low, high] = std::pair(*units.begin(), *units.rbegin());
    std::int64_t least = low[1], most = low[1];
    for (const Unit& unit : units) {
      least = std::min(least, unit[1]);
      most = std::max(most, unit[1]);
    }
    RC_ASSERT(std::ssize(units) == (high[0] - low[0] + 1) * (most - least + 1));
  }
}

RC_GTEST_PROP(Sharding, FlatRunsHoldEveryValidRowOnceInOrder, ()) {
  const Setting setting = random_setting();
  const Sequence& sequence = setting.sequence;
  const RowNumbers numbers(sequence);
  const auto places = oracle_places(setting);
  Integers valid;
  for (std::int64_t i = 0; i < std::ssize(places); ++i)
    if (places[at(i)].valid) valid.push_back(i);
  RC_ASSERT(std::ssize(valid) == sequence.grid.tokens());

  const int ranks = static_cast<int>(number(1, std::min<std::int64_t>(40, std::ssize(valid))));
  const auto owner = owners(std::ssize(valid), ranks);
  const Sharding sharding = flat_sharding(sequence, numbers, ranks);
  RC_ASSERT(std::ssize(sharding) == ranks);
  for (int r = 0; r < ranks; ++r) {
    Integers rows;
    for (std::int64_t sample = 0; sample < sequence.batch; ++sample)
      for (std::size_t i = 0; i < valid.size(); ++i)
        if (owner[i] == r) rows.push_back(sample * std::ssize(places) + valid[i]);
    RC_ASSERT(sharding[at(r)].rows == rows);
    RC_ASSERT(sharding[at(r)].channels == (Range{0, sequence.dim()}));
  }
}

RC_GTEST_PROP(RowNumbers, KnowSampleTokenAndPosition, ()) {
  const Setting setting = random_setting();
  const RowNumbers numbers(setting.sequence);
  const auto places = oracle_places(setting);
  const Grid& grid = setting.sequence.grid;
  RC_ASSERT(numbers.padded_tokens() == std::ssize(places));
  Integers rows;
  std::vector<TokenPosition> positions;
  for (std::int64_t row = 0; row < setting.sequence.batch * std::ssize(places); ++row) {
    const OraclePlace& place = places[at(row % std::ssize(places))];
    RC_ASSERT(numbers.sample(row) == row / std::ssize(places));
    RC_ASSERT(numbers.token(row).has_value() == place.valid);
    rows.push_back(row);
    positions.push_back(place.valid ? place.position : TokenPosition{});
    if (!place.valid) continue;
    const auto& [t, y, x] = place.position;
    RC_ASSERT(*numbers.token(row) == (t * grid.h + y) * grid.w + x);
    RC_ASSERT(numbers.row(numbers.sample(row), *numbers.token(row)) == row);
  }
  RC_ASSERT(positions_of(numbers, rows) == positions);
}

/// Any rows as queries, any as keys: the groups are the pairs that attend, in the order of slots.
RC_GTEST_PROP(AttentionGroups, AreThePairsOfOneSubsequenceAndSample, ()) {
  const Setting setting = random_setting();
  const RowNumbers numbers(setting.sequence);
  const auto places = oracle_places(setting);
  const auto some_rows = [&] {
    Integers rows;
    for (std::int64_t row = 0; row < setting.sequence.batch * std::ssize(places); ++row)
      if (number(0, 9) == 0) rows.push_back(row);
    for (std::size_t i = rows.size(); i > 1; --i)
      std::swap(rows[i - 1], rows[at(number(0, static_cast<std::int64_t>(i) - 1))]);
    return rows;
  };
  const Integers queries = some_rows(), keys = some_rows();
  for (const BlockKind kind : {BlockKind::full, BlockKind::token, BlockKind::group}) {
    using Member = std::pair<std::int64_t, std::int64_t>;  // slot, index
    std::map<Member, std::pair<std::set<Member>, std::set<Member>>> expected;
    std::set<std::int64_t> padding;
    const auto group_and_slot = [&](std::int64_t row) {
      const OraclePlace& place = places[at(row % std::ssize(places))];
      const std::int64_t sample = row / std::ssize(places);
      if (kind == BlockKind::full) return std::pair(Member{sample, 0}, row);
      const std::size_t phase = kind == BlockKind::token ? 0 : 1;
      return std::pair(Member{sample, place.subsequence[phase]}, place.slot[phase]);
    };
    for (std::int64_t i = 0; i < std::ssize(queries); ++i) {
      const auto [group, slot] = group_and_slot(queries[at(i)]);
      if (places[at(queries[at(i)] % std::ssize(places))].valid)
        expected[group].first.insert({slot, i});
      else
        padding.insert(i);
    }
    for (std::int64_t i = 0; i < std::ssize(keys); ++i)
      if (places[at(keys[at(i)] % std::ssize(places))].valid) {
        const auto [group, slot] = group_and_slot(keys[at(i)]);
        expected[group].second.insert({slot, i});
      }
    const auto indices = [](const std::set<Member>& members) {
      Integers list;
      for (const auto& [slot, i] : members) list.push_back(i);
      return list;
    };
    std::set<std::pair<Integers, Integers>> wanted, found;
    for (const auto& [group, members] : expected)
      if (!members.first.empty()) wanted.insert({indices(members.first), indices(members.second)});
    std::set<std::int64_t> without_keys;
    for (const AttentionGroup& group : attention_groups(numbers, kind, queries, keys)) {
      RC_ASSERT(!group.queries.empty());
      const bool is_padding = padding.contains(group.queries.front());
      if (is_padding) {
        RC_ASSERT(group.keys.empty());
        without_keys.insert(group.queries.begin(), group.queries.end());
      } else {
        RC_ASSERT(found.insert({group.queries, group.keys}).second);
      }
    }
    RC_ASSERT(found == wanted);
    RC_ASSERT(without_keys == padding);
  }
}

// ---- Parts -------------------------------------------------------------------------------------

TEST(Parts, CoverARangeWithTheFirstOnesLonger) {
  for (std::int64_t extent = 0; extent < 30; ++extent)
    for (int count = 1; count < 12; ++count) {
      const auto owner = owners(extent, count);
      std::int64_t next = 0;
      for (int i = 0; i < count; ++i) {
        const Range part = part_of(extent, count, i);
        EXPECT_EQ(part.first, next);
        EXPECT_EQ(part.size(), std::ranges::count(owner, i));
        next = part.last;
      }
      EXPECT_EQ(next, extent);
    }
}

TEST(Parts, FrameIsCutIntoRowsAndColumns) {
  const Pattern video = parse_pattern("skiparse-2d", {2, 2, 2});
  const auto cut = [](int parts, const Pattern& pattern) {
    const PartGrid grid = part_grid(parts, pattern);
    return std::pair(grid.rows, grid.columns);
  };
  const std::map<int, std::pair<int, int>> expected{
      {1, {1, 1}}, {2, {1, 2}}, {3, {1, 3}}, {4, {2, 2}},  {6, {2, 3}},
      {7, {1, 7}}, {8, {2, 4}}, {9, {3, 3}}, {12, {3, 4}}, {16, {4, 4}}};
  for (const auto& [parts, grid] : expected) {
    EXPECT_EQ(cut(parts, video), grid) << parts;
    EXPECT_EQ(cut(parts, parse_pattern("skiparse-1d", {2, 2, 2})), std::pair(1, parts));
    EXPECT_EQ(cut(parts, parse_pattern("s0|s1", {2, 2, 2})), std::pair(1, parts));
  }
}

/// The paper's example: 4 ranks share 45 x 80 tokens as rows 24 + 21 and columns 40 + 40.
TEST(Parts, RectanglesOfThePaper) {
  const Sequence sequence = skiparse_2d({1, 45, 80}, 2, 1, 40, 1);
  const RowNumbers numbers(sequence);
  for (const auto& [ulysses, rows, columns] :
       {std::tuple{2, Integers{48}, Integers{40, 40}}, {4, Integers{24, 24}, Integers{40, 40}}}) {
    const auto sharding = subsequence_sharding(sequence, numbers, Phase::token, 4, ulysses);
    for (int r = 0; r < 4 * ulysses; ++r) {
      const int part = r % ulysses, of_columns = static_cast<int>(std::ssize(columns));
      const std::int64_t tall = rows[at(part / of_columns)], wide = columns[at(part % of_columns)];
      EXPECT_EQ(std::ssize(sharding[at(r)].rows), tall * wide / 4);
      for (const std::int64_t row : sharding[at(r)].rows) {
        EXPECT_EQ(row / 80 / tall, part / of_columns);
        EXPECT_EQ(row % 80 / 40, part % of_columns);
      }
    }
  }
}

TEST(Parts, UnitsSpanTheDigitsThatNameSubsequences) {
  const Grid grid{4, 20, 40};
  const auto extents = [&](const char* text, Ratio ratio) {
    const Pattern pattern = parse_pattern(text, ratio);
    const Layout layout(pattern, grid, Phase::token);
    Integers units;
    for (int a = 0; a < layout.axis_count(); ++a) units.push_back(unit_extent(pattern, grid, a));
    return units;
  };
  EXPECT_EQ(extents("skiparse-2d", {2, 2, 2}), (Integers{1, 4, 4}));
  EXPECT_EQ(extents("skiparse-3d", {2, 3, 4}), (Integers{4, 9, 16}));
  EXPECT_EQ(extents("skiparse-1d", {4, 4, 4}), (Integers{16}));
  EXPECT_EQ(extents("s0|s1", {3, 3, 3}), (Integers{1, 9}));
  EXPECT_EQ(extents("full", {}), (Integers{1, 1, 1}));
  EXPECT_EQ(extents("x0,y1|y1,x0", {2, 2, 2}), (Integers{1, 4, 2}));
}

// ---- Parallelisms ------------------------------------------------------------------------------

Parallelism make(Strategy strategy, int ranks, const Sequence& sequence,
                 std::optional<int> ulysses = {}, std::optional<int> ring = {}) {
  return make_parallelism(strategy, ranks, ulysses, ring, Boundary::reshard, sequence);
}

std::array<int, 4> degrees(const Parallelism& p) {
  return {p.ranks, p.ssp, p.ulysses, p.ring};
}

std::string refusal(Strategy strategy, int ranks, const Sequence& sequence,
                    std::optional<int> ulysses = {}, std::optional<int> ring = {}) {
  try {
    make(strategy, ranks, sequence, ulysses, ring);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool says(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

const Grid p720{21, 45, 80};

TEST(MakeParallelism, CompletesDegrees) {
  const Sequence paper = skiparse_2d(p720, 2, 1, 40, 128);
  const Sequence k3 = skiparse_2d(p720, 3, 1, 12, 8);
  using enum Strategy;
  EXPECT_EQ(degrees(make(Strategy::ulysses, 8, paper)), (std::array{8, 1, 8, 1}));
  EXPECT_EQ(degrees(make(Strategy::ulysses, 7, paper)), (std::array{7, 1, 7, 1}));
  EXPECT_EQ(degrees(make(Strategy::ring, 41, paper)), (std::array{41, 1, 1, 41}));
  EXPECT_EQ(degrees(make(usp, 8, paper)), (std::array{8, 1, 8, 1}));
  EXPECT_EQ(degrees(make(usp, 16, paper)), (std::array{16, 1, 8, 2}));
  EXPECT_EQ(degrees(make(usp, 8, k3)), (std::array{8, 1, 4, 2}));
  EXPECT_EQ(degrees(make(usp, 8, paper, 2)), (std::array{8, 1, 2, 4}));
  EXPECT_EQ(degrees(make(usp, 8, paper, {}, 8)), (std::array{8, 1, 1, 8}));
  EXPECT_EQ(degrees(make(usp, 8, paper, 4, 2)), (std::array{8, 1, 4, 2}));
  EXPECT_EQ(degrees(make(usp, 6, paper, 3)), (std::array{6, 1, 3, 2}));  // 40 heads by 3
  EXPECT_EQ(degrees(make(megatron_sp, 40, paper)), (std::array{40, 1, 1, 1}));
  for (const Strategy strategy : {Strategy::ssp, gather})
    for (const int ranks : {1, 2, 4})
      EXPECT_EQ(degrees(make(strategy, ranks, paper)), (std::array{ranks, ranks, 1, 1}));
  EXPECT_EQ(degrees(make(ssp_ulysses, 8, paper)), (std::array{8, 4, 2, 1}));
  EXPECT_EQ(degrees(make(ssp_ulysses, 4, paper)), (std::array{4, 4, 1, 1}));
  EXPECT_EQ(degrees(make(ssp_ulysses, 6, paper)), (std::array{6, 2, 3, 1}));
  EXPECT_EQ(degrees(make(ssp_ulysses, 5, paper)), (std::array{5, 1, 5, 1}));
  EXPECT_EQ(degrees(make(ssp_ulysses, 8, paper, 8)), (std::array{8, 1, 8, 1}));
  EXPECT_EQ(degrees(make(ssp_ulysses, 8, paper, 4)), (std::array{8, 2, 4, 1}));
  EXPECT_EQ(degrees(make(ssp_ulysses, 8, k3)), (std::array{8, 1, 8, 1}));
  EXPECT_EQ(degrees(make(ssp_ulysses, 18, k3)), (std::array{18, 9, 2, 1}));
  const Parallelism p = make(ssp_ulysses, 8, paper);
  EXPECT_EQ(p.strategy, ssp_ulysses);
  EXPECT_EQ(p.boundary, Boundary::reshard);
}

/// Every refusal names a number, and with that number it works.
TEST(MakeParallelism, RefusalsNameTheNearestThatWorks) {
  const Sequence paper = skiparse_2d(p720, 2, 1, 40, 128);
  const Sequence k3 = skiparse_2d(p720, 3, 1, 40, 128);
  using enum Strategy;
  for (const Strategy strategy : all_strategies())
    for (const int ranks : {0, -3})
      EXPECT_TRUE(says(refusal(strategy, ranks, paper), "at least 1"));

  // ssp ranks that do not divide the sub-sequences; the smaller of two as near.
  EXPECT_TRUE(says(refusal(ssp, 3, paper), "3 ssp ranks do not divide 4 sub-sequences; 2 is"));
  EXPECT_TRUE(says(refusal(ssp, 8, paper), "; 4 is"));
  EXPECT_TRUE(says(refusal(ssp, 8, paper), "ssp-ulysses"));
  EXPECT_TRUE(says(refusal(gather, 4, k3), "; 3 is"));
  EXPECT_FALSE(says(refusal(gather, 4, k3), "ssp-ulysses"));
  EXPECT_TRUE(says(refusal(ssp, 7, k3), "; 9 is"));
  EXPECT_TRUE(says(refusal(ssp_ulysses, 12, paper, 2), "; 4 is"));  // ssp 6
  EXPECT_EQ(degrees(make(ssp_ulysses, 4 * 2, paper, 2)), (std::array{8, 4, 2, 1}));

  // More ranks than heads, or than tokens.
  EXPECT_TRUE(says(refusal(Strategy::ulysses, 41, paper), "41 ranks cannot share 40 heads; 40 is"));
  EXPECT_TRUE(says(refusal(megatron_sp, 48, paper), "40 is"));
  EXPECT_TRUE(says(refusal(usp, 82, paper, 82), "40 is"));
  EXPECT_TRUE(says(refusal(ssp_ulysses, 84, paper, 42), "40 is"));
  const Sequence tiny = skiparse_2d({1, 2, 3}, 2, 1, 40, 128);
  for (const Strategy strategy : all_strategies()) {
    EXPECT_TRUE(says(refusal(strategy, 7, tiny), "7 ranks cannot share 6 tokens; 6 is"));
  }

  // Degrees whose product is not the number of ranks.
  EXPECT_TRUE(says(refusal(usp, 8, paper, 3), "; 2 is"));
  EXPECT_TRUE(says(refusal(usp, 8, paper, {}, 3), "; 2 is"));
  EXPECT_TRUE(says(refusal(usp, 8, paper, {}, 0), "; 1 is"));
  EXPECT_TRUE(says(refusal(usp, 8, paper, 0), "; 1 is"));
  EXPECT_TRUE(says(refusal(usp, 8, paper, -2), "; 1 is"));
  EXPECT_TRUE(says(refusal(usp, 8, paper, 16), "; 8 is"));
  EXPECT_TRUE(says(refusal(ssp_ulysses, 8, paper, 5), "; 4 is"));
  EXPECT_TRUE(says(refusal(usp, 8, paper, 2, 2), "2 ulysses times 2 ring are not 8 ranks"));

  // Too many parts for the k^2 x k^2 units: 8 x 8 tokens are 2 x 2 of them for k = 2.
  const Sequence four_units = skiparse_2d({2, 8, 8}, 2, 1, 40, 1);
  EXPECT_EQ(degrees(make(ssp_ulysses, 16, four_units)), (std::array{16, 4, 4, 1}));
  EXPECT_TRUE(says(refusal(ssp_ulysses, 12, four_units), "units"));
  EXPECT_TRUE(says(refusal(ssp_ulysses, 12, four_units), "groups of 2 can"));
  EXPECT_EQ(degrees(make(ssp_ulysses, 8, four_units)), (std::array{8, 4, 2, 1}));
  const Sequence flat_units = skiparse_2d({2, 4, 40}, 2, 1, 40, 1);  // 1 x 10
  EXPECT_TRUE(says(refusal(ssp_ulysses, 16, flat_units), "groups of 3 can"));
  EXPECT_EQ(degrees(make(ssp_ulysses, 12, flat_units)), (std::array{12, 4, 3, 1}));
}

TEST(MakeParallelism, RefusesDegreesThatAStrategyHasNot) {
  const Sequence paper = skiparse_2d(p720, 2, 1, 40, 128);
  for (const Strategy strategy : all_strategies()) {
    const bool has_ring = strategy == Strategy::usp;
    const bool has_ulysses = has_ring || strategy == Strategy::ssp_ulysses;
    EXPECT_EQ(refusal(strategy, 4, paper, {}, 2).empty(), has_ring) << to_string(strategy);
    EXPECT_EQ(refusal(strategy, 4, paper, 2).empty(), has_ulysses) << to_string(strategy);
    EXPECT_EQ(says(refusal(strategy, 4, paper, {}, 2), "usp has"), !has_ring);
    EXPECT_EQ(says(refusal(strategy, 4, paper, 2), "usp and ssp-ulysses"), !has_ulysses);
  }
}

TEST(MakeParallelism, RefusesPatternsWithoutEquallyManySubsequences) {
  for (const Strategy strategy : all_strategies()) {
    const bool refused = holds_subsequences(strategy);
    Sequence sequence{p720, parse_pattern("2+1d", {}), 1, 40, 128};
    EXPECT_EQ(says(refusal(strategy, 4, sequence), "21 sub-sequences in one phase and 3600"),
              refused);
    sequence.pattern = parse_pattern("full", {});
    EXPECT_EQ(says(refusal(strategy, 4, sequence), "one sub-sequence"), refused);
    // A pattern of one phase has as many in both; the state never has to move.
    sequence.pattern = parse_pattern("window", {1, 2, 2});
    EXPECT_EQ(refusal(strategy, 4, sequence), "");
  }
}

TEST(Names, ReadAsWritten) {
  for (const Strategy strategy : all_strategies())
    EXPECT_EQ(parse_strategy(to_string(strategy)), strategy);
  for (const Boundary boundary : {Boundary::all_gather, Boundary::reshard})
    EXPECT_EQ(parse_boundary(to_string(boundary)), boundary);
  EXPECT_EQ(all_strategies().size(), 7u);
  EXPECT_THROW(parse_strategy("Ulysses"), InputError);
  EXPECT_THROW(parse_boundary(""), InputError);
}

}  // namespace
}  // namespace ospsim
