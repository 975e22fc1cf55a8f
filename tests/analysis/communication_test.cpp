#include "analysis/communication.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

using Integers = std::vector<std::int64_t>;

// ---- The oracle: every element of every token, carried from rank to rank -----------------------

/// Sizes of `count` parts of `extent` things, turned into the owner of each thing.
std::vector<int> owners(std::int64_t extent, int count) {
  std::vector<int> owner;
  for (int part = 0; part < count; ++part) {
    const std::int64_t size = extent / count + (part < extent % count ? 1 : 0);
    owner.insert(owner.end(), static_cast<std::size_t>(size), part);
  }
  return owner;
}

struct TestPattern {
  std::string text;
  std::int64_t k = 2;

  Pattern pattern() const { return parse_pattern(text, {k, k, k}); }
};

/// A place of the padded grid.
struct Place {
  std::optional<std::int64_t> token;
  int token_phase_owner = 0, group_phase_owner = 0;
  int owner(BlockKind kind) const {
    return kind == BlockKind::token ? token_phase_owner : group_phase_owner;
  }
};

std::vector<Place> places_of(const TestPattern& test, const Grid& grid, int ssp, int ulysses) {
  const Pattern pattern = test.pattern();
  const Layout token(pattern, grid, Phase::token), group(pattern, grid, Phase::group);
  const std::int64_t k = test.k, unit = k * k;
  const auto padded = [&](std::int64_t extent) { return (extent + unit - 1) / unit * unit; };

  Integers extents, padded_extents;
  if (test.text == "skiparse-1d") {
    extents = {grid.tokens()};
    padded_extents = {padded(grid.tokens())};
  } else if (test.text == "skiparse-2d") {
    extents = {grid.t, grid.h, grid.w};
    padded_extents = {grid.t, padded(grid.h), padded(grid.w)};
  } else if (test.text == "skiparse-3d") {
    extents = {grid.t, grid.h, grid.w};
    padded_extents = {padded(grid.t), padded(grid.h), padded(grid.w)};
  } else {
    for (int a = 0; a < token.axis_count(); ++a) {
      extents.push_back(token.axis(a).extent);
      padded_extents.push_back(token.axis(a).padded);
    }
  }
  const std::size_t axes = extents.size(), last = axes - 1;

  const auto skiparse = [&](const Integers& at, std::int64_t stride) {
    std::int64_t number = 0;
    const std::size_t first = test.text == "skiparse-2d" ? 1 : 0;
    for (std::size_t a = first; a < axes; ++a) number = number * k + at[a] / stride % k;
    return number;
  };
  const bool by_formula = test.text.starts_with("skiparse-");
  const Rearrangement to_token(token.unsplit(), token), to_group(token.unsplit(), group);

  int rows = 1, columns = ulysses;
  if (axes == 3)
    for (int r = 1; r * r <= ulysses; ++r)
      if (ulysses % r == 0) rows = r, columns = ulysses / r;
  const auto owner_along = [&](std::size_t axis, int parts) {
    const std::int64_t along =
        by_formula ? unit : unit_extent(pattern, grid, static_cast<int>(axis));
    return std::pair(along, owners(padded_extents[axis] / along, parts));
  };
  const auto [row_unit, row_owner] = owner_along(axes == 3 ? 1 : last, rows);
  const auto [column_unit, column_owner] = owner_along(last, columns);

  std::vector<Place> places;
  const std::int64_t all = std::accumulate(padded_extents.begin(), padded_extents.end(),
                                           std::int64_t{1}, std::multiplies<>());
  const std::vector<int> token_ssp = owners(token.subsequences(), ssp);
  const std::vector<int> group_ssp = owners(group.subsequences(), ssp);
  for (std::int64_t index = 0; index < all; ++index) {
    Integers at(axes);
    std::int64_t rest = index;
    for (std::size_t a = axes; a-- > 0;) {
      at[a] = rest % padded_extents[a];
      rest /= padded_extents[a];
    }
    Place place;
    bool valid = true;
    std::int64_t number = 0;
    for (std::size_t a = 0; a < axes; ++a) {
      valid = valid && at[a] < extents[a];
      number = number * extents[a] + at[a];
    }
    if (valid) place.token = number;
    const auto item = [](const std::vector<int>& list, std::int64_t i) {
      return list[static_cast<std::size_t>(i)];
    };
    const int row = rows == 1 ? 0 : item(row_owner, at[axes == 3 ? 1 : last] / row_unit);
    const int part = row * columns + item(column_owner, at[last] / column_unit);
    const std::int64_t in_token =
        by_formula ? skiparse(at, 1) : to_token.map(index) / token.subsequence_length();
    const std::int64_t in_group =
        by_formula ? skiparse(at, k) : to_group.map(index) / group.subsequence_length();
    place.token_phase_owner = item(token_ssp, in_token) * ulysses + part;
    place.group_phase_owner = item(group_ssp, in_group) * ulysses + part;
    places.push_back(place);
  }
  return places;
}

