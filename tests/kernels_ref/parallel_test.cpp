#include "kernels_ref/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace ospsim {
namespace {

TEST(ParallelFor, CallsEachIndexOnce) {
  for (const int threads : {0, 1, 2, 5})
    for (const std::int64_t count : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
      parallel_for(count, threads, [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
      for (const auto& n : calls) EXPECT_EQ(n, 1);
    }
}

TEST(ParallelFor, ExceptionsReachTheCaller) {
  for (const int threads : {1, 4}) {
    std::atomic<int> calls = 0;
    const auto fail = [&](std::int64_t) {
      ++calls;
      throw std::domain_error("bad");
    };
    EXPECT_THROW(parallel_for(1000000, threads, fail), std::domain_error);
    EXPECT_LE(calls, threads);
  }
}

TEST(ParallelFor, RejectsNegativeThreads) {
  EXPECT_THROW(parallel_for(1, -1, [](std::int64_t) {}), std::invalid_argument);
}

}  // namespace
}  // namespace ospsim
