#include "kernels_ref/layout/rearrange_kernels.hpp"

#include <gtest/gtest.h>

#include "kernels_ref/index.hpp"
#include "tests/kernels_ref/host_launch.hpp"

namespace ospsim {
namespace {

struct BlockSum {
  static constexpr int threads = 96;
  const int* x;
  int* sums;
  std::int64_t blocks() const { return 3; }
  std::size_t shared_bytes() const { return 3 * sizeof(int); }
  template <class Lane>
  void operator()(Lane& lane) const {
    const int sum = block_combine(lane, x[lane.block() * threads + lane.thread()], Sum{},
                                  lane.template shared<int>());
    sums[lane.block() * threads + lane.thread()] = sum;
  }
};

TEST(HostLaunch, CombinesOverABlock) {
  std::vector<int> x(3 * 96), sums(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int>(i);
  for (const auto order : lane_orders) {
    host_launch(BlockSum{x.data(), sums.data()}, order);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const int b = static_cast<int>(i) / 96;
      EXPECT_EQ(sums[i], 96 * 96 * b + 95 * 96 / 2);
    }
  }
}

struct StuckInABarrier {
  static constexpr int threads = 64;
  std::int64_t blocks() const { return 1; }
  std::size_t shared_bytes() const { return 0; }
  template <class Lane>
  void operator()(Lane& lane) const {
    if (lane.thread() != 5) lane.sync();
  }
};

TEST(HostLaunch, FindsABarrierThatNotAllReach) {
  EXPECT_THROW(host_launch(StuckInABarrier{}), std::logic_error);
}

TEST(GatherRows, MovesRowsAndZeroesPadding) {
  for (const std::int32_t row_bytes : {16, 48, 256, 1280, 2064, 2560, 10240}) {
    const std::vector<std::int32_t> source{4, -1, 0, 2, 2, -1, 3, 1, 4};
    const std::size_t words = index(row_bytes / 4);
    std::vector<Pack<std::uint32_t, 4>> from(5 * words / 4), to((source.size() + 1) * words / 4);
    std::uint32_t next = 1;
    for (auto& piece : from)
      for (auto& word : piece.at) word = next++;
    for (auto& piece : to)
      for (auto& word : piece.at) word = 0xdeadbeef;
    host_launch(GatherRows{reinterpret_cast<const unsigned char*>(from.data()),
                           reinterpret_cast<unsigned char*>(to.data()), source.data(),
                           std::ssize(source), row_bytes});
    const auto* const read = reinterpret_cast<const std::uint32_t*>(from.data());
    const auto* const wrote = reinterpret_cast<const std::uint32_t*>(to.data());
    for (std::size_t row = 0; row <= source.size(); ++row)
      for (std::size_t w = 0; w < words; ++w) {
        const auto got = wrote[row * words + w];
        if (row == source.size())
          ASSERT_EQ(got, 0xdeadbeef);
        else if (source[row] < 0)
          ASSERT_EQ(got, 0u);
        else
          ASSERT_EQ(got, read[index(source[row]) * words + w]);
      }
  }
}

}  // namespace
}  // namespace ospsim