/// Carries elements, one exchange after another.
class Carrier {
 public:
  Carrier(const Parallelism& parallelism, const Sequence& sequence, const TestPattern& pattern,
          int bytes_per_element)
      : p_(parallelism),
        s_(sequence),
        bytes_(bytes_per_element),
        flat_(owners(sequence.grid.tokens(), parallelism.ranks)),
        sent_(static_cast<std::size_t>(parallelism.ranks)) {
    if (!keeps_flat())
      places_ = places_of(pattern, sequence.grid,
                          p_.strategy == Strategy::gather ? p_.ranks : p_.ssp, p_.ulysses);
  }

  void block(BlockKind kind, Direction direction) {
    switch (p_.strategy) {
      case Strategy::ulysses:
      case Strategy::ring:
      case Strategy::usp:
        ulysses(flat_, p_.ulysses, direction);
        ring(direction);
        return;
      case Strategy::megatron_sp:
        for (int layer = 0; layer < 2; ++layer) gather_and_scatter(s_.dim() * bytes_);
        return;
      default:
        break;
    }
    if (kind == BlockKind::full)
      ulysses(flat_, p_.ranks, direction);
    else if (p_.strategy == Strategy::ssp_ulysses)
      ulysses(owners_in(kind), p_.ulysses, direction);
  }

  void norm() { gather_and_scatter(2 * 4); }

  void phase_switch(BlockKind from, BlockKind to) {
    if (keeps_flat()) return;
    if (p_.strategy == Strategy::gather) {
      if (owners_in(from) != owners_in(to)) gather(owners_in(from));
      return;
    }
    exchange(true, [&] {
      for (const Place& place : places_) row(place.owner(from), place.owner(to));
    });
  }

  void boundary(BlockKind kind, bool entering) {
    if (keeps_flat()) return;
    if (p_.boundary == Boundary::all_gather || p_.strategy == Strategy::gather)
      return gather(entering ? flat_ : owners_in(kind));
    exchange(true, [&] {
      for (const Place& place : places_) {
        if (!place.token) continue;
        const int flat = flat_[static_cast<std::size_t>(*place.token)];
        if (entering)
          row(flat, place.owner(kind));
        else
          row(place.owner(kind), flat);
      }
    });
  }

  Traffic traffic() const {
    return {collectives_, steps_, *std::max_element(sent_.begin(), sent_.end())};
  }

 private:
  bool keeps_flat() const {
    return p_.strategy != Strategy::ssp && p_.strategy != Strategy::ssp_ulysses &&
           p_.strategy != Strategy::gather;
  }
  std::vector<int> owners_in(BlockKind kind) const {
    std::vector<int> owner;
    for (const Place& place : places_) owner.push_back(place.owner(kind));
    return owner;
  }

  /// The same for each sample; counted if anything moved.
  template <typename Moves>
  void exchange(bool collective, const Moves& moves) {
    moved_ = false;
    for (std::int64_t sample = 0; sample < s_.batch; ++sample) moves();
    if (moved_) steps_ += 1, collectives_ += collective ? 1 : 0;
  }
  void send(int from, int to, std::int64_t bytes) {
    if (from == to) return;
    sent_[static_cast<std::size_t>(from)] += bytes;
    moved_ = true;
  }
  void row(int from, int to) { send(from, to, s_.dim() * bytes_); }

