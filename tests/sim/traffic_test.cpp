/// The closed forms of analysis/communication.hpp against the ledgers of what really runs.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>

#include "analysis/communication.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"
#include "sim/parallel/parallel_model.hpp"
#include "tests/sim/traffic_support.hpp"

namespace ospsim {
namespace {

using enum BlockKind;

constexpr std::array boundaries{Boundary::all_gather, Boundary::reshard};

void check_blocks(const Parallelism& p, const Sequence& sequence, int bytes) {
  for (const BlockKind kind : {full, token, group})
    for (const Direction direction : {Direction::forward, Direction::backward})
      EXPECT_EQ(block_without_norm(run_block(p, sequence, kind, direction, bytes, false)),
                block_traffic(p, sequence, kind, direction, bytes))
          << static_cast<int>(kind) << (direction == Direction::forward ? " forward" : " backward");
}

/// Sizes that nothing divides, on 1 to 12 ranks and on more.
TEST(Traffic, FormulaEqualsLedgerForBlocks) {
  int checked = 0;
  for (const Sequence& sequence :
       {skiparse_2d({1, 5, 7}, 2, 1, 40, 2), skiparse_2d({2, 8, 16}, 2, 2, 12, 3),
        skiparse_2d({3, 9, 11}, 3, 1, 9, 2), skiparse_2d({2, 17, 21}, 4, 2, 7, 4)})
    for (const Strategy strategy : all_strategies())
      for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 18, 20, 24, 32, 40})
        for (const Boundary boundary : boundaries) {
          if (boundary == Boundary::reshard && !holds_subsequences(strategy)) continue;
          const auto p = try_parallelism(strategy, ranks, boundary, sequence);
          if (!p) continue;
          SCOPED_TRACE(testing::Message() << described(*p) << " on " << to_string(sequence.grid));
          check_blocks(*p, sequence, 2);
          if (ranks == 6) check_blocks(*p, sequence, 3);
          ++checked;
        }
  EXPECT_GT(checked, 200);
}

/// Other patterns. Strategy gather executes its all-gather even where no row changes its owner,
/// which the closed form calls no exchange; so it is held to patterns whose phases differ.
RC_GTEST_PROP(Traffic, FormulaEqualsLedgerForRandomPatterns, ()) {
  const Strategy strategy = *rc::gen::elementOf(all_strategies());
  const std::string text = *rc::gen::elementOf(
      std::vector<std::string>{"skiparse-1d", "skiparse-2d", "skiparse-3d", "s0|s1", "t0,y0|y0,x1",
                               "x0,y1|y1,x0", "y0,x0|y0,x1", "window", "skip+window"});
  const std::int64_t k = number(2, text == "skiparse-3d" ? 3 : 4);
  const Sequence sequence{{number(1, 4), number(1, 20), number(1, 20)},
                          parse_pattern(text, {k, k, k}),
                          number(1, 2),
                          number(1, 12),
                          number(1, 3)};
  const int ranks = static_cast<int>(number(1, 16));
  const auto ulysses = strategy == Strategy::usp || strategy == Strategy::ssp_ulysses
                           ? std::optional(static_cast<int>(number(1, 6)))
                           : std::nullopt;
  const auto p =
      try_parallelism(strategy, ranks, *rc::gen::elementOf(boundaries), sequence, ulysses);
  RC_PRE(p.has_value());
  const bool phases_differ = text != "window" && text != "y0,x0|y0,x1";
  RC_PRE(strategy != Strategy::gather || phases_differ);
  const int bytes = static_cast<int>(number(1, 4));
  for (const BlockKind kind : {full, token, group})
    for (const Direction direction : {Direction::forward, Direction::backward})
      RC_ASSERT(block_without_norm(run_block(*p, sequence, kind, direction, bytes, false)) ==
                block_traffic(*p, sequence, kind, direction, bytes));
}

