#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "analysis/communication.hpp"
#include "sim/parallel/parallel_model.hpp"
#include "tests/sim/parallel_support.hpp"

namespace ospsim {

constexpr std::int64_t small_ffn_dim = 10, small_text_rows = 3;

/// What the exchanges that `counts` cost, added up here.
template <class Counts>
Traffic traffic_of(const Ledger& ledger, const Counts& counts) {
  Traffic most;
  for (const Trace& trace : ledger.ranks) {
    Traffic own;
    for (const Exchange& exchange : exchanges_of(trace)) {
      if (!counts(exchange)) continue;
      own.steps += 1;
      own.collectives += exchange.kind == Exchange::Kind::shift ? 0 : 1;
      for (const auto& part : exchange.sent) own.sent_bytes_per_rank += part.bytes;
    }
    most.steps = std::max(most.steps, own.steps);
    most.collectives = std::max(most.collectives, own.collectives);
    most.sent_bytes_per_rank = std::max(most.sent_bytes_per_rank, own.sent_bytes_per_rank);
  }
  return most;
}

inline Ledger exchanges_only(Ledger ledger) {
  for (Trace& trace : ledger.ranks)
    std::erase_if(trace, [](const Event& e) { return std::holds_alternative<Computation>(e); });
  return ledger;
}

/// The closed forms leave out the norms of megatron-sp.
inline Traffic block_without_norm(const Ledger& ledger) {
  return traffic_of(ledger, [](const Exchange& exchange) { return exchange.label != "norm"; });
}

/// One block in the steady state: the switch into it and its forward pass, or its backward pass and
/// the switch out of it. With payload, bytes move but nothing is computed.
inline Ledger run_block(const Parallelism& p, const Sequence& sequence, BlockKind kind,
                        Direction direction, int bytes, bool payload) {
  const ParallelPlan plan(p, sequence, small_ffn_dim, small_text_rows);
  const BlockKind other = kind == BlockKind::full    ? BlockKind::full
                          : kind == BlockKind::token ? BlockKind::group
                                                     : BlockKind::token;
  Integers turn(at(p.ranks));
  const auto program = [&](Communicator& communicator) {
    ParallelModel model(plan, communicator, Wire{bytes}, 1, !payload);
    const auto zeros = [&](BlockKind of) {
      return std::vector<float>(communicator.carries_payload() ? at(model.shard(of).elements())
                                                               : 0);
    };
    if (direction == Direction::forward) {
      const auto x = model.hand_over(other, kind, 5, zeros(other));
      model.forward(kind, 5, {}, x);
      return;
    }
    // The backward pass needs a forward one, which is not looked at.
    const auto y = model.forward(kind, 5, {}, zeros(kind));
    turn[at(communicator.rank())] = std::ssize(communicator.trace());
    const auto gradients = model.backward(kind, 5, {}, y);
    model.hand_over(kind, other, 5, gradients.x);
  };
  Ledger ledger =
      payload ? run_in_process(p.ranks, program) : run_without_payload(p.ranks, program);
  for (std::size_t r = 0; r < turn.size(); ++r) {
    Trace& trace = ledger.ranks[r];
    trace = Trace(trace.begin() + turn[r], trace.end());
  }
  return ledger;
}

/// A forward pass of the model without payload, as a whole and by the parts of the breakdown.
inline void check_forward(const Parallelism& p, const Model& model, const Grid& grid,
                          std::int64_t batch) {
  SCOPED_TRACE(testing::Message() << described(p) << " on " << to_string(grid) << " with "
                                  << model.sparse_blocks() << " of " << model.layers
                                  << " blocks sparse");
  constexpr int bytes = 2;
  const Sequence sequence{grid, model.pattern, batch, model.heads, model.head_dim};
  const ParallelPlan plan(p, sequence, model.ffn_dim, model.text_tokens);
  const auto kinds = block_schedule(model);
  ASSERT_EQ(std::ssize(kinds), model.layers);
  const Ledger ledger = run_without_payload(p.ranks, [&](Communicator& communicator) {
    ParallelModel rank(plan, communicator, Wire{bytes}, 1);
    for (int b = 0; b < std::ssize(kinds); ++b) {
      if (b > 0) rank.hand_over(kinds[at(b - 1)], kinds[at(b)], b, {});
      rank.forward(kinds[at(b)], b, {}, {});
    }
  });

  const ForwardTraffic formula = forward_traffic(p, model, grid, batch, bytes);
  EXPECT_EQ(block_without_norm(ledger), formula.total);
  const std::map<std::string, std::string> between{
      {"phase", "phase switches"}, {"enter", "entering"}, {"leave", "leaving"}};
  const auto part_of_breakdown = [&](const Exchange& exchange) -> std::string {
    if (exchange.label == "norm") return "";
    const auto known = between.find(exchange.label);
    if (known != between.end()) return known->second;
    return kinds[at(exchange.block)] == BlockKind::full ? "full blocks" : "sparse blocks";
  };
  for (const std::string label :
       {"full blocks", "sparse blocks", "phase switches", "entering", "leaving"}) {
    const Traffic ran = traffic_of(
        ledger, [&](const Exchange& exchange) { return part_of_breakdown(exchange) == label; });
    const auto part = std::ranges::find(formula.breakdown, label, &TrafficPart::label);
    EXPECT_EQ(ran, part == formula.breakdown.end() ? Traffic{} : part->traffic) << label;
  }
  for (const auto& [label, name] : between)
    EXPECT_EQ(traffic(ledger, label), traffic_of(ledger, [&](const Exchange& exchange) {
                return exchange.label == label;
              }));
}

}  // namespace ospsim