  void gather(const std::vector<int>& owner) {
    exchange(true, [&] {
      for (const int from : owner)
        for (int to = 0; to < p_.ranks; ++to) row(from, to);
    });
  }
  void gather_and_scatter(std::int64_t bytes_per_row) {
    exchange(true, [&] {
      for (const int owner : flat_)
        for (int other = 0; other < p_.ranks; ++other) send(owner, other, bytes_per_row);
    });
    exchange(true, [&] {
      for (const int owner : flat_)
        for (int other = 0; other < p_.ranks; ++other) send(other, owner, bytes_per_row);
    });
  }
  void ulysses(const std::vector<int>& owner, int group, Direction direction) {
    const std::vector<int> head_owner = owners(s_.heads, group);
    const int to_heads = direction == Direction::forward ? 3 : 1;
    for (int tensor = 0; tensor < 4; ++tensor)
      exchange(true, [&] {
        for (const int of_row : owner)
          for (const int of_head : head_owner) {
            const int at_head = of_row / group * group + of_head;
            if (tensor < to_heads)
              send(of_row, at_head, s_.head_dim * bytes_);
            else
              send(at_head, of_row, s_.head_dim * bytes_);
          }
      });
  }
  void ring(Direction direction) {
    const std::vector<int> head_owner = owners(s_.heads, p_.ulysses);
    std::vector<int> held(static_cast<std::size_t>(p_.ring));
    std::iota(held.begin(), held.end(), 0);
    const auto shift = [&](int tensors) {
      exchange(false, [&] {
        for (int g = 0; g < p_.ring; ++g)
          for (const int of_row : flat_) {
            if (of_row / p_.ulysses != held[static_cast<std::size_t>(g)]) continue;
            for (const int of_head : head_owner)
              send(g * p_.ulysses + of_head, (g + 1) % p_.ring * p_.ulysses + of_head,
                   tensors * s_.head_dim * bytes_);
          }
      });
      std::rotate(held.begin(), held.end() - 1, held.end());
    };
    const bool backward = direction == Direction::backward;
    for (int step = 1; step < p_.ring; ++step) shift(backward ? 4 : 2);
    if (!backward) return;
    shift(2);
    for (int g = 0; g < p_.ring; ++g) EXPECT_EQ(held[static_cast<std::size_t>(g)], g);
  }

  Parallelism p_;
  Sequence s_;
  std::int64_t bytes_;
  std::vector<int> flat_;
  std::vector<Place> places_;
  std::int64_t collectives_ = 0, steps_ = 0;
  std::vector<std::int64_t> sent_;
  bool moved_ = false;
};

// ---- Random cases ------------------------------------------------------------------------------

std::int64_t number(std::int64_t from, std::int64_t to) {
  return *rc::gen::resize(100, rc::gen::inRange<std::int64_t>(from, to + 1));
}

struct Case {
  TestPattern test;
  Sequence sequence;
  Parallelism parallelism;
  int bytes = 2;
};

std::vector<int> common_divisors(std::int64_t a, std::int64_t b, int most) {
  std::vector<int> divisors;
  for (int d = 1; d <= most; ++d)
    if (a % d == 0 && b % d == 0) divisors.push_back(d);
  return divisors;
}

/// Nothing where a rank would own nothing.
std::optional<Case> try_case(Strategy strategy) {
  Case c;
  const auto text = *rc::gen::elementOf(std::vector<std::string>{
      "skiparse-1d", "skiparse-2d", "skiparse-3d", "skiparse-2d", "window", "2+1d", "skip+window",
      "s0|s1", "t0,y0|y0,x1", "x0,y1|y1,x0", "t,s0|t,s1", "y/2,x0|x1,y/2", "y0,x0|y0,x0", "full"});
  c.test = {text, number(2, text == "skiparse-3d" ? 3 : 4)};
  const std::int64_t most = text == "skiparse-2d" ? 20 : 9;
  const Grid grid{number(1, 3), number(1, most), number(1, most)};
  c.sequence = {grid, c.test.pattern(), number(1, 2), number(1, 9), number(1, 3)};
  c.bytes = static_cast<int>(number(1, 4));
  const auto pick = [](std::int64_t up_to) {
    return static_cast<int>(number(1, std::min<std::int64_t>(12, up_to)));
  };
  Parallelism& p = c.parallelism;
  p.strategy = strategy;
  p.boundary = *rc::gen::element(Boundary::all_gather, Boundary::reshard);
  const Layout token(c.sequence.pattern, grid, Phase::token);
  const Layout group(c.sequence.pattern, grid, Phase::group);
  switch (strategy) {
    case Strategy::ulysses:
      p.ulysses = pick(c.sequence.heads);
      break;
    case Strategy::ring:
      p.ring = pick(12);
      break;
    case Strategy::usp:
      p.ulysses = pick(std::min<std::int64_t>(c.sequence.heads, 4));
      p.ring = pick(12 / p.ulysses);
      break;
    case Strategy::megatron_sp:
      break;
    case Strategy::ssp:
    case Strategy::gather:
    case Strategy::ssp_ulysses: {
      p.ssp = *rc::gen::elementOf(common_divisors(token.subsequences(), group.subsequences(), 12));
      if (strategy == Strategy::ssp_ulysses)
        p.ulysses = pick(std::min<std::int64_t>(c.sequence.heads, 12 / p.ssp));
      const PartGrid parts = part_grid(p.ulysses, c.sequence.pattern);
      const auto units = [&](int axis) {
        return token.axis(axis).padded / unit_extent(c.sequence.pattern, grid, axis);
      };
      const int last = token.axis_count() - 1;
      if (units(last) < parts.columns || (parts.rows > 1 && units(last - 1) < parts.rows))
        return {};
      break;
    }
  }
  p.ranks = strategy == Strategy::megatron_sp ? pick(12) : p.ssp * p.ulysses * p.ring;
  if (p.ranks > grid.tokens()) return {};
  return c;
}

