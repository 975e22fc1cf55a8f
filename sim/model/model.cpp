#include "sim/model/model.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels_ref/block/dit_block.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

const std::vector<Model>& models() {
  static const std::vector<Model> all = [] {
    const Pattern full = parse_pattern("full", {});
    const Model wan_14b{.name = "wan2.1-14b", .layers = 40, .heads = 40, .head_dim = 128, .ffn_dim = 13824,
                        .text_tokens = 512, .full_blocks = 40, .pattern = full,
                        .source = "Wan2.1 configuration wan_t2v_14B"};
    Model osp = wan_14b;
    osp.name = "osp-next-14b";
    osp.full_blocks = 8;
    osp.pattern = parse_pattern("skiparse-2d", {2, 2, 2});
    osp.source = "OSP-Next, arXiv 2605.28691, section 4.1";
    return std::vector<Model>{wan_14b, osp};
  }();
  return all;
}

/// Adds `blocks` blocks on `rows` video tokens of which `pairs` attend.
void add_blocks(ForwardFlops& flops, std::int64_t blocks, const Model& model, std::int64_t rows, Count pairs,
                std::int64_t text_copies) {
  const DitBlockShape shape{.rows = rows, .text_rows = model.text_tokens, .dim = model.dim(),
                            .heads = model.heads, .ffn_dim = model.ffn_dim};
  constexpr int bf16_bytes = 2;
  const DitBlockCost cost = dit_block_forward_cost(shape, pairs, text_copies, bf16_bytes);
  const auto count = static_cast<double>(blocks);
  flops.self_attention += count * cost.self_attention.flops;
  flops.other += count * (cost.matrix().flops - cost.self_attention.flops);
}

}  // namespace

Model find_model(std::string_view name) {
  for (const auto& model : models())
    if (model.name == name) return model;
  throw InputError(fmt::format("model '{}' is not one of {}", name, fmt::join(model_names(), ", ")));
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& model : models()) names.push_back(model.name);
  return names;
}

ForwardFlops forward_flops(const Model& model, const Grid& grid, PaddingWork padding) {
  const auto square = [](std::int64_t n) { return static_cast<Count>(n) * static_cast<Count>(n); };
  ForwardFlops flops;
  add_blocks(flops, model.full_blocks, model, grid.tokens(), square(grid.tokens()), 1);
  for (std::int64_t block = 0; block < model.sparse_blocks(); ++block) {
    const Layout layout(model.pattern, grid, block % 2 == 0 ? Phase::token : Phase::group);
    const auto subsequences = static_cast<Count>(layout.subsequences());
    const Count pairs = padding == PaddingWork::valid
                            ? attended_pairs(layout)
                            : subsequences * square(layout.subsequence_length());
    add_blocks(flops, 1, model, layout.padded_tokens(), pairs, layout.subsequences());
  }
  return flops;
}

}  // namespace ospsim
