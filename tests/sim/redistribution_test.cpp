#include "sim/parallel/redistribution.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>

#include "sim/parallel/collectives.hpp"
#include "sim/parallel/parallel_model.hpp"
#include "tests/sim/parallel_support.hpp"

namespace ospsim {
namespace {

using Array = std::vector<float>;

constexpr float poison = std::numeric_limits<float>::quiet_NaN();

/// What element (row, channel) of the tensor is; takes more bits than bf16 has.
float value_of(std::int64_t row, std::int64_t channel) {
  return static_cast<float>(row * 1009 + channel * 17 + 1) / 7;
}

bool holds(const Shard& shard, std::int64_t row, std::int64_t channel) {
  return channel >= shard.channels.first && channel < shard.channels.last &&
         std::ranges::count(shard.rows, row) > 0;
}

Array stored(const Shard& shard) {
  Array array;
  for (const std::int64_t row : shard.rows)
    for (std::int64_t c = shard.channels.first; c < shard.channels.last; ++c)
      array.push_back(value_of(row, c));
  return array;
}

/// What has to arrive: the value where somebody has the element, else zero.
Array expected_of(const Shard& shard, const Sharding& from, bool rounded) {
  Array array;
  for (const std::int64_t row : shard.rows)
    for (std::int64_t c = shard.channels.first; c < shard.channels.last; ++c) {
      const bool known =
          std::ranges::any_of(from, [&](const Shard& other) { return holds(other, row, c); });
      const float value = value_of(row, c);
      array.push_back(!known ? 0 : rounded ? rounded_to_bf16(value) : value);
    }
  return array;
}

std::int64_t common_elements(const Shard& a, const Shard& b) {
  std::int64_t elements = 0;
  for (const std::int64_t row : a.rows)
    for (std::int64_t c = a.channels.first; c < a.channels.last; ++c)
      elements += holds(b, row, c) ? 1 : 0;
  return elements;
}

/// Everything about one move, compared with looking up each element.
void check_move(const Sharding& from, const Sharding& to) {
  const int ranks = static_cast<int>(std::ssize(from));
  const StepName name{Exchange::Kind::all_to_all, "test", 3, true};
  for (const int bytes : {4, 2}) {
    std::vector<Array> arrived(at(ranks));
    const auto move = [&](Communicator& communicator) {
      const std::size_t rank = at(communicator.rank());
      const Redistribution redistribution(from, to, communicator.rank());
      if (!communicator.carries_payload())
        return redistribution.run(communicator, name, Wire{bytes}, {}, {});
      const Array in = stored(from[rank]);
      arrived[rank].assign(at(to[rank].elements()), poison);
      redistribution.run(communicator, name, Wire{bytes}, in, arrived[rank]);
      if (in != stored(from[rank])) throw std::logic_error("the input was written to");
    };
    const Ledger ledger = run_in_process(ranks, move);
    RC_ASSERT(same_ledger(ledger, run_without_payload(ranks, move)));
    for (int r = 0; r < ranks; ++r) {
      RC_ASSERT(arrived[at(r)] == expected_of(to[at(r)], from, bytes == 2));
      std::vector<Exchange::Part> sent, received;
      std::int64_t elements = 0;
      for (int peer = 0; peer < ranks; ++peer) {
        if (peer == r) continue;
        const std::int64_t out = common_elements(from[at(r)], to[at(peer)]);
        const std::int64_t in = common_elements(to[at(r)], from[at(peer)]);
        if (out > 0) sent.push_back({peer, out * bytes});
        if (in > 0) received.push_back({peer, in * bytes});
        elements += out;
      }
      RC_ASSERT(Redistribution(from, to, r).sent_elements() == elements);
      const Trace& trace = ledger.ranks[at(r)];
      if (sent.empty() && received.empty()) {
        RC_ASSERT(trace.empty());
        continue;
      }
      RC_ASSERT(trace.size() == 1u);
      const auto& exchange = std::get<Exchange>(trace[0]);
      RC_ASSERT(exchange.sent == sent);
      RC_ASSERT(exchange.received == received);
      RC_ASSERT(exchange.label == "test");
      RC_ASSERT(exchange.block == 3);
      RC_ASSERT(exchange.overlaps_next);
    }
  }
}

template <class T>
std::vector<T> shuffled(std::vector<T> list) {
  for (std::size_t i = list.size(); i > 1; --i)
    std::swap(list[i - 1], list[at(number(0, static_cast<std::int64_t>(i) - 1))]);
  return list;
}

Integers some_rows(std::int64_t rows, std::int64_t percent) {
  Integers list;
  for (std::int64_t row = 0; row < rows; ++row)
    if (number(0, 99) < percent) list.push_back(row);
  return number(0, 1) == 0 ? list : shuffled(list);
}

/// No element has two owners; some have none. Cut by rows, by channels or by both.
Sharding disjoint(int ranks, std::int64_t rows, std::int64_t channels) {
  const int columns = static_cast<int>(number(1, ranks));
  Sharding sharding(at(ranks));
  const Integers everything = shuffled([&] {
    Integers list(at(rows));
    std::iota(list.begin(), list.end(), 0);
    return list;
  }());
  // Grid of `columns` windows; the ranks of a window share the rows. The last windows may be empty.
  for (int column = 0; column < columns; ++column) {
    std::vector<int> members;
    for (int r = 0; r < ranks; ++r)
      if (r % columns == column) members.push_back(r);
    for (const int r : members) sharding[at(r)].channels = part_of(channels, columns, column);
    for (const std::int64_t row : everything) {
      const std::int64_t owner = number(-1, std::ssize(members) - 1);
      if (owner >= 0) sharding[at(members[at(owner)])].rows.push_back(row);
    }
  }
  if (number(0, 1) == 0)
    for (Shard& shard : sharding) std::ranges::sort(shard.rows);
  return sharding;
}

Sharding overlapping(int ranks, std::int64_t rows, std::int64_t channels) {
  Sharding sharding;
  for (int r = 0; r < ranks; ++r) {
    const std::int64_t first = number(0, channels), last = number(first, channels);
    sharding.push_back({some_rows(rows, number(0, 1) == 0 ? 100 : number(0, 100)),
                        number(0, 1) == 0 ? Range{0, channels} : Range{first, last}});
  }
  return sharding;
}

RC_GTEST_PROP(Redistribution, BringsEveryElementWhoeverWantsIt, ()) {
  const int ranks = static_cast<int>(number(1, 5));
  const std::int64_t rows = number(0, 12), channels = number(1, 6);
  const Sharding from = disjoint(ranks, rows, channels);
  check_move(from, disjoint(ranks, rows, channels));
  check_move(from, overlapping(ranks, rows, channels));
}

/// Several ranks may have an element; they have the same.
RC_GTEST_PROP(Redistribution, BringsEveryElementWhoeverHasIt, ()) {
  const int ranks = static_cast<int>(number(1, 4));
  const std::int64_t rows = number(0, 6), channels = number(1, 4);
  check_move(overlapping(ranks, rows, channels), overlapping(ranks, rows, channels));
}

TEST(Redistribution, RowsOfNobodyAreZeroThoughOthersHaveTwoOwners) {
  // Row 0 is had twice, row 1 by nobody: as many elements arrive as are wanted.
  const Sharding from{{{0}, {0, 2}}, {{0}, {0, 2}}, {{}, {0, 2}}};
  const Sharding to{{{}, {0, 2}}, {{}, {0, 2}}, {{0, 1}, {0, 2}}};
  EXPECT_NO_THROW(check_move(from, to));
}

TEST(Redistribution, RefusesArraysOfTheWrongSize) {
  const Sharding from{{{0, 1}, {0, 2}}}, to{{{1, 0}, {0, 2}}};
  run_in_process(1, [&](Communicator& communicator) {
    const Redistribution redistribution(from, to, 0);
    Array in(4), out(4), wrong(3);
    EXPECT_NO_THROW(redistribution.run(communicator, {}, Wire{4}, in, out));
    EXPECT_THROW(redistribution.run(communicator, {}, Wire{4}, wrong, out), std::invalid_argument);
    EXPECT_THROW(redistribution.run(communicator, {}, Wire{4}, in, wrong), std::invalid_argument);
    EXPECT_THROW(redistribution.run(communicator, {}, Wire{1}, in, out), std::logic_error);
  });
}

/// Of the larger of what a rank holds before and after a switch of ssp or an exchange of ulysses.
RC_GTEST_PROP(Redistribution, ScratchIsAtMostOneShard, ()) {
  const std::int64_t k = number(2, 3);
  const Sequence sequence = skiparse_2d({number(1, 2), number(1, 20), number(1, 20)}, k,
                                        number(1, 2), number(1, 12), number(1, 3));
  const auto p =
      try_parallelism(*rc::gen::element(Strategy::ssp, Strategy::ssp_ulysses, Strategy::ulysses),
                      static_cast<int>(number(1, 12)), Boundary::reshard, sequence);
  RC_PRE(p.has_value());
  const ParallelPlan plan(*p, sequence, 4, 2);
  const auto require = [](const Sharding& from, const Sharding& to, int rank) {
    const std::int64_t shard = std::max(from[at(rank)].elements(), to[at(rank)].elements());
    RC_ASSERT(Redistribution(from, to, rank).scratch_elements() <= shard);
  };
  using enum BlockKind;
  for (int rank = 0; rank < p->ranks; ++rank) {
    if (holds_subsequences(p->strategy)) {
      require(plan.hidden_in(token), plan.hidden_in(group), rank);
      require(plan.hidden_in(group), plan.hidden_in(token), rank);
    }
    for (const BlockKind kind : {full, token, group}) {
      const int ulysses = kind == full && holds_subsequences(p->strategy) ? p->ranks : p->ulysses;
      const int first = rank / ulysses * ulysses;
      const auto& hidden = plan.hidden_in(kind);
      const Sharding by_rows(hidden.begin() + first, hidden.begin() + first + ulysses);
      Sharding by_heads;
      for (int u = 0; u < ulysses; ++u) {
        const Range heads = part_of(sequence.heads, ulysses, u);
        by_heads.push_back(
            {all_rows(by_rows), {heads.first * sequence.head_dim, heads.last * sequence.head_dim}});
      }
      require(by_rows, by_heads, rank - first);
      require(by_heads, by_rows, rank - first);
    }
  }
}

// ---- Collectives -------------------------------------------------------------------------------

Array values_of_rank(int rank, std::int64_t size) {
  return normal_floats(size, static_cast<std::uint64_t>(rank + 1));
}

Array rounded(Array values) {
  for (float& value : values) value = rounded_to_bf16(value);
  return values;
}

Integers random_lengths(int ranks) {
  Integers lengths;
  for (int r = 0; r < ranks; ++r) lengths.push_back(number(0, 3) == 0 ? 0 : number(0, 20));
  return lengths;
}

RC_GTEST_PROP(Collectives, AllGatherConcatenates, ()) {
  const int ranks = static_cast<int>(number(1, 6));
  const Integers lengths = random_lengths(ranks);
  for (const int bytes : {4, 2}) {
    Array expected;
    for (int r = 0; r < ranks; ++r) {
      for (const float value : values_of_rank(r, lengths[at(r)]))
        expected.push_back(bytes == 2 ? rounded_to_bf16(value) : value);
    }
    std::vector<Array> gathered(at(ranks));
    const auto program = [&](Communicator& communicator) {
      const int r = communicator.rank();
      const Array in = communicator.carries_payload() ? values_of_rank(r, lengths[at(r)]) : Array();
      const auto out =
          all_gather(communicator, {Exchange::Kind::all_gather, "all"}, Wire{bytes}, lengths, in);
      if (communicator.carries_payload()) gathered[at(r)] = out;
      RC_ASSERT(communicator.carries_payload() || out.empty());
    };
    const Ledger ledger = run_in_process(ranks, program);
    RC_ASSERT(same_ledger(ledger, run_without_payload(ranks, program)));
    const auto between = bytes_between_ranks(ledger);
    for (int r = 0; r < ranks; ++r) {
      RC_ASSERT(gathered[at(r)] == expected);
      for (int to = 0; to < ranks; ++to)
        RC_ASSERT(between[at(r * ranks + to)] == (to == r ? 0 : lengths[at(r)] * bytes));
    }
  }
}

RC_GTEST_PROP(Collectives, ReduceScatterSumsInTheOrderOfRanks, ()) {
  const int ranks = static_cast<int>(number(1, 6));
  const Integers lengths = random_lengths(ranks);
  const std::int64_t all = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  for (const int bytes : {4, 2}) {
    std::vector<Array> sums(at(ranks));
    const auto program = [&](Communicator& communicator) {
      const int r = communicator.rank();
      const Array in = communicator.carries_payload() ? values_of_rank(r, all) : Array();
      const auto out = reduce_scatter(communicator, {Exchange::Kind::reduce_scatter, "sum"},
                                      Wire{bytes}, lengths, in);
      if (communicator.carries_payload()) sums[at(r)] = out;
    };
    const Ledger ledger = run_in_process(ranks, program);
    RC_ASSERT(same_ledger(ledger, run_without_payload(ranks, program)));
    const auto between = bytes_between_ranks(ledger);
    std::int64_t first = 0;
    for (int r = 0; r < ranks; first += lengths[at(r)], ++r) {
      RC_ASSERT(std::ssize(sums[at(r)]) == lengths[at(r)]);
      for (std::int64_t i = 0; i < lengths[at(r)]; ++i) {
        float sum = 0;
        double exact = 0, magnitude = 0;
        for (int source = 0; source < ranks; ++source) {
          const float value = values_of_rank(source, all)[at(first + i)];
          sum += value;
          exact += static_cast<double>(value);
          magnitude += std::abs(static_cast<double>(value));
        }
        if (bytes == 4)
          RC_ASSERT(sums[at(r)][at(i)] == sum);
        else  // each part off by at most half a unit in the last of 8 bits
          RC_ASSERT(std::abs(static_cast<double>(sums[at(r)][at(i)]) - exact) <=
                    magnitude * (std::ldexp(1, -8) + 1e-6));
      }
      for (int from = 0; from < ranks; ++from)
        RC_ASSERT(between[at(from * ranks + r)] == (from == r ? 0 : lengths[at(r)] * bytes));
    }
  }
}

RC_GTEST_PROP(Collectives, ShiftsGoOnceRound, ()) {
  const int ranks = static_cast<int>(number(2, 6));
  const Integers lengths = random_lengths(ranks);
  for (const int bytes : {4, 2}) {
    const auto program = [&](Communicator& communicator) {
      const int own = communicator.rank();
      Array held = communicator.carries_payload() ? values_of_rank(own, lengths[at(own)]) : Array();
      for (int step = 1; step <= ranks; ++step) {
        const int holding = (own - step + 1 + ranks) % ranks;
        const int next = (own - step + ranks) % ranks;
        held = shift(communicator, {Exchange::Kind::shift, "turn"}, Wire{bytes},
                     lengths[at(holding)], lengths[at(next)], held);
        if (!communicator.carries_payload()) continue;
        const Array sent = values_of_rank(next, lengths[at(next)]);
        if (held != (bytes == 2 ? rounded(sent) : sent)) throw std::logic_error("wrong part");
      }
    };
    const Ledger ledger = run_in_process(ranks, program);
    RC_ASSERT(same_ledger(ledger, run_without_payload(ranks, program)));
    RC_ASSERT(traffic(ledger).collectives == 0);
    const std::int64_t all = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
    const auto between = bytes_between_ranks(ledger);
    for (int r = 0; r < ranks; ++r)
      for (int to = 0; to < ranks; ++to)
        RC_ASSERT(between[at(r * ranks + to)] == (to == (r + 1) % ranks ? all * bytes : 0));
  }
}

// ---- The engine in one process -----------------------------------------------------------------

constexpr std::chrono::seconds patience{20};

/// Everyone sends `bytes[peer]` to and expects `bytes[peer]` from each peer.
void swap_bytes(Communicator& communicator, const Integers& sent_bytes,
                const Integers& received_bytes) {
  const int ranks = communicator.size();
  std::vector<std::byte> out(
      at(std::accumulate(sent_bytes.begin(), sent_bytes.end(), std::int64_t{0})));
  std::vector<std::byte> in(
      at(std::accumulate(received_bytes.begin(), received_bytes.end(), std::int64_t{0})));
  SentParts sent(out.data(), ranks);
  ReceivedParts received(in.data(), ranks);
  std::int64_t out_at = 0, in_at = 0;
  for (int r = 0; r < ranks; ++r) {
    sent.set(r, out_at, sent_bytes[at(r)]);
    received.set(r, in_at, received_bytes[at(r)]);
    out_at += sent_bytes[at(r)];
    in_at += received_bytes[at(r)];
  }
  communicator.exchange({.label = "swap"}, sent, received);
}

TEST(InProcess, DisagreementNamesBothRanksAndByteCounts) {
  const std::string error = error_within(patience, [] {
    run_in_process(3, [](Communicator& communicator) {
      switch (communicator.rank()) {
        case 0:
          return swap_bytes(communicator, {0, 8, 16}, {0, 24, 32});
        case 1:
          return swap_bytes(communicator, {24, 0, 0}, {12, 0, 0});
        default:
          return swap_bytes(communicator, {32, 0, 0}, {16, 0, 0});
      }
    });
  });
  EXPECT_EQ(error, "rank 0 sends 8 bytes where rank 1 expects 12");
}

TEST(InProcess, DisagreementInsideASubgroupNamesRanksOfTheJob) {
  const std::string error = error_within(patience, [] {
    run_in_process(6, [](Communicator& communicator) {
      const int parity = communicator.rank() % 2;
      const auto group = communicator.subgroup({parity, parity + 2, parity + 4});
      const std::int64_t sent = communicator.rank() == 5 ? 7 : 4;
      Integers out(3, 4), in(3, 4);
      out[at(group->rank())] = in[at(group->rank())] = 0;
      if (communicator.rank() == 5) out[1] = sent;
      for (int i = 0; i < 3; ++i) swap_bytes(*group, out, in);
      communicator.subgroup({0, 1, 2, 3, 4, 5});
      swap_bytes(communicator, Integers(6, 0), Integers(6, 0));
    });
  });
  EXPECT_EQ(error, "rank 5 sends 7 bytes where rank 3 expects 4");
}

/// Ranks that still copy what others sent must not find it gone, whoever finds fault.
TEST(InProcess, DisagreementLeavesOthersTheirParts) {
  for (int i = 0; i < 5; ++i) {
    const std::string error = error_within(patience, [] {
      run_in_process(4, [](Communicator& communicator) {
        const int own = communicator.rank();
        const std::int64_t large = std::int64_t{1} << 22;
        Integers out(4, large), in(4, large);
        out[at(own)] = in[at(own)] = 0;
        if (own == 1) in[0] -= 1;
        swap_bytes(communicator, out, in);
      });
    });
    EXPECT_EQ(error, "rank 0 sends 4194304 bytes where rank 1 expects 4194303");
  }
}

TEST(InProcess, ARankThatThrowsEndsTheOthers) {
  for (const int thrower : {0, 2}) {
    const std::string error = error_within(patience, [thrower] {
      run_in_process(4, [thrower](Communicator& communicator) {
        Integers bytes(4, 4);
        bytes[at(communicator.rank())] = 0;
        swap_bytes(communicator, bytes, bytes);
        if (communicator.rank() == thrower) throw InputError("enough");
        for (;;) swap_bytes(communicator, bytes, bytes);
      });
    });
    EXPECT_EQ(error, "enough");
  }
}

TEST(InProcess, ARankThatThrowsEndsThoseInOtherGroupsToo) {
  for (const bool before_the_groups_are_made : {true, false}) {
    const std::string error = error_within(patience, [before_the_groups_are_made] {
      run_in_process(4, [before_the_groups_are_made](Communicator& communicator) {
        const int own = communicator.rank();
        if (own == 3 && before_the_groups_are_made) throw InputError("enough");
        const auto pair = communicator.subgroup({own / 2 * 2, own / 2 * 2 + 1});
        const auto alone = pair->subgroup({pair->rank()});
        const auto again = pair->subgroup({1, 0});
        Integers bytes(2, 4);
        bytes[at(again->rank())] = 0;
        if (own == 3) throw InputError("enough");
        for (;;) {
          swap_bytes(*alone, {0}, {0});
          swap_bytes(*again, bytes, bytes);
        }
      });
    });
    EXPECT_EQ(error, "enough");
  }
}

TEST(InProcess, SubgroupsNumberTheirRanksInTheOrderGiven) {
  // Rows of a 2 x 3 mesh, reversed, and a pair of each.
  const auto program = [](Communicator& communicator) {
    const int row = communicator.rank() / 3, column = communicator.rank() % 3;
    const auto group = communicator.subgroup({3 * row + 2, 3 * row + 1, 3 * row});
    EXPECT_EQ(group->rank(), 2 - column);
    EXPECT_EQ(group->size(), 3);
    Array in =
        communicator.carries_payload() ? Array{static_cast<float>(communicator.rank())} : Array();
    const Integers lengths(3, 1);
    const Array all = all_gather(*group, {Exchange::Kind::all_gather, "row"}, Wire{4}, lengths, in);
    if (communicator.carries_payload()) {
      const auto first = static_cast<float>(3 * row);
      EXPECT_EQ(all, (Array{first + 2, first + 1, first}));
    }
    if (group->rank() == 1) return;
    const auto pair = group->subgroup({0, 2});
    EXPECT_EQ(pair->rank(), group->rank() / 2);
    shift(*pair, {Exchange::Kind::shift, "pair"}, Wire{4}, 1, 1, in);
    EXPECT_EQ(&group->trace(), &communicator.trace());
  };
  const Ledger ledger = run_in_process(6, program);
  EXPECT_TRUE(same_ledger(ledger, run_without_payload(6, program)));
  EXPECT_EQ(bytes_between_ranks(ledger), (Integers{0, 4, 8, 0, 0, 0,  //
                                                   4, 0, 4, 0, 0, 0,  //
                                                   8, 4, 0, 0, 0, 0,  //
                                                   0, 0, 0, 0, 4, 8,  //
                                                   0, 0, 0, 4, 0, 4,  //
                                                   0, 0, 0, 8, 4, 0}));
}

TEST(InProcess, NobodyMakesAGroupWithoutHimself) {
  run_in_process(2, [](Communicator& communicator) {
    EXPECT_THROW(communicator.subgroup({1 - communicator.rank()}), std::logic_error);
    EXPECT_THROW(communicator.subgroup({communicator.rank(), 2}), std::exception);
  });
}

TEST(WithoutPayload, PartsThatDoNotMatchAreFound) {
  EXPECT_THROW(run_without_payload(2,
                                   [](Communicator& communicator) {
                                     SentParts sent(nullptr, 2);
                                     ReceivedParts received(nullptr, 2);
                                     if (communicator.rank() == 0) sent.set(1, 0, 8);
                                     if (communicator.rank() == 1) received.set(0, 0, 9);
                                     communicator.exchange({}, sent, received);
                                   }),
               std::logic_error);
}

}  // namespace
}  // namespace ospsim