TEST(Traffic, NormsOfMegatron) {
  for (const Sequence& sequence :
       {skiparse_2d({1, 5, 7}, 2, 1, 40, 2), skiparse_2d({2, 8, 16}, 2, 2, 12, 3)})
    for (const int ranks : {1, 2, 3, 5, 7, 12}) {
      const auto p = try_parallelism(Strategy::megatron_sp, ranks, Boundary::reshard, sequence);
      ASSERT_TRUE(p);
      for (const Direction direction : {Direction::forward, Direction::backward})
        EXPECT_EQ(traffic(run_block(*p, sequence, token, direction, 2, false), "norm"),
                  norm_traffic(*p, sequence))
            << ranks;
    }
}

/// Moving the data changes nothing about who sends how much to whom, in which order.
TEST(Traffic, WithAndWithoutPayload) {
  for (const Sequence& sequence :
       {skiparse_2d({1, 5, 7}, 2, 2, 12, 2), skiparse_2d({3, 9, 11}, 3, 1, 9, 2)})
    for (const Strategy strategy : all_strategies())
      for (const int ranks : {1, 2, 3, 4, 6, 8, 9, 12})
        for (const Boundary boundary : boundaries)
          if (const auto p = try_parallelism(strategy, ranks, boundary, sequence))
            for (const BlockKind kind : {full, token, group})
              for (const Direction direction : {Direction::forward, Direction::backward}) {
                const Ledger moved = run_block(*p, sequence, kind, direction, 2, true);
                const Ledger counted = run_block(*p, sequence, kind, direction, 2, false);
                require_matching_parts(moved);
                EXPECT_TRUE(same_ledger(exchanges_only(moved), exchanges_only(counted)))
                    << described(*p);
                EXPECT_EQ(bytes_between_ranks(moved), bytes_between_ranks(counted));
              }
}

TEST(Traffic, ForwardPassesOfSmallModels) {
  for (const std::int64_t k : {2, 3, 4})
    for (const std::int64_t sparse : {0, 1, 2, 5})
      for (const std::int64_t full_blocks : {0, 2, 4}) {
        if (sparse + full_blocks == 0) continue;
        Model model = find_model("osp-next-14b");
        model.heads = 9;
        model.head_dim = 2;
        model.pattern = parse_pattern("skiparse-2d", {k, k, k});
        model.full_blocks = full_blocks;
        model.layers = full_blocks + sparse;
        for (const Strategy strategy : all_strategies())
          for (const int ranks : {1, 2, 3, 4, 6, 8, 9})
            for (const Boundary boundary : boundaries) {
              const Sequence sequence{{2, 13, 18}, model.pattern, 2, model.heads, model.head_dim};
              if (const auto p = try_parallelism(strategy, ranks, boundary, sequence))
                check_forward(*p, model, sequence.grid, 2);
            }
      }
}

const Grid p720{21, 45, 80}, p768{21, 48, 80};

TEST(Traffic, ForwardPassesOfThePaper) {
  const Model osp = find_model("osp-next-14b"), wan = find_model("wan2.1-14b");
  for (const Grid& grid : {p720, p768}) {
    const Sequence sequence{grid, osp.pattern, 1, osp.heads, osp.head_dim};
    for (const Boundary boundary : boundaries)
      for (const auto& [strategy, ranks] :
           {std::pair{Strategy::ssp, 4}, {Strategy::ssp_ulysses, 8}}) {
        const auto p = try_parallelism(strategy, ranks, boundary, sequence);
        ASSERT_TRUE(p);
        check_forward(*p, osp, grid, 1);
      }
    const auto p = try_parallelism(Strategy::ulysses, 8, Boundary::reshard, sequence);
    check_forward(*p, wan, grid, 1);
  }
}

// ---- Computations ------------------------------------------------------------------------------

