#include "kernels_ref/cuda/device.hpp"

#include <gtest/gtest.h>

namespace ospsim {
namespace {

TEST(CudaStatus, SaysEitherTheDeviceOrTheReason) {
  const CudaStatus status = cuda_status();
  EXPECT_EQ(status.available, status.reason.empty());
  EXPECT_EQ(status.available, !status.device_name.empty());
  EXPECT_EQ(status.built, !status.runtime_version.empty());
  EXPECT_TRUE(status.built || !status.available);
}

}  // namespace
}  // namespace ospsim
