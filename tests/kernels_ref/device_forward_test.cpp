#include "kernels_ref/block/device_forward.hpp"

#include <gtest/gtest.h>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

TEST(DeviceSequence, HeadsMoveAsUlyssesSendsThem) {
  const auto split = split_heads_map(3, 2), merge = merge_heads_map(3, 2);
  EXPECT_EQ(split, (std::vector<std::int32_t>{0, 2, 4, 1, 3, 5}));
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_EQ(split[static_cast<std::size_t>(merge[i])], static_cast<std::int32_t>(i));
}

TEST(DeviceSequence, SharesOutRows) {
  const Layout layout(parse_pattern("skiparse-2d", {2, 2, 2}), {21, 48, 80}, Phase::token);
  const RowOrder order = row_order(layout, PaddingRows::kept);
  const DeviceSequence half = device_sequence(part_of(order, 1, 1), 2);
  EXPECT_EQ(half.rows, 10080);
  EXPECT_EQ(half.runs, (std::vector<EqualRun>{{0, 1, 20160, 20160}}));
  EXPECT_EQ(half.subsequences(), 1);
  EXPECT_THROW(device_sequence(order, 11), InputError);
}

}  // namespace
}  // namespace ospsim
