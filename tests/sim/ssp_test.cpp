#include <gtest/gtest.h>

#include <mutex>
#include <tuple>

#include "sim/parallel/parallel_model.hpp"
#include "tests/sim/parallel_support.hpp"

namespace ospsim {
namespace {

using Array = std::vector<float>;

// ---- The paper's four steps (section 3.3, algorithm 1), literally, on plain arrays -------------

struct SubGrid {
  std::int64_t t = 1, h = 1, w = 1;
  std::int64_t tokens() const { return t * h * w; }
};

/// "orig -> TSA" on a batch of grids, [n, t*h*w, c] -> [k*k*n, t*(h/k)*(w/k), c], or back.
Array to_token_phase(const Array& x, std::int64_t n, SubGrid grid, std::int64_t k, std::int64_t c,
                     bool inverse) {
  Array y(x.size());
  const std::int64_t base = grid.tokens() / (k * k);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t t = 0; t < grid.t; ++t)
      for (std::int64_t row = 0; row < grid.h; ++row)
        for (std::int64_t column = 0; column < grid.w; ++column) {
          const std::int64_t token = (t * grid.h + row) * grid.w + column;
          const std::int64_t sub = row % k * k + column % k;
          const std::int64_t slot = (t * (grid.h / k) + row / k) * (grid.w / k) + column / k;
          const std::int64_t original = (i * grid.tokens() + token) * c;
          const std::int64_t split = ((sub * n + i) * base + slot) * c;
          for (std::int64_t j = 0; j < c; ++j)
            if (inverse)
              y[at(original + j)] = x[at(split + j)];
            else
              y[at(split + j)] = x[at(original + j)];
        }
  return y;
}

/// `sparse_sequence_parallel` on all ranks together. x[r] = [G*b, T*(H/P)*(W/P), C].
std::vector<Array> sparse_sequence_parallel(const std::vector<Array>& x, SubGrid grid,
                                            std::int64_t p, std::int64_t b, std::int64_t c) {
  const auto s = std::ssize(x);
  const std::int64_t g = p * p / s;
  const SubGrid sub{grid.t, grid.h / p, grid.w / p};
  const std::int64_t base = sub.tokens() / (p * p);
  // 1. Local rearrange.
  std::vector<Array> sent;
  for (const Array& local : x) sent.push_back(to_token_phase(local, g * b, sub, p, c, false));
  // 2. As [S, G, G*b, base, C]; chunk r goes to rank r.
  const std::int64_t chunk = g * g * b * base * c;
  std::vector<Array> received(at(s));
  for (std::int64_t to = 0; to < s; ++to)
    for (std::int64_t from = 0; from < s; ++from) {
      const auto begin = sent[at(from)].begin() + to * chunk;
      received[at(to)].insert(received[at(to)].end(), begin, begin + chunk);
    }
  std::vector<Array> result;
  for (const Array& r : received) {
    // 3. [S, G(j), G(i), b, base, C] -> [S, G(i), G(j), b, base, C].
    const std::int64_t piece = b * base * c;
    Array permuted;
    for (std::int64_t source = 0; source < s; ++source)
      for (std::int64_t i = 0; i < g; ++i)
        for (std::int64_t j = 0; j < g; ++j) {
          const auto begin = r.begin() + ((source * g + j) * g + i) * piece;
          permuted.insert(permuted.end(), begin, begin + piece);
        }
    // 4. Local inverse.
    result.push_back(to_token_phase(permuted, g * b, sub, p, c, true));
  }
  return result;
}

// ---- The same by ParallelModel -----------------------------------------------------------------

struct Case {
  Grid grid;
  std::int64_t k = 2, batch = 1;
  int ssp = 1, ulysses = 1;

