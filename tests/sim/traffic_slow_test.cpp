#include "tests/sim/traffic_support.hpp"

namespace ospsim {
namespace {

/// The paper's sizes under every strategy and on every number of ranks that takes them.
class PaperSize : public testing::TestWithParam<int> {};

TEST_P(PaperSize, FormulaEqualsLedger) {
  const int ranks = GetParam();
  const Model osp = find_model("osp-next-14b"), wan = find_model("wan2.1-14b");
  for (const Grid& grid : {Grid{21, 45, 80}, Grid{21, 48, 80}})
    for (const Strategy strategy : all_strategies())
      for (const Boundary boundary : {Boundary::all_gather, Boundary::reshard}) {
        const Sequence sequence{grid, osp.pattern, 1, osp.heads, osp.head_dim};
        const auto p = try_parallelism(strategy, ranks, boundary, sequence);
        if (!p || (boundary == Boundary::reshard && !holds_subsequences(strategy))) continue;
        check_forward(*p, osp, grid, 1);
        if (!holds_subsequences(strategy)) check_forward(*p, wan, grid, 2);
        for (const BlockKind kind : {BlockKind::full, BlockKind::token, BlockKind::group})
          EXPECT_EQ(
              block_without_norm(run_block(*p, sequence, kind, Direction::backward, 2, false)),
              block_traffic(*p, sequence, kind, Direction::backward, 2))
              << described(*p);
      }
}

INSTANTIATE_TEST_SUITE_P(Ranks, PaperSize, testing::Values(1, 2, 3, 4, 6, 8, 12, 16, 24));

}  // namespace
}  // namespace ospsim
