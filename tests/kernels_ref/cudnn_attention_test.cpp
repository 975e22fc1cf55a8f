// That cuDNN accepts the attention of this project, for an H200 that need not be there: plans are
// made, by a driver that only pretends (fake_cuda_driver.c), and not executed.

#include "kernels_ref/attention/cudnn_attention.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

constexpr const char* h200 = R"({
  "deviceVer": 900, "driverVer": 13000, "multiProcessorCount": 132, "warpSize": 32,
  "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
  "reservedSharedMemoryPerBlock": 1024, "maxSharedMemoryPerSM": 233472, "regsPerBlock": 65536,
  "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
  "maxThreadsPerSM": 2048, "maxGridSize": [2147483647, 65535, 65535],
  "maxBlockSize": [1024, 1024, 64], "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1,
  "totalGlobalMem": 150000000000, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000,
  "l2CacheSize": 62914560, "cudaDeviceId": 0, "deviceName": "NVIDIA H200"})";

constexpr std::int64_t head_dim = 128;
const std::int32_t on_the_device = 0;  // no length is read when a plan is made

/// Rows of `heads` heads that follow one another.
BatchedAttention attention(std::int64_t batches, std::int64_t heads, std::int64_t queries,
                           std::int64_t keys) {
  const std::int64_t row = heads * head_dim;
  return {.batches = batches,
          .heads = heads,
          .head_dim = head_dim,
          .query_length = queries,
          .key_length = keys,
          .q = {queries * row, row},
          .k = {keys * row, row},
          .v = {keys * row, row},
          .o = {queries * row, row}};
}

BatchedAttention with_lengths(BatchedAttention shape) {
  shape.query_lengths = shape.key_lengths = &on_the_device;
  return shape;
}

BatchedAttention side_by_side(BatchedAttention shape) {
  for (BatchStrides* strides : {&shape.q, &shape.k, &shape.v}) {
    strides->batch_stride *= 3;
    strides->row_stride *= 3;
  }
  return shape;
}

class CudnnPlans : public testing::Test {
 protected:
  void SetUp() override {
    try {
      cudnn.emplace(h200);
    } catch (const UnavailableError& error) {
      GTEST_SKIP() << error.what();
    }
  }
  /// And with the kernel that is made for Hopper.
  void expect_accepted(const BatchedAttention& shape) {
    try {
      EXPECT_NE(cudnn->prepare(shape).find("sm90"), std::string::npos) << cudnn->prepare(shape);
    } catch (const UnavailableError& error) {
      ADD_FAILURE() << error.what();
    }
  }
  std::optional<CudnnAttention> cudnn;
};

TEST_F(CudnnPlans, FullAttention) {
  for (const std::int64_t tokens : {75600, 80640})
    expect_accepted(attention(1, 40, tokens, tokens));
  for (const std::int64_t heads : {20, 10, 5})  // of a rank of 2, 4 and 8
    expect_accepted(attention(1, heads, 80640, 80640));
}

TEST_F(CudnnPlans, SubsequencesWithAndWithoutPadding) {
  expect_accepted(attention(4, 40, 20160, 20160));
  for (const std::int64_t heads : {40, 20, 10, 5})
    expect_accepted(with_lengths(attention(4, heads, 20160, 20160)));
  expect_accepted(attention(2, 40, 19320, 19320));
}

TEST_F(CudnnPlans, CrossAttention) {
  expect_accepted(attention(1, 40, 80640, 512));
  expect_accepted(attention(4, 40, 20160, 512));
  expect_accepted(with_lengths(attention(4, 40, 20160, 512)));
  BatchedAttention shared = attention(4, 40, 20160, 512);
  shared.k.batch_stride = shared.v.batch_stride = 0;
  expect_accepted(shared);
  expect_accepted(with_lengths(shared));
}

TEST_F(CudnnPlans, QkvSideBySide) {
  expect_accepted(side_by_side(attention(1, 40, 75600, 75600)));
  expect_accepted(side_by_side(attention(4, 40, 20160, 20160)));
  expect_accepted(with_lengths(side_by_side(attention(4, 40, 20160, 20160))));
}

TEST_F(CudnnPlans, StridesOfOneBatchDoNotMatter) {
  BatchedAttention shape = attention(1, 5, 20160, 20160);
  shape.q.batch_stride = shape.k.batch_stride = shape.v.batch_stride = shape.o.batch_stride = 0;
  expect_accepted(shape);
}

TEST_F(CudnnPlans, AreMadeOnce) {
  const auto shape = attention(1, 5, 1024, 1024);
  const auto other_lengths = with_lengths(attention(2, 5, 1024, 1024));
  const std::string* const first = &cudnn->prepare(shape);
  const std::string* const second = &cudnn->prepare(other_lengths);
  EXPECT_NE(first, second);
  EXPECT_EQ(first, &cudnn->prepare(shape));
  std::int32_t elsewhere = 0;
  auto same = other_lengths;
  same.query_lengths = same.key_lengths = &elsewhere;
  EXPECT_EQ(second, &cudnn->prepare(same));
}

TEST_F(CudnnPlans, RefusesInOneLine) {
  auto half = with_lengths(attention(1, 5, 1024, 1024));
  half.key_lengths = nullptr;
  EXPECT_THROW(cudnn->prepare(half), std::invalid_argument);
  try {
    auto odd = attention(1, 5, 1024, 1024);
    odd.head_dim = 3;
    cudnn->prepare(odd);
    ADD_FAILURE();
  } catch (const UnavailableError& error) {
    EXPECT_NE(std::string(error.what()).find("cuDNN"), std::string::npos);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
  EXPECT_THROW(
      cudnn->execute(nullptr, attention(1, 5, 1024, 1024), nullptr, nullptr, nullptr, nullptr),
      UnavailableError);
}

}  // namespace
}  // namespace ospsim