  Sequence sequence() const { return skiparse_2d(grid, k, batch, 9, 1); }
  Parallelism parallelism() const {
    const auto s = sequence();
    return ulysses == 1 ? make_parallelism(Strategy::ssp, ssp, {}, {}, Boundary::reshard, s)
                        : make_parallelism(Strategy::ssp_ulysses, ssp * ulysses, ulysses, {},
                                           Boundary::reshard, s);
  }
};

struct Switched {
  std::vector<Array> arrays;  ///< by rank
  Ledger ledger;
};

Switched hand_over_on_all(const Case& c, BlockKind from, BlockKind to,
                          const std::vector<Array>& in) {
  const ParallelPlan plan(c.parallelism(), c.sequence(), 4, 2);
  Switched result{std::vector<Array>(in.size()), {}};
  result.ledger = run_in_process(static_cast<int>(in.size()), [&](Communicator& communicator) {
    ParallelModel model(plan, communicator, Wire{4}, 1);
    const std::size_t rank = at(communicator.rank());
    result.arrays[rank] = model.hand_over(from, to, 7, in[rank]);
  });
  return result;
}

/// Random states in all rows, those of padding too.
std::vector<Array> random_shards(const Case& c) {
  const ParallelPlan plan(c.parallelism(), c.sequence(), 4, 2);
  std::vector<Array> shards;
  for (const Shard& shard : plan.hidden_in(BlockKind::token))
    shards.push_back(normal_floats(shard.elements(), shards.size() + 1));
  return shards;
}

/// Rank s * ulysses + u of the frame's rectangle u of whole units.
SubGrid rectangle(const Case& c, int u) {
  const std::int64_t unit = c.k * c.k;
  const PartGrid cut = part_grid(c.ulysses, c.sequence().pattern);
  const auto extent = [&](std::int64_t tokens, int parts, int index) {
    return std::ranges::count(owners(round_up(tokens, unit) / unit, parts), index) * unit;
  };
  return {c.grid.t, extent(c.grid.h, cut.rows, u / cut.columns),
          extent(c.grid.w, cut.columns, u % cut.columns)};
}

void check_four_steps(const Case& c) {
  SCOPED_TRACE(testing::Message() << to_string(c.grid) << " k " << c.k << " batch " << c.batch
                                  << " ssp " << c.ssp << " ulysses " << c.ulysses);
  const auto x = random_shards(c);
  const std::int64_t channels = c.sequence().dim();
  const Switched there = hand_over_on_all(c, BlockKind::token, BlockKind::group, x);
  const Switched same_map = hand_over_on_all(c, BlockKind::group, BlockKind::token, x);
  const Switched back = hand_over_on_all(c, BlockKind::group, BlockKind::token, there.arrays);
  EXPECT_EQ(back.arrays, x);
  EXPECT_EQ(same_map.arrays, there.arrays);
  for (int u = 0; u < c.ulysses; ++u) {
    std::vector<Array> members;
    for (int s = 0; s < c.ssp; ++s) members.push_back(x[at(s * c.ulysses + u)]);
    const SubGrid grid = rectangle(c, u);
    const auto expected = sparse_sequence_parallel(members, grid, c.k, c.batch, channels);
    const std::int64_t bytes = c.batch * grid.tokens() / c.ssp * channels * 4 / c.ssp;
    for (int s = 0; s < c.ssp; ++s) {
      const int rank = s * c.ulysses + u;
      EXPECT_EQ(there.arrays[at(rank)], expected[at(s)]) << "rank " << rank;
      // One all-to-all, as much to each of the ranks that differ in their sub-sequences only.
      for (const Switched* run : {&there, &back}) {
        const Trace& trace = run->ledger.ranks[at(rank)];
        if (c.ssp == 1) {
          EXPECT_TRUE(trace.empty());
          continue;
        }
        ASSERT_EQ(trace.size(), 1u);
        const auto& exchange = std::get<Exchange>(trace[0]);
        EXPECT_EQ(exchange.kind, Exchange::Kind::all_to_all);
        EXPECT_EQ(exchange.label, "phase");
        EXPECT_EQ(exchange.block, 7);
        std::vector<Exchange::Part> parts;
        for (int peer = 0; peer < c.ssp; ++peer)
          if (peer != s) parts.push_back({peer * c.ulysses + u, bytes});
        EXPECT_EQ(exchange.sent, parts);
        EXPECT_EQ(exchange.received, parts);
      }
    }
  }
  for (const Switched* run : {&there, &same_map, &back}) require_matching_parts(run->ledger);
}

TEST(SparseSequenceParallel, EqualsTheFourStepsOfThePaper) {
  for (const std::int64_t batch : {1, 2})
    for (const auto& [k, ranks] : {std::pair{2, std::vector{1, 2, 4}},
                                   {3, std::vector{1, 3, 9}},
                                   {4, std::vector{1, 2, 4, 8, 16}}})
      for (const int ssp : ranks)
        for (const Grid& grid :
             {Grid{2, k * k, 2 * k * k}, Grid{1, k * k + 1, k * k}, Grid{5, 1, 4}, Grid{2, 7, 13}})
          check_four_steps({grid, k, batch, ssp, 1});
}

/// Inside the rectangles of a ulysses group the same steps hold, rectangle by rectangle.
TEST(SparseSequenceParallel, EqualsTheFourStepsInsideRectangles) {
  for (const std::int64_t batch : {1, 2})
    for (const Case& c : {Case{{2, 9, 14}, 2, batch, 4, 2}, Case{{1, 7, 11}, 2, batch, 2, 4},
                          Case{{2, 5, 21}, 2, batch, 1, 6}, Case{{1, 9, 20}, 3, batch, 3, 2},
                          Case{{1, 25, 40}, 3, batch, 9, 6}, Case{{1, 20, 30}, 4, batch, 8, 2}})
      check_four_steps(c);
}

/// At the paper's size, heads narrower: 21 x 45 x 80, padded to 48 rows.
TEST(SparseSequenceParallel, EqualsTheFourStepsOnThePapersGrid) {
  check_four_steps({{21, 45, 80}, 2, 1, 4, 1});
  check_four_steps({{21, 45, 80}, 2, 1, 4, 2});
}

/// A training step never gathers: neither between sparse blocks nor, resharded, at their ends.
TEST(SparseSequenceParallel, NeverGathers) {
  const Sequence sequence = skiparse_2d({2, 9, 14}, 2, 1, 9, 2);
  for (const auto& [strategy, ranks] : {std::pair{Strategy::ssp, 4}, {Strategy::ssp_ulysses, 8}}) {
    const auto p = make_parallelism(strategy, ranks, {}, {}, Boundary::reshard, sequence);
    const ParallelPlan plan(p, sequence, 4, 2);
    const Ledger ledger = run_without_payload(ranks, [&](Communicator& communicator) {
      ParallelModel model(plan, communicator, Wire{2}, 1);
      const std::vector kinds{BlockKind::full, BlockKind::token, BlockKind::group, BlockKind::full};
      for (int b = 0; b < 4; ++b) {
        if (b > 0) model.hand_over(kinds[at(b) - 1], kinds[at(b)], b, {});
        model.forward(kinds[at(b)], b, {}, {});
      }
      for (int b = 3; b >= 0; --b) {
        model.backward(kinds[at(b)], b, {}, {});
        if (b > 0) model.hand_over(kinds[at(b)], kinds[at(b) - 1], b, {});
      }
    });
    for (const Trace& trace : ledger.ranks)
      for (const Exchange& exchange : exchanges_of(trace))
        EXPECT_EQ(exchange.kind, Exchange::Kind::all_to_all) << exchange.label;
    EXPECT_EQ(traffic(ledger, "phase").collectives, 2);
    EXPECT_EQ(traffic(ledger, "enter").collectives, 2);
    EXPECT_EQ(traffic(ledger, "leave").collectives, 2);
  }
}

}  // namespace
}  // namespace ospsim
