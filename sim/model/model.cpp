#include "sim/model/model.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

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

/// FLOPs of everything in a block but self-attention, on `rows` video tokens, with the text's keys and
/// values computed `text_copies` times.
double other_flops(const Model& model, double rows, double text_copies) {
  const auto d = static_cast<double>(model.dim());
  const auto ffn = static_cast<double>(model.ffn_dim);
  const auto text = static_cast<double>(model.text_tokens);
  const double projections = 8 * rows * d * d;
  const double feed_forward = 4 * rows * d * ffn;
  const double cross_attention = 4 * rows * d * d + text_copies * 4 * text * d * d + 4 * rows * text * d;
  return projections + feed_forward + cross_attention;
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
  const auto d = static_cast<double>(model.dim());
  const auto full_blocks = static_cast<double>(model.full_blocks);
  const auto tokens = static_cast<double>(grid.tokens());
  ForwardFlops flops{.self_attention = full_blocks * 4 * tokens * tokens * d,
                     .other = full_blocks * other_flops(model, tokens, 1)};
  for (std::int64_t block = 0; block < model.sparse_blocks(); ++block) {
    const Layout layout(model.pattern, grid, block % 2 == 0 ? Phase::token : Phase::group);
    const double pairs =
        padding == PaddingWork::valid
            ? static_cast<double>(attended_pairs(layout))
            : static_cast<double>(layout.padded_tokens()) * static_cast<double>(layout.subsequence_length());
    flops.self_attention += 4 * pairs * d;
    flops.other += other_flops(model, static_cast<double>(layout.padded_tokens()),
                               static_cast<double>(layout.subsequences()));
  }
  return flops;
}

}  // namespace ospsim
