// In-place attention on a device against naive; the kernel itself is also tested on the host.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "kernels_ref/attention/inplace.hpp"
#include "kernels_ref/cuda/buffer.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "tests/kernels_ref/inplace_attention_support.hpp"

namespace ospsim {
namespace {

/// No CUDA, or none of compute capability 9.0.
bool no_device() {
  if (!cuda_status().available) return true;
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
  return major != 9 || minor != 0;
}

/// Some queries of each sub-sequence, its first and last among them, with all their keys.
std::vector<AttentionGroup> some_queries(const Layout& layout, std::size_t of_each) {
  auto groups = groups_in_place(layout);
  for (auto& group : groups) {
    const auto all = group.queries;
    if (all.size() <= of_each) continue;
    group.queries.clear();
    for (std::size_t i = 0; i < of_each; ++i)
      group.queries.push_back(all[i * (all.size() - 1) / (of_each - 1)]);
  }
  return groups;
}

void expect_close(const Case& c, std::int64_t heads, const InPlaceAttention::Options& options,
                  std::size_t queries_of_each) {
  const Problem p(c.layout(), heads);
  const auto groups = some_queries(p.layout, queries_of_each);
  const auto wanted = oracle(p, groups), rounded = Answer{plain(p, groups), {}};

  InPlaceAttention attention(p.layout, heads, options);
  const DeviceBuffer<Bfloat16> q(std::span<const Bfloat16>(p.q)), k(std::span<const Bfloat16>(p.k)),
      v(std::span<const Bfloat16>(p.v)), o(p.q.size());
  const DeviceBuffer<float> lse(wanted.lse.size());
  attention.prepare({q.data(), k.data(), v.data(), o.data(), lse.data(), p.row_stride});
  std::vector<Bfloat16> got(p.q.size()), again(p.q.size());
  std::vector<float> got_lse(wanted.lse.size());
  for (auto* const to : {&got, &again}) {
    check_cuda(cudaMemset(o.data(), 0xff, p.q.size() * sizeof(Bfloat16)));
    attention.execute(nullptr);
    check_cuda(cudaDeviceSynchronize());
    o.copy_to(*to);
  }
  lse.copy_to(got_lse);
  EXPECT_EQ(got, again);

  std::vector<double> of_kernel, of_plain, of_oracle;
  const auto all = p.packed(p.values<double>(got));
  for (const auto& group : groups)
    for (const auto query : group.queries) {
      for (std::int64_t i = 0; i < heads * Problem::head_dim; ++i) {
        const auto at = index(query * heads * Problem::head_dim + i);
        of_kernel.push_back(all[at]);
        of_plain.push_back(rounded.o[at]);
        of_oracle.push_back(wanted.o[at]);
      }
      for (std::int64_t head = 0; head < heads; ++head)
        ASSERT_NEAR(got_lse[index(head * p.tokens() + query)],
                    wanted.lse[index(head * p.tokens() + query)], 1e-4);
    }
  const double error = relative_l2(of_kernel, of_oracle);
  EXPECT_LE(error, 2 * relative_l2(of_plain, of_oracle));
  EXPECT_LT(error, 1e-2);
  for (std::int64_t t = 0; t < p.tokens(); ++t)
    for (std::int64_t i = heads * Problem::head_dim; i < p.row_stride; ++i)
      ASSERT_EQ(got[index(t * p.row_stride + i)].bits, 0xffff);  // between rows
}

TEST(InPlaceAttentionDevice, EverySizeOfTileInEveryVersion) {
  if (no_device()) GTEST_SKIP() << "needs a device of compute capability 9.0";
  for (const auto phase : {Phase::token, Phase::group})
    for (const int version : {1, 2, 3, 4})
      for (const int keys : InPlacePlan::tile_sizes) {
        SCOPED_TRACE(testing::Message() << "version " << version << ", " << keys << " keys");
        expect_close({"skiparse-2d", {2, 2, 2}, {5, 25, 30}, phase}, 2, {keys, version}, 40);
        if (HasFailure()) return;
      }
}

TEST(InPlaceAttentionDevice, OtherPartitions) {
  if (no_device()) GTEST_SKIP() << "needs a device of compute capability 9.0";
  const Case cases[] = {{"full", {}, {1, 1, 1}},
                        {"full", {}, {3, 20, 31}},
                        {"skiparse-1d", {3, 3, 3}, {5, 17, 31}},
                        {"skiparse-1d", {3, 3, 3}, {5, 17, 31}, Phase::group},
                        {"skiparse-2d", {4, 4, 4}, {3, 45, 80}},
                        {"skiparse-2d", {4, 4, 4}, {3, 45, 80}, Phase::group},
                        {"window", {2, 3, 2}, {3, 31, 43}},
                        {"skiparse-3d", {2, 2, 2}, {9, 19, 20}},
                        {"skiparse-3d", {2, 2, 2}, {9, 19, 20}, Phase::group},
                        {"2+1d", {}, {3, 29, 30}},
                        {"2+1d", {}, {3, 9, 10}, Phase::group},
                        {"skip+window", {4, 4, 4}, {3, 9, 10}, Phase::group}};
  for (const auto& c : cases)
    for (const int version : {3, 4}) {
      SCOPED_TRACE(testing::Message() << c << ", version " << version);
      expect_close(c, 2, {0, version}, 20);
    }
}

TEST(InPlaceAttentionDevice, VideosOfThePaper) {
  if (no_device()) GTEST_SKIP() << "needs a device of compute capability 9.0";
  for (const auto& grid : {Grid{21, 48, 80}, Grid{21, 45, 80}})
    for (const auto phase : {Phase::token, Phase::group})
      for (const int version : {3, 4}) {
        const Case c{"skiparse-2d", {2, 2, 2}, grid, phase};
        SCOPED_TRACE(testing::Message() << c << ", version " << version);
        expect_close(c, 1, {0, version}, 5);
      }
}

}  // namespace
}  // namespace ospsim
