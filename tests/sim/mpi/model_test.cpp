#include <gtest/gtest.h>

#include <sstream>

#include "sim/process.hpp"

/// Jobs of real processes that compare what they compute with one rank's result themselves.
namespace ospsim {
namespace {

ProcessOutcome run_job(int ranks, const std::string& program, const std::string& words) {
  std::vector<std::string> command{"timeout", "60", "mpirun", "-np", std::to_string(ranks),
                                   program};
  std::istringstream stream(words);
  for (std::string word; stream >> word;) command.push_back(word);
  return run_process(command, {}, mpi_environment());
}

// ---- Training ----------------------------------------------------------------------------------

/// Strategy, its ulysses degree or 0, boundary, pattern, ratio, grid, batch, heads, head_dim; and
/// the degrees that this comes to.
struct Job {
  int ranks;
  const char* words;
  const char* degrees;
};

void PrintTo(const Job& job, std::ostream* out) {
  *out << job.ranks << " ranks: " << job.words;
}

class MpiModel : public testing::TestWithParam<Job> {};

TEST_P(MpiModel, TrainsAsOneRankDoes) {
  const auto outcome = run_job(GetParam().ranks, OSPSIM_MODEL_PROGRAM, GetParam().words);
  EXPECT_TRUE(outcome.succeeded()) << GetParam().words << '\n'
                                   << outcome.exit_status << '\n'
                                   << outcome.errors;
  // 28 weights with text and modulation in each of five blocks.
  EXPECT_EQ(outcome.output, std::string(GetParam().degrees) + ", 140 gradients\n");
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, MpiModel,
    testing::Values(Job{1, "ssp 0 all-gather skiparse-2d 2 2x7x9 2 5 6",
                        "ssp ssp 1 ulysses 1 ring 1 of 1 all-gather"},
                    Job{2, "ulysses 0 all-gather skiparse-2d 2 2x7x9 2 5 6",
                        "ulysses ssp 1 ulysses 2 ring 1 of 2 all-gather"},
                    Job{2, "ssp 0 reshard skiparse-2d 2 2x8x8 1 4 4",
                        "ssp ssp 2 ulysses 1 ring 1 of 2 reshard"},
                    Job{3, "ssp 0 all-gather skiparse-2d 3 1x10x19 1 9 4",
                        "ssp ssp 3 ulysses 1 ring 1 of 3 all-gather"},
                    Job{4, "ssp 0 reshard skiparse-2d 2 2x7x9 2 5 6",
                        "ssp ssp 4 ulysses 1 ring 1 of 4 reshard"},
                    Job{4, "gather 0 all-gather skiparse-1d 4 2x5x7 2 3 6",
                        "gather ssp 4 ulysses 1 ring 1 of 4 all-gather"},
                    Job{4, "ring 0 all-gather skiparse-2d 3 1x10x19 2 4 4",
                        "ring ssp 1 ulysses 1 ring 4 of 4 all-gather"},
                    Job{4, "megatron-sp 0 all-gather skiparse-2d 2 2x7x9 2 5 6",
                        "megatron-sp ssp 1 ulysses 1 ring 1 of 4 all-gather"},
                    Job{8, "ssp-ulysses 0 all-gather skiparse-2d 2 2x7x9 2 5 6",
                        "ssp-ulysses ssp 4 ulysses 2 ring 1 of 8 all-gather"},
                    Job{8, "ssp-ulysses 4 reshard skiparse-2d 4 1x17x18 1 4 6",
                        "ssp-ulysses ssp 2 ulysses 4 ring 1 of 8 reshard"},
                    Job{8, "ssp 0 reshard skiparse-2d 4 1x5x17 2 4 6",
                        "ssp ssp 8 ulysses 1 ring 1 of 8 reshard"},
                    Job{8, "usp 2 all-gather skiparse-2d 2 2x5x9 1 5 6",
                        "usp ssp 1 ulysses 2 ring 4 of 8 all-gather"}));

TEST(MpiModel, JobThatIsNotAsOneRankSaysSo) {
  const auto outcome = run_job(1, OSPSIM_MODEL_PROGRAM, "ssp");
  EXPECT_EQ(outcome.exit_status, 1);
  EXPECT_NE(outcome.errors.find("model: rank 0: nine words"), std::string::npos) << outcome.errors;
}

// ---- Without packing ---------------------------------------------------------------------------

TEST(ZeroCopySwitch, EqualsThePackedSwitch) {
  struct Case {
    int ranks;
    std::string words;
    int count;
  };
  const std::string two = " skiparse-2d 2 1x8x8 1 exists skiparse-2d 2 2x5x7 2 exists",
                    three = " skiparse-2d 3 1x9x9 2 exists skiparse-2d 3 2x10x4 1 exists",
                    four = " skiparse-2d 4 1x16x16 1 exists skiparse-2d 4 2x5x17 2 exists",
                    one_axis = " skiparse-1d 4 2x5x7 2 exists",
                    three_axes = " skiparse-3d 2 3x5x6 2 exists",
                    uneven_axes = " skiparse-3d 1,2,4 3x9x16 2 exists",
                    shared = " x0,y1|y1,x0 2 2x5x9 2 exists";
  for (const auto& [ranks, words, count] :
       {Case{1, two + three + four + one_axis + three_axes, 8},
        Case{2, two + four + one_axis + three_axes + uneven_axes + shared, 8}, Case{3, three, 2},
        Case{4, two + four + one_axis + three_axes + uneven_axes + shared, 8},
        Case{8, four + three_axes, 3}, Case{9, three, 2}, Case{16, four, 2}}) {
    const auto outcome = run_job(ranks, OSPSIM_ZERO_COPY_PROGRAM, words);
    EXPECT_TRUE(outcome.succeeded()) << ranks << " ranks: " << outcome.errors;
    EXPECT_EQ(outcome.output, std::to_string(count) + " cases\n");
  }
}

/// A rank's 9 sub-sequences of 6 x 6 are no choice of digits, and can be packed all the same.
TEST(ZeroCopySwitch, IsNotMadeWhereRunsAreNoChoiceOfDigits) {
  const auto outcome = run_job(4, OSPSIM_ZERO_COPY_PROGRAM,
                               "skiparse-2d 6 1x36x36 1 none skiparse-2d 6 2x7x5 2 none");
  EXPECT_TRUE(outcome.succeeded()) << outcome.errors;
}

}  // namespace
}  // namespace ospsim
