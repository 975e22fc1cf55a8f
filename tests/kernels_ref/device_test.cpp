#include "kernels_ref/cuda/device.hpp"

#include <gtest/gtest.h>

#include <string>

#include "kernels_ref/attention/batched.hpp"
#include "kernels_ref/cuda/library.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

TEST(CudaStatus, SaysEitherTheDeviceOrTheReason) {
  const CudaStatus status = cuda_status();
  EXPECT_EQ(status.available, status.reason.empty());
  EXPECT_EQ(status.available, !status.device_name.empty());
  EXPECT_EQ(status.built, !status.runtime_version.empty());
  EXPECT_TRUE(status.built || !status.available);
}

TEST(Library, SaysWhatIsMissing) {
  const auto words = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const UnavailableError& error) {
      return error.what();
    }
    return "";
  };
  const std::string library = words([] { Library({"libnobody.so.1", "libnobody.so"}); });
  EXPECT_NE(library.find("libnobody.so.1"), std::string::npos);
  EXPECT_NE(library.find("LD_LIBRARY_PATH"), std::string::npos);
  const Library c{"libnobody.so.1", "libc.so.6"};
  EXPECT_EQ(c.symbol<int(int)>("abs")(-3), 3);
  EXPECT_NE(words([&] { c.symbol<int(int)>("nothing"); }).find("nothing"), std::string::npos);
}

TEST(BatchedAttention, CountsSharedKeysOnce) {
  constexpr std::int64_t row = 2 * 128;
  BatchedAttention shape{.batches = 4,
                         .heads = 2,
                         .head_dim = 128,
                         .query_length = 10,
                         .key_length = 6,
                         .q = {10 * row, row},
                         .k = {6 * row, row},
                         .v = {6 * row, row},
                         .o = {10 * row, row}};
  EXPECT_DOUBLE_EQ(shape.cost(240).flops, 4.0 * 240 * row);
  EXPECT_DOUBLE_EQ(shape.cost(240).bytes, (2 * 4 * 10 + 2 * 4 * 6) * row * 2.0);
  shape.k.batch_stride = shape.v.batch_stride = 0;
  EXPECT_DOUBLE_EQ(shape.cost(240).bytes, (2 * 4 * 10 + 2 * 6) * row * 2.0);
  EXPECT_EQ(shape, shape);
  const std::int32_t length = 6;
  BatchedAttention shorter = shape;
  shorter.query_lengths = shorter.key_lengths = &length;
  EXPECT_NE(shape, shorter);
}

}  // namespace
}  // namespace ospsim
