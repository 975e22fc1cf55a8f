#include <gtest/gtest.h>

#include "kernels_ref/attention/attention.hpp"
#include "tests/kernels_ref/attention_support.hpp"

namespace ospsim {
namespace {

TEST(AttentionCpuSlow, LongSequencesOfEveryTokenByEveryToken) {
  const Grid grid{3, 52, 53};
  for (const char* name : {"full", "skiparse-2d"}) {
    const auto groups = groups_in_place(Layout(parse_pattern(name, {2, 2, 2}), grid, Phase::group));
    const Inputs inputs = random_inputs({1, grid.tokens(), grid.tokens(), 64});
    EXPECT_LT(worst_error(run_attention<Backend::cpu>(groups, inputs),
                          run_attention<Backend::naive>(groups, inputs)),
              float_tolerance(grid.tokens()))
        << name;
  }
}

}  // namespace
}  // namespace ospsim
