#include "kernels_ref/layout/row_order.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

TEST(RowOrder, OfThePapers720p) {
  const Layout layout(parse_pattern("skiparse-2d", {2, 2, 2}), {21, 45, 80}, Phase::token);
  const RowOrder kept = row_order(layout, PaddingRows::kept);
  EXPECT_EQ(kept.rows(), 80640);
  EXPECT_EQ(kept.lengths, (std::vector<std::int64_t>{19320, 19320, 18480, 18480}));
  EXPECT_EQ(kept.first, (std::vector<std::int64_t>{0, 20160, 40320, 60480, 80640}));
  EXPECT_EQ(equal_runs(kept), (std::vector<EqualRun>{{0, 2, 19320, 20160}, {2, 2, 18480, 20160}}));

  const RowOrder compact = row_order(layout, PaddingRows::left_out);
  EXPECT_EQ(compact.rows(), 75600);
  EXPECT_EQ(equal_runs(compact),
            (std::vector<EqualRun>{{0, 2, 19320, 19320}, {2, 2, 18480, 18480}}));
}

RC_GTEST_PROP(RowOrder, HoldsEveryTokenOnceWithItsSubsequence, ()) {
  const auto small = [] { return *rc::gen::inRange<std::int64_t>(1, 9); };
  const Grid grid{small(), small(), small()};
  const std::int64_t k = *rc::gen::inRange<std::int64_t>(1, 4);
  const auto pattern = parse_pattern(
      *rc::gen::element<std::string>("full", "skiparse-1d", "skiparse-2d", "skiparse-3d"),
      {k, k, k});
  const auto padding = *rc::gen::element(PaddingRows::kept, PaddingRows::left_out);
  const Layout token(pattern, grid, Phase::token), group(pattern, grid, Phase::group);
  const RowOrder order = row_order(token, padding), other = row_order(group, padding);

  std::vector<std::int64_t> seen(index(grid.tokens()));
  for (std::int64_t s = 0; s < order.subsequences(); ++s)
    for (std::int64_t row = order.first[index(s)]; row < order.first[index(s + 1)]; ++row) {
      const std::int64_t t = order.tokens[index(row)];
      const bool valid = row - order.first[index(s)] < order.lengths[index(s)];
      RC_ASSERT(valid == (t >= 0));
      if (!valid) continue;
      ++seen[index(t)];
      RC_ASSERT(token.place(t).subsequence == s);
    }
  RC_ASSERT(std::ranges::all_of(seen, [](auto n) { return n == 1; }));

  const auto map = row_map(order, other);
  RC_ASSERT(std::ssize(map) == other.rows());
  for (std::size_t row = 0; row < map.size(); ++row)
    RC_ASSERT(other.tokens[row] == (map[row] < 0 ? -1 : order.tokens[index(map[row])]));

  std::int64_t next = 0;
  for (const auto& run : equal_runs(order)) {
    RC_ASSERT(run.first_subsequence == next);
    for (; next < run.first_subsequence + run.subsequences; ++next) {
      RC_ASSERT(order.lengths[index(next)] == run.length);
      RC_ASSERT(order.first[index(next)] == order.first[index(run.first_subsequence)] +
                                                (next - run.first_subsequence) * run.spacing);
    }
  }
  RC_ASSERT(next == order.subsequences());
}

}  // namespace
}  // namespace ospsim
