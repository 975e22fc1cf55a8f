#include "experiments/commands/recall_tensors.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/synthetic_attention.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/store/machine.hpp"
#include "experiments/store/tensor_file.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

/// q, k and v [heads, tokens, head_dim] of a file, read head by head.
AttentionHeads heads_of_file(const std::string& path, const Grid& grid) {
  const auto file = std::make_shared<const TensorFile>(TensorFile::open(path));
  std::vector<std::size_t> indices;
  std::vector<std::int64_t> shape;
  for (const char* name : {"q", "k", "v"}) {
    indices.push_back(file->index_of(name));
    const auto& found = file->tensors()[indices.back()].shape;
    if (found.size() != 3 || found[1] != grid.tokens() || found[0] < 1 || found[2] < 1)
      throw InputError(fmt::format("{}: '{}' is [{}], not [heads, {} tokens, head_dim]", path, name,
                                   fmt::join(found, ", "), grid.tokens()));
    if (!shape.empty() && found != shape)
      throw InputError(fmt::format("{}: '{}' is [{}], but q is [{}]", path, name,
                                   fmt::join(found, ", "), fmt::join(shape, ", ")));
    shape = found;
  }
  const std::int64_t size = shape[1] * shape[2];
  return {.heads = shape[0],
          .head_dim = shape[2],
          .fill = [file, indices, size](std::int64_t head, std::span<float> q, std::span<float> k,
                                        std::span<float> v) {
            const std::array tensors{q, k, v};
            for (std::size_t i = 0; i < 3; ++i) {
              file->read(indices[i], head * size, tensors[i]);
              if (!std::ranges::all_of(tensors[i], [](float x) { return std::isfinite(x); }))
                throw InputError(fmt::format("head {} of '{}' has elements that are not finite",
                                             head, file->tensors()[indices[i]].name));
            }
          }};
}

/// q, k, v and a copy of one of them.
void require_heads_fit(const Grid& grid, std::int64_t head_dim) {
  require_memory(
      4.0 * sizeof(float) * static_cast<double>(grid.tokens()) * static_cast<double>(head_dim),
      "one head");
}

AttentionHeads made_up_heads(const Request& request, const Grid& grid) {
  const auto lengths = request.numbers("--lengths", 3, 0, 1e6);
  SyntheticAttention parameters{.grid = grid,
                                .heads = request.whole("--heads", 1, 1 << 16),
                                .length_t = lengths[0],
                                .length_y = lengths[1],
                                .length_x = lengths[2],
                                .noise = request.number("--noise", 0, 1),
                                .objects = request.whole("--objects", 0, 1 << 16),
                                .seed = static_cast<std::uint64_t>(request.seed)};
  require_heads_fit(grid, parameters.head_dim);
  const auto tokens = static_cast<double>(grid.tokens());
  const double target = request.has("--effective-tokens")
                            ? request.number("--effective-tokens", 1, tokens)
                            : std::min(1000.0, tokens / 4);
  parameters.sharpness = naming("--effective-tokens", [&] {
    return sharpness_for(parameters, target, 256, request.threads).sharpness;
  });
  return synthetic_heads(parameters, request.threads);
}

}  // namespace

std::vector<Option> tensor_options() {
  return {
      {"--input", "FILE",
       "measure on q, k and v [heads, tokens, head_dim] of this HDF5 or safetensors file"},
      {"--synthetic", "", "measure on made-up q, k and v: smooth content, moving objects, RoPE"},
      {"--heads", "N", "--synthetic: heads of 128 channels", "4"},
      {"--effective-tokens", "N",
       "--synthetic: how many tokens a query attends to (1000, or a quarter of a small grid)"},
      {"--lengths", "T,Y,X", "--synthetic: correlation lengths of the content, in tokens", "4,4,4"},
      {"--noise", "R", "--synthetic: share of white noise in q, k and v, 0 to 1", "0.5"},
      {"--objects", "N", "--synthetic: moving objects", "8"},
      {"--two-layers", "N",
       "on tensors: send so many heads through two layers as well (each needs full attention of "
       "all tokens once)",
       "0"}};
}

bool asks_for_tensors(const Request& request) {
  return request.has("--input") || request.has("--synthetic");
}

TensorErrors tensor_errors(const Request& request, const Grid& grid,
                           std::span<const MaskedPattern> patterns, const QuerySample& sample) {
  const bool from_file = request.has("--input");
  if (from_file && request.has("--synthetic"))
    throw InputError("--synthetic: give either it or --input");
  const AttentionHeads heads =
      from_file ? naming("--input", [&] { return heads_of_file(request.text("--input"), grid); })
                : made_up_heads(request, grid);
  require_heads_fit(grid, heads.head_dim);
  const std::int64_t two_layer_heads = request.whole("--two-layers", 0, heads.heads);
  Progress progress(1);
  double done = 0;
  return naming(from_file ? "--input: " + request.text("--input") : "--synthetic", [&] {
    return tensor_errors(grid, patterns, heads,
                         {.queries = sample.count,
                          .seed = sample.seed,
                          .two_layer_heads = two_layer_heads,
                          .threads = request.threads},
                         [&](double fraction) {
                           progress.advance(fraction - done, "attention");
                           done = fraction;
                         });
  });
}

}  // namespace ospsim