/// All ranks' computations add up to one rank's block. Only the text's keys and values are computed
/// by each rank that shares a sub-sequence with others, instead of once; their cost is linear in
/// the copies. Rows of padding cost what others do, but attend to nothing.
TEST(Traffic, ComputationsAddUpToOneRank) {
  constexpr int bytes = 2;
  for (const Sequence& sequence :
       {skiparse_2d({1, 9, 14}, 2, 2, 12, 2), skiparse_2d({2, 10, 19}, 3, 1, 9, 4)})
    for (const Strategy strategy : all_strategies())
      for (const int ranks : {1, 2, 3, 4, 6, 8, 9, 12}) {
        const auto p = try_parallelism(strategy, ranks, Boundary::reshard, sequence);
        if (!p) continue;
        for (const BlockKind kind : {full, token, group}) {
          SCOPED_TRACE(testing::Message() << described(*p) << " kind " << static_cast<int>(kind));
          const Layout layout(sequence.pattern, sequence.grid,
                              kind == group ? Phase::group : Phase::token);
          const bool apart = holds_subsequences(strategy) && kind != full;
          const std::int64_t rows =
              sequence.batch * (apart ? layout.padded_tokens() : sequence.grid.tokens());
          const Count pairs = static_cast<Count>(sequence.batch) *
                              (kind == full ? static_cast<Count>(sequence.grid.tokens()) *
                                                  static_cast<Count>(sequence.grid.tokens())
                                            : attended_pairs(layout));
          const std::int64_t copies =
              sequence.batch * (apart ? layout.subsequences() * p->ulysses : ranks);
          const DitBlockShape shape{rows, small_text_rows, sequence.dim(), sequence.heads,
                                    small_ffn_dim};
          const DitBlockCost one = dit_block_forward_cost(shape, pairs, copies, bytes);

          double attention = 0, all = 0, attention_backward = 0;
          const Ledger forward = run_block(*p, sequence, kind, Direction::forward, bytes, false);
          for (const Trace& trace : forward.ranks)
            for (const Event& event : trace)
              if (const auto* c = std::get_if<Computation>(&event)) {
                attention += c->label == "attention" ? c->flops : 0;
                all += c->flops;
              }
          EXPECT_EQ(attention, one.self_attention.flops);
          EXPECT_NEAR(all / one.total().flops, 1, 1e-12);
          const Ledger back = run_block(*p, sequence, kind, Direction::backward, bytes, false);
          for (const Trace& trace : back.ranks)
            for (const Event& event : trace)
              if (const auto* c = std::get_if<Computation>(&event))
                attention_backward += c->label == "attention backward" ? c->flops : 0;
          // Megatron-sp records no work backward.
          EXPECT_EQ(attention_backward, strategy == Strategy::megatron_sp ? 0 : 2.5 * attention);
        }
      }
}

/// A sparse block of the paper's model under ssp costs what the model says one rank computes.
TEST(Traffic, ComputationsOfThePapersBlock) {
  Model model = find_model("osp-next-14b");
  const Sequence sequence{p720, model.pattern, 1, model.heads, model.head_dim};
  const auto p = try_parallelism(Strategy::ssp, 4, Boundary::reshard, sequence);
  const ParallelPlan plan(*p, sequence, model.ffn_dim, model.text_tokens);
  const Ledger ledger = run_without_payload(4, [&](Communicator& communicator) {
    ParallelModel(plan, communicator, Wire{2}, 1).forward(token, 0, {}, {});
  });
  double flops = 0, bytes = 0;
  for (const Trace& trace : ledger.ranks)
    for (const Event& event : trace)
      if (const auto* c = std::get_if<Computation>(&event)) {
        flops += c->flops;
        bytes += c->bytes;
      }
  const Cost one = block_forward_cost(model, p720, token, PaddingWork::valid).total();
  EXPECT_NEAR(flops / one.flops, 1, 1e-12);
  EXPECT_GE(bytes, one.bytes);  // each rank reads the weights
}

}  // namespace
}  // namespace ospsim