Case random_case(Strategy strategy) {
  for (;;)
    if (auto c = try_case(strategy)) return *c;
}

template <typename Check>
void for_strategies(const Check& check) {
  for (const Strategy strategy :
       {Strategy::ulysses, Strategy::ring, Strategy::usp, Strategy::megatron_sp, Strategy::ssp,
        Strategy::ssp_ulysses, Strategy::gather})
    check(strategy);
}

void expect_same(const Traffic& ours, const Traffic& carried) {
  RC_ASSERT(ours.collectives == carried.collectives);
  RC_ASSERT(ours.steps == carried.steps);
  RC_ASSERT(ours.sent_bytes_per_rank == carried.sent_bytes_per_rank);
}

/// Several cases a run: what goes wrong only with many ranks of several kinds is rare among them.
template <typename Check>
void for_random_cases(const Check& check) {
  for_strategies([&](Strategy strategy) {
    EXPECT_TRUE(rc::check(std::string(to_string(strategy)), [&] {
      for (int i = 0; i < 10; ++i) check(random_case(strategy));
    }));
  });
}

TEST(Communication, BlocksEqualCarryingEveryElement) {
  for_random_cases([](const Case& c) {
    for (const BlockKind kind : {BlockKind::full, BlockKind::token, BlockKind::group})
      for (const Direction direction : {Direction::forward, Direction::backward}) {
        Carrier carrier(c.parallelism, c.sequence, c.test, c.bytes);
        carrier.block(kind, direction);
        const BlockKind other = kind == BlockKind::token ? BlockKind::group : BlockKind::token;
        if (kind != BlockKind::full && direction == Direction::forward)
          carrier.phase_switch(other, kind);
        if (kind != BlockKind::full && direction == Direction::backward)
          carrier.phase_switch(kind, other);
        expect_same(block_traffic(c.parallelism, c.sequence, kind, direction, c.bytes),
                    carrier.traffic());
      }
  });
}

/// The blocks of a model in order, and what stands between them.
void carry_forward(Carrier& carrier, const Model& model) {
  BlockKind before = BlockKind::full;
  for (std::int64_t b = 0; b < model.layers; ++b) {
    const std::int64_t sparse = b - model.full_blocks / 2;
    const BlockKind kind = sparse < 0 || sparse >= model.sparse_blocks() ? BlockKind::full
                           : sparse % 2 == 0                             ? BlockKind::token
                                                                         : BlockKind::group;
    if (b > 0 && kind != before) {
      if (before == BlockKind::full)
        carrier.boundary(kind, true);
      else if (kind == BlockKind::full)
        carrier.boundary(before, false);
      else
        carrier.phase_switch(before, kind);
    }
    carrier.block(kind, Direction::forward);
    before = kind;
  }
}

