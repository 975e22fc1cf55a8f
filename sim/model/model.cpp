#include "sim/model/model.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

const std::vector<Model>& models() {
  static const std::vector<Model> all = [] {
    const Pattern full = parse_pattern("full", {});
    const Model wan_14b{.name = "wan2.1-14b",
                        .layers = 40,
                        .heads = 40,
                        .head_dim = 128,
                        .ffn_dim = 13824,
                        .text_tokens = 512,
                        .full_blocks = 40,
                        .pattern = full,
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

}  // namespace

Model find_model(std::string_view name) {
  for (const auto& model : models())
    if (model.name == name) return model;
  throw InputError(
      fmt::format("model '{}' is not one of {}", name, fmt::join(model_names(), ", ")));
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& model : models()) names.push_back(model.name);
  return names;
}

std::vector<BlockKind> block_schedule(const Model& model) {
  std::vector<BlockKind> kinds(index(model.layers), BlockKind::full);
  for (std::int64_t i = 0; i < model.sparse_blocks(); ++i)
    kinds[index(model.full_blocks / 2 + i)] = i % 2 == 0 ? BlockKind::token : BlockKind::group;
  return kinds;
}

Layout block_layout(const Model& model, const Grid& grid, BlockKind kind) {
  return {kind == BlockKind::full ? parse_pattern("full", {}) : model.pattern, grid,
          kind == BlockKind::group ? Phase::group : Phase::token};
}

DitBlockCost block_forward_cost(const Model& model, const Grid& grid, BlockKind kind,
                                PaddingWork padding, TextWork text) {
  const Layout layout = block_layout(model, grid, kind);
  const auto padded = static_cast<Count>(layout.padded_tokens());
  const Count pairs = padding == PaddingWork::valid
                          ? attended_pairs(layout)
                          : padded * static_cast<Count>(layout.subsequence_length());
  const DitBlockShape shape{.rows = layout.padded_tokens(),
                            .text_rows = model.text_tokens,
                            .dim = model.dim(),
                            .heads = model.heads,
                            .ffn_dim = model.ffn_dim};
  constexpr int bf16_bytes = 2;
  const std::int64_t text_copies = text == TextWork::once ? 1 : layout.subsequences();
  return dit_block_forward_cost(shape, pairs, text_copies, bf16_bytes);
}

ForwardFlops forward_flops(const Model& model, const Grid& grid, PaddingWork padding) {
  const std::int64_t group_blocks = model.sparse_blocks() / 2;
  ForwardFlops flops;
  for (const auto& [kind, blocks] :
       {std::pair(BlockKind::full, model.full_blocks),
        std::pair(BlockKind::token, model.sparse_blocks() - group_blocks),
        std::pair(BlockKind::group, group_blocks)}) {
    const DitBlockCost cost = block_forward_cost(model, grid, kind, padding);
    flops.self_attention += static_cast<double>(blocks) * cost.self_attention.flops;
    flops.all += static_cast<double>(blocks) * cost.matrix().flops;
  }
  return flops;
}

}  // namespace ospsim
