#include "sim/model/model.hpp"

#include <gtest/gtest.h>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

constexpr Grid grid_720p{21, 45, 80}, grid_768p{21, 48, 80};

TEST(Model, ForwardFlopsWorkedByHand) {
  // 1 token, d = 2, f = 3, 1 text token: 4*2 + 8*4 + 4*2*3 + 4*4 + 4*4 + 4*2 = 104.
  const Model tiny{.name = "tiny",
                   .layers = 1,
                   .heads = 1,
                   .head_dim = 2,
                   .ffn_dim = 3,
                   .text_tokens = 1,
                   .full_blocks = 1,
                   .pattern = parse_pattern("full", {})};
  const ForwardFlops flops = forward_flops(tiny, {1, 1, 1}, PaddingWork::valid);
  EXPECT_EQ(flops.self_attention, 8);
  EXPECT_EQ(flops.all, 104);
}

TEST(Model, ForwardFlopsAtPaperSize) {
  const Model wan = find_model("wan2.1-14b"), osp = find_model("osp-next-14b");
  const auto total = [](const Model& model, const Grid& grid, PaddingWork padding) {
    return forward_flops(model, grid, padding).all / 1e15;
  };
  EXPECT_NEAR(total(wan, grid_720p, PaddingWork::valid), 6.523, 5e-4);
  EXPECT_NEAR(total(wan, grid_768p, PaddingWork::padded), 7.291, 5e-4);
  EXPECT_NEAR(total(osp, grid_720p, PaddingWork::valid), 3.818, 5e-4);
  EXPECT_NEAR(total(osp, grid_720p, PaddingWork::padded), 3.946, 5e-4);
  EXPECT_NEAR(total(osp, grid_768p, PaddingWork::valid), 4.100, 5e-4);
  EXPECT_DOUBLE_EQ(forward_flops(wan, grid_768p, PaddingWork::valid).self_attention /
                       forward_flops(osp, grid_768p, PaddingWork::valid).self_attention,
                   2.5);
}

TEST(Model, BlockCostsAtPaperSize) {
  const Model osp = find_model("osp-next-14b");
  const auto flops = [&](const Grid& grid, BlockKind kind, PaddingWork padding) {
    return block_forward_cost(osp, grid, kind, padding).matrix().flops / 1e14;
  };
  EXPECT_NEAR(flops(grid_720p, BlockKind::full, PaddingWork::valid), 1.631, 5e-4);
  EXPECT_NEAR(flops(grid_768p, BlockKind::full, PaddingWork::valid), 1.823, 5e-4);
  EXPECT_NEAR(flops(grid_720p, BlockKind::token, PaddingWork::valid), 0.7854, 5e-5);
  EXPECT_NEAR(flops(grid_720p, BlockKind::group, PaddingWork::padded), 0.8255, 5e-5);
}

TEST(Model, UnknownNamesAreRefused) {
  EXPECT_THROW(find_model("wan3"), InputError);
}

}  // namespace
}  // namespace ospsim