TEST(Communication, ForwardEqualsCarryingEveryElement) {
  for_random_cases([](const Case& c) {
    Model model = find_model("osp-next-14b");
    model.heads = c.sequence.heads;
    model.head_dim = c.sequence.head_dim;
    model.pattern = c.sequence.pattern;
    model.full_blocks = 2 * number(0, 2);
    model.layers = model.full_blocks + number(model.full_blocks == 0 ? 1 : 0, 5);

    Carrier carrier(c.parallelism, c.sequence, c.test, c.bytes);
    carry_forward(carrier, model);
    const ForwardTraffic ours =
        forward_traffic(c.parallelism, model, c.sequence.grid, c.sequence.batch, c.bytes);
    expect_same(ours.total, carrier.traffic());
    Traffic sum;
    for (const auto& [label, traffic] : ours.breakdown) {
      sum.collectives += traffic.collectives;
      sum.steps += traffic.steps;
      sum.sent_bytes_per_rank += traffic.sent_bytes_per_rank;
    }
    RC_ASSERT(sum.collectives == ours.total.collectives);
    RC_ASSERT(sum.steps == ours.total.steps);
    RC_ASSERT(sum.sent_bytes_per_rank >= ours.total.sent_bytes_per_rank);
  });
}

RC_GTEST_PROP(Communication, NormsEqualCarryingEverySum, ()) {
  const Case c = random_case(Strategy::megatron_sp);
  Carrier carrier(c.parallelism, c.sequence, c.test, c.bytes);
  carrier.norm();
  expect_same(norm_traffic(c.parallelism, c.sequence), carrier.traffic());
}

// ---- Hand-sized ---------------------------------------------------------------------------------

const Grid p720{21, 45, 80}, p768{21, 48, 80};
constexpr int bf16_bytes = 2;

Sequence wan_sequence(const Grid& grid) {
  return {grid, parse_pattern("skiparse-2d", {2, 2, 2}), 1, 40, 128};
}

Traffic forward_block(const Parallelism& p, const Sequence& sequence, BlockKind kind) {
  return block_traffic(p, sequence, kind, Direction::forward, bf16_bytes);
}

Parallelism ulysses_ranks(int ranks) {
  return {.strategy = Strategy::ulysses, .ranks = ranks, .ulysses = ranks};
}
Parallelism ssp_ranks(int ranks, Boundary boundary = Boundary::all_gather) {
  return {.strategy = Strategy::ssp, .ranks = ranks, .ssp = ranks, .boundary = boundary};
}
Parallelism ssp4_by_ulysses2(Boundary boundary = Boundary::all_gather) {
  return {
      .strategy = Strategy::ssp_ulysses, .ranks = 8, .ssp = 4, .ulysses = 2, .boundary = boundary};
}

/// bf16, 40 heads of 128: the volumes that follow from section 3.3 of the paper.
TEST(Communication, BlocksOfThePaper) {
  for (const BlockKind kind : {BlockKind::full, BlockKind::token}) {
    EXPECT_EQ(forward_block(ulysses_ranks(2), wan_sequence(p768), kind),
              (Traffic{4, 4, 825'753'600}));
    EXPECT_EQ(forward_block(ulysses_ranks(4), wan_sequence(p768), kind),
              (Traffic{4, 4, 619'315'200}));
    EXPECT_EQ(forward_block(ulysses_ranks(8), wan_sequence(p768), kind),
              (Traffic{4, 4, 361'267'200}));
    EXPECT_EQ(forward_block(ulysses_ranks(2), wan_sequence(p720), kind),
              (Traffic{4, 4, 774'144'000}));
    EXPECT_EQ(forward_block(ulysses_ranks(4), wan_sequence(p720), kind),
              (Traffic{4, 4, 580'608'000}));
    EXPECT_EQ(forward_block(ulysses_ranks(8), wan_sequence(p720), kind),
              (Traffic{4, 4, 338'688'000}));
  }
  // 720P pads to the same 80,640 tokens.
  for (const Grid& grid : {p720, p768})
    for (const BlockKind kind : {BlockKind::token, BlockKind::group}) {
      EXPECT_EQ(forward_block(ssp_ranks(2), wan_sequence(grid), kind),
                (Traffic{1, 1, 206'438'400}));
      EXPECT_EQ(forward_block(ssp_ranks(4), wan_sequence(grid), kind),
                (Traffic{1, 1, 154'828'800}));
      EXPECT_EQ(forward_block(ssp4_by_ulysses2(), wan_sequence(grid), kind),
                (Traffic{5, 5, 283'852'800}));
    }
  EXPECT_EQ(forward_block(ssp_ranks(4), wan_sequence(p768), BlockKind::full),
            (Traffic{4, 4, 619'315'200}));
}

