#include <fmt/format.h>

#include <utility>

#include "experiments/claims/methods.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/names.hpp"
#include "sim/model/model.hpp"

namespace ospsim {
namespace {

/// The arguments that most methods here begin with.
struct ModelOnGrid {
  Model model;
  Grid grid;
  explicit ModelOnGrid(Arguments& a)
      : model(find_model(a.text("model"))), grid(parse_grid(a.text("grid"))) {}
};

PaddingWork counting_of(Arguments& a) {
  constexpr Named<PaddingWork> names[]{{"valid", PaddingWork::valid},
                                       {"padded", PaddingWork::padded}};
  return parse_name(names, "its method's 'counting'", a.text("counting"));
}

Method forward_flops_of(Arguments& a) {
  const ModelOnGrid at(a);
  const PaddingWork counting = counting_of(a);
  return [=](const Evidence&) -> Value { return forward_flops(at.model, at.grid, counting).all; };
}

/// Dense over sparse model of the paper.
std::pair<Model, Model> dense_and_sparse() {
  return {find_model("wan2.1-14b"), find_model("osp-next-14b")};
}

Method forward_flops_ratio(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  const PaddingWork counting = counting_of(a);
  return [=](const Evidence&) -> Value {
    const auto [dense, sparse] = dense_and_sparse();
    return ratio(forward_flops(dense, grid, counting).all,
                 forward_flops(sparse, grid, counting).all);
  };
}

BlockKind block_of(Arguments& a) {
  constexpr Named<BlockKind> names[]{
      {"full", BlockKind::full}, {"token", BlockKind::token}, {"group", BlockKind::group}};
  return parse_name(names, "its method's 'block'", a.text("block"));
}

Method block_flops(Arguments& a, TextWork text) {
  const ModelOnGrid at(a);
  const BlockKind kind = block_of(a);
  const PaddingWork counting = counting_of(a);
  return [=](const Evidence&) -> Value {
    return block_forward_cost(at.model, at.grid, kind, counting, text).matrix().flops;
  };
}
Method block_flops(Arguments& a) {
  return block_flops(a, TextWork::per_subsequence);
}
Method block_flops_text_once(Arguments& a) {
  return block_flops(a, TextWork::once);
}

Method block_self_attention_flops(Arguments& a) {
  const ModelOnGrid at(a);
  const BlockKind kind = block_of(a);
  return [=](const Evidence&) -> Value {
    return block_forward_cost(at.model, at.grid, kind, PaddingWork::valid).self_attention.flops;
  };
}

/// The rate that printed seconds imply for a video of 50 steps of two forwards.
Method implied_rate_tflops(Arguments& a) {
  const ModelOnGrid at(a);
  const PaddingWork counting = counting_of(a);
  const std::string seconds = a.claim_id("seconds");
  return [=](const Evidence& evidence) -> Value {
    return 1e-12 * forwards_per_video *
           ratio(forward_flops(at.model, at.grid, counting).all, evidence.published(seconds));
  };
}

/// By how much a printed speed-up stays below the ratio of operations.
Method speedup_shortfall_percent(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  const std::string dense_s = a.claim_id("numerator"), sparse_s = a.claim_id("denominator");
  return [=](const Evidence& evidence) -> Value {
    const auto [dense, sparse] = dense_and_sparse();
    const double operations = ratio(forward_flops(dense, grid, PaddingWork::valid).all,
                                    forward_flops(sparse, grid, PaddingWork::valid).all);
    return 100 *
           (1 - ratio(evidence.published(dense_s), evidence.published(sparse_s)) / operations);
  };
}

Method self_attention_flops_ratio(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  return [=](const Evidence&) -> Value {
    const auto [dense, sparse] = dense_and_sparse();
    return ratio(forward_flops(dense, grid, PaddingWork::valid).self_attention,
                 forward_flops(sparse, grid, PaddingWork::valid).self_attention);
  };
}

Method self_attention_share_percent(Arguments& a) {
  const ModelOnGrid at(a);
  return [=](const Evidence&) -> Value {
    const ForwardFlops flops = forward_flops(at.model, at.grid, PaddingWork::valid);
    return 100 * ratio(flops.self_attention, flops.all);
  };
}

}  // namespace

const Methods& model_methods() {
  static const Methods all{{"block_flops", block_flops},
                           {"block_flops_text_once", block_flops_text_once},
                           {"block_self_attention_flops", block_self_attention_flops},
                           {"implied_rate_tflops", implied_rate_tflops},
                           {"speedup_shortfall_percent", speedup_shortfall_percent},
                           {"forward_flops", forward_flops_of},
                           {"forward_flops_ratio", forward_flops_ratio},
                           {"self_attention_flops_ratio", self_attention_flops_ratio},
                           {"self_attention_share_percent", self_attention_share_percent}};
  return all;
}

}  // namespace ospsim
