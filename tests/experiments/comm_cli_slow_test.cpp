#include <cmath>

#include "tests/experiments/comm_fixture.hpp"

/// Every strategy on as many real processes as the fast cases leave out.
namespace ospsim {
namespace {

class CommMpiSlow : public CommCli {
 protected:
  void SetUp() override {
    CommCli::SetUp();
    if (const std::string reason = lacks("mpi"); !reason.empty()) GTEST_SKIP() << reason;
  }
  Json mpi(const std::string& line) const { return comm("--engine mpi" + (small + line)); }
};

TEST_F(CommMpiSlow, EveryStrategyOnEveryNumberOfRanks) {
  for (const auto& [ranks, runs] : std::vector<std::pair<std::string, std::size_t>>{
           {"1", 7}, {"2", 7}, {"3", 5}, {"4", 7}, {"6", 5}, {"8", 5}})
    for (const char* grid : {"1x8x16", "3x9x11"}) {
      SCOPED_TRACE(ranks + " ranks on " + grid);
      expect_all_agree(mpi(" --ranks " + ranks + " --grid " + grid), runs);
    }
}

TEST_F(CommMpiSlow, OtherPatternsRatiosAndABatch) {
  expect_all_agree(mpi(" --ratio 3 --ranks 3 --batch 2 --grid 2x10x19"), 7);
  expect_all_agree(mpi(" --ratio 3 --ranks 6 --grid 2x10x19"), 5);
  expect_all_agree(mpi(" --ratio 4 --ranks 8 --grid 1x5x17"), 7);
  expect_all_agree(mpi(" --pattern skiparse-1d --ratio 4 --ranks 4 --batch 2 --grid 2x5x7"), 7);
  expect_all_agree(mpi(" --pattern skiparse-3d --ratio 2 --ranks 8 --grid 3x5x6"), 7);
}

TEST_F(CommMpiSlow, Bf16) {
  const Json document = mpi(" --bytes-per-element 2 --ranks 4 --grid 2x9x14");
  for (const Json& row : document.at("strategies")) {
    expect_as_formula(row);
    // One rounding of each number in each exchange.
    EXPECT_LT(row.at("relative_l2"), std::ldexp(1, -7)) << row;
    if (row.at("ssp_ranks") > 1) {
      EXPECT_EQ(row.at("max_abs_difference"), 0.0) << row;
    }
  }
}

TEST_F(CommMpiSlow, WholeForwardPasses) {
  for (const char* line : {" --model osp-next-14b --ranks 8 --grid 1x9x11 --boundary reshard",
                           " --model osp-next-14b --ranks 4 --grid 1x8x8 --boundary all-gather",
                           " --model wan2.1-14b --ranks 4 --grid 1x8x8"}) {
    const Json document = mpi(line);
    EXPECT_FALSE(document.contains("holds"));
    for (const Json& row : document.at("strategies")) {
      if (row.contains("refused")) continue;
      expect_as_formula(row, "per_forward");
      const bool sums_otherwise = row.at("ring_ranks") > 1 || row.at("strategy") == "megatron-sp";
      if (sums_otherwise) {
        EXPECT_LT(row.at("relative_l2"), 1e-5) << row;  // 40 blocks
      } else {
        EXPECT_EQ(row.at("max_abs_difference"), 0.0) << row;
      }
    }
  }
}

TEST_F(CommMpiSlow, SavesAndShows) {
  const Json document = mpi(" --ranks 2 --grid 1x8x8 --strategy ssp --save c.h5");
  EXPECT_EQ(load_result(folder.file("c.h5")).at("document"), document);
  const Program shown = start("show c.h5");
  EXPECT_EQ(shown.wait(), 0) << shown.err();
  EXPECT_NE(shown.out().find("formula = ledger = calls = wire"), std::string::npos) << shown.out();
}

}  // namespace
}  // namespace ospsim