/// What one forward pass of Wan2.1-14B and of OSP-Next-14B moves.
TEST(Communication, ForwardPassesOfThePaper) {
  const Model wan = find_model("wan2.1-14b"), osp = find_model("osp-next-14b");
  const auto total = [](const Parallelism& p, const Model& model, const Grid& grid) {
    return forward_traffic(p, model, grid, 1, bf16_bytes).total;
  };
  EXPECT_EQ(total(ulysses_ranks(4), wan, p720), (Traffic{160, 160, 23'224'320'000}));
  EXPECT_EQ(total(ulysses_ranks(4), wan, p768), (Traffic{160, 160, 24'772'608'000}));
  EXPECT_EQ(total(ulysses_ranks(8), wan, p720), (Traffic{160, 160, 13'547'520'000}));
  EXPECT_EQ(total(ulysses_ranks(8), wan, p768), (Traffic{160, 160, 14'450'688'000}));
  // 8 x 4 exchanges in full blocks, 31 switches, 2 boundaries; 32 x 4 in the hybrid's sparse
  // blocks.
  EXPECT_EQ(total(ssp_ranks(4), osp, p720), (Traffic{65, 65, 10'644'480'000}));
  EXPECT_EQ(total(ssp_ranks(4), osp, p768), (Traffic{65, 65, 10'992'844'800}));
  EXPECT_EQ(total(ssp4_by_ulysses2(), osp, p720), (Traffic{193, 193, 13'115'289'600}));
  EXPECT_EQ(total(ssp4_by_ulysses2(), osp, p768), (Traffic{193, 193, 13'341'081'600}));
  // With the boundaries resharded 58.07, 59.38, 12.26 and 16.43 % less than Wan.
  const Boundary reshard = Boundary::reshard;
  EXPECT_EQ(total(ssp_ranks(4, reshard), osp, p720), (Traffic{65, 65, 9'737'011'200}));
  EXPECT_EQ(total(ssp_ranks(4, reshard), osp, p768), (Traffic{65, 65, 10'063'872'000}));
  EXPECT_EQ(total(ssp4_by_ulysses2(reshard), osp, p720), (Traffic{193, 193, 11'886'489'600}));
  EXPECT_EQ(total(ssp4_by_ulysses2(reshard), osp, p768), (Traffic{193, 193, 12'076'851'200}));
}

TEST(Communication, BreakdownOfAForwardPass) {
  const ForwardTraffic forward =
      forward_traffic(ssp4_by_ulysses2(), find_model("osp-next-14b"), p768, 1, bf16_bytes);
  const std::vector<TrafficPart> expected{{"full blocks", {32, 32, 2'890'137'600}},
                                          {"sparse blocks", {128, 128, 6'606'028'800}},
                                          {"phase switches", {31, 31, 2'399'846'400}},
                                          {"entering", {1, 1, 722'534'400}},
                                          {"leaving", {1, 1, 722'534'400}}};
  ASSERT_EQ(forward.breakdown.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(forward.breakdown[i].label, expected[i].label);
    EXPECT_EQ(forward.breakdown[i].traffic, expected[i].traffic) << expected[i].label;
  }
}

TEST(Communication, OtherStrategiesAtThePapersSize) {
  const Sequence sequence = wan_sequence(p768);
  const Parallelism ring{.strategy = Strategy::ring, .ranks = 4, .ring = 4};
  EXPECT_EQ(forward_block(ring, sequence, BlockKind::token), (Traffic{0, 3, 1'238'630'400}));
  EXPECT_EQ(block_traffic(ring, sequence, BlockKind::full, Direction::backward, bf16_bytes),
            (Traffic{0, 4, 2'890'137'600}));
  const Parallelism usp{.strategy = Strategy::usp, .ranks = 4, .ulysses = 2, .ring = 2};
  EXPECT_EQ(forward_block(usp, sequence, BlockKind::full), (Traffic{4, 5, 825'753'600}));
  const Parallelism megatron{.strategy = Strategy::megatron_sp, .ranks = 4};
  EXPECT_EQ(forward_block(megatron, sequence, BlockKind::full), (Traffic{4, 4, 2'477'260'800}));
  EXPECT_EQ(norm_traffic(megatron, sequence), (Traffic{2, 2, 967'680}));
  EXPECT_EQ(norm_traffic(ring, sequence), Traffic{});
  const Parallelism gather{.strategy = Strategy::gather, .ranks = 4, .ssp = 4};
  EXPECT_EQ(forward_block(gather, sequence, BlockKind::group), (Traffic{1, 1, 619'315'200}));
}

/// Heads, tokens and channels small enough to count on fingers, none of which divides evenly.
TEST(Communication, UnevenShares) {
  // 5 tokens as 3 + 2, 3 heads of width 1 as 2 + 1. Rank 1 sends 2 rows x 2 channels of each of q,
  // k and v, and 3 rows x 1 channel of the output; rank 0 sends 9 + 4.
  const Sequence five{{1, 1, 5}, parse_pattern("full", {}), 1, 3, 1};
  EXPECT_EQ(block_traffic(ulysses_ranks(2), five, BlockKind::full, Direction::forward, 1),
            (Traffic{4, 4, 15}));
  // Back: rank 0 sends 3 x 1 and three times 2 x 2, rank 1 2 x 2 and three times 3 x 1.
  EXPECT_EQ(block_traffic(ulysses_ranks(2), five, BlockKind::full, Direction::backward, 1),
            (Traffic{4, 4, 15}));
  // Blocks of 2, 2 and 1 tokens: rank 1 never sends on that of rank 2, so it sends 4 of 5.
  const Parallelism ring{.strategy = Strategy::ring, .ranks = 3, .ring = 3};
  EXPECT_EQ(block_traffic(ring, five, BlockKind::full, Direction::forward, 1),
            (Traffic{0, 2, 2 * 3 * 4}));
  EXPECT_EQ(block_traffic(ring, five, BlockKind::full, Direction::backward, 1),
            (Traffic{0, 3, 2 * 3 * 4 + 2 * 3 * 5}));
  const Parallelism megatron{.strategy = Strategy::megatron_sp, .ranks = 2};
  EXPECT_EQ(block_traffic(megatron, five, BlockKind::full, Direction::forward, 1),
            (Traffic{4, 4, 2 * 3 * 5}));
}

TEST(Communication, PhasesThatShareTheirDigitsMoveNothing) {
  // Two ranks are told apart by y0, which both phases have; four by the second digit as well.
  const Sequence sequence{{1, 4, 4}, parse_pattern("y0,x0|y0,x1", {2, 2, 2}), 1, 1, 1};
  EXPECT_EQ(forward_block(ssp_ranks(2), sequence, BlockKind::token), Traffic{});
  EXPECT_EQ(forward_block(ssp_ranks(4), sequence, BlockKind::token),
            (Traffic{1, 1, 2 * bf16_bytes}));
  const Sequence tiles{{1, 4, 4}, parse_pattern("window", {1, 2, 2}), 1, 1, 1};
  const Parallelism gather{.strategy = Strategy::gather, .ranks = 4, .ssp = 4};
  EXPECT_EQ(forward_block(ssp_ranks(4), tiles, BlockKind::group), Traffic{});
  EXPECT_EQ(forward_block(gather, tiles, BlockKind::group), Traffic{});
}

TEST(Communication, OneRankSendsNothing) {
  for_strategies([](Strategy strategy) {
    const Parallelism one{.strategy = strategy, .boundary = Boundary::reshard};
    for (const BlockKind kind : {BlockKind::full, BlockKind::token, BlockKind::group})
      for (const Direction direction : {Direction::forward, Direction::backward})
        EXPECT_EQ(block_traffic(one, wan_sequence(p720), kind, direction, 2), Traffic{});
    EXPECT_EQ(norm_traffic(one, wan_sequence(p720)), Traffic{});
    const auto forward = forward_traffic(one, find_model("osp-next-14b"), p720, 2, 2);
    EXPECT_EQ(forward.total, Traffic{});
    EXPECT_TRUE(forward.breakdown.empty());
  });
}

TEST(Communication, HugeGridsCostNoTimeAndNeverOverflow) {
  const Grid grid{1 << 10, 1 << 20, 1 << 20};
  const Sequence sequence{grid, parse_pattern("skiparse-2d", {4, 4, 4}), 1, 1, 1};
  EXPECT_EQ(block_traffic(ssp_ranks(16), sequence, BlockKind::token, Direction::forward, 1),
            (Traffic{1, 1, (std::int64_t{1} << 42) * 15}));
  Model model = find_model("osp-next-14b");
  model.heads = model.head_dim = 1;
  EXPECT_GT(forward_traffic(ssp4_by_ulysses2(Boundary::reshard), model, grid, 1, 1)
                .total.sent_bytes_per_rank,
            std::int64_t{1} << 48);
  EXPECT_THROW(forward_traffic(ssp_ranks(4), find_model("osp-next-14b"), grid, 1, 2), InputError);
}

}  // namespace
}  // namespace ospsim
