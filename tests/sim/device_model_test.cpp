#include "sim/model/device_model.hpp"

#include <gtest/gtest.h>

#include "kernels_ref/block/dit_block.hpp"
#include "kernels_ref/errors.hpp"
#include "tests/kernels_ref/host_executor.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {
namespace {

const Grid grid{2, 3, 5};  // padded to 2x4x8 by ratio 2

Model small_model(const std::string& pattern = "skiparse-2d") {
  return {.name = "small",
          .layers = 6,
          .heads = 3,
          .head_dim = 16,
          .ffn_dim = 40,
          .text_tokens = 5,
          .full_blocks = 2,
          .pattern = parse_pattern(pattern, {2, 2, 2}),
          .source = {}};
}

std::vector<double> read(const Bfloat16* from, std::int64_t size) {
  std::vector<double> to(index(size));
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = to_float(from[i]);
  return to;
}
std::vector<double> read(const float* from, std::int64_t size) {
  return {from, from + size};
}

DitBlockWeights<double> naive_weights(const Model& model, const DeviceBlockWeights& from) {
  const std::int64_t dim = model.dim(), ffn_dim = model.ffn_dim;
  const auto linear = [](const DeviceLinear& w, std::int64_t in, std::int64_t out) {
    return LinearWeights<double>{read(w.weight, in * out), read(w.bias, out)};
  };
  const auto attention = [&](const DeviceAttentionWeights& w) {
    return AttentionWeights<double>{linear(w.q, dim, dim), linear(w.k, dim, dim),
                                    linear(w.v, dim, dim), linear(w.o, dim, dim),
                                    read(w.q_norm, dim),   read(w.k_norm, dim)};
  };
  return {attention(from.self_attention),    attention(from.cross_attention),
          read(from.cross_norm_weight, dim), read(from.cross_norm_bias, dim),
          linear(from.ffn_up, dim, ffn_dim), linear(from.ffn_down, ffn_dim, dim)};
}

using Device = DeviceModel<HostExecutor>;
using DeviceWeights = DeviceModelWeights<HostExecutor>;

std::vector<double> naive_forward(const Model& model, const DeviceWeights& weights,
                                  const Device& device) {
  const std::int64_t rows = grid.tokens(), dim = model.dim();
  auto x = read(device.input(), rows * dim);
  const auto text = read(device.text(), model.text_tokens * dim);
  const auto positions = positions_in_place(grid);
  const auto schedule = block_schedule(model);
  for (std::int64_t layer = 0; layer < model.layers; ++layer) {
    const auto& block = weights.block(layer);
    const auto modulation = read(block.modulation, 6 * dim);
    const auto groups = groups_in_place(block_layout(model, grid, schedule[index(layer)]));
    std::vector<double> y(x.size());
    DitBlockActivations<double> activations;
    dit_block_forward<Backend::naive>({rows, model.text_tokens, dim, model.heads, model.ffn_dim},
                                      naive_weights(model, block),
                                      {x, text, modulation, groups, positions}, y, activations);
    x = std::move(y);
  }
  return x;
}

// Some 20 tensors a block are rounded to 8 bits; a row in the wrong place would be an error of 1.
constexpr double bf16_tolerance = 0.02;

struct Outcome {
  double error;
  HostExecutor on;
};

Outcome run(const Model& model, const DeviceModelOptions& options) {
  Outcome outcome{};
  DeviceWeights weights(outcome.on, model, 3);
  Device device(outcome.on, model, weights, grid, options);
  const auto expected = naive_forward(model, weights, device);
  outcome.error = relative_l2(read(device.forward(), std::ssize(expected)), expected);
  return outcome;
}

TEST(DeviceModel, EqualsTheNaiveBlocksHoweverRowsLie) {
  const Model model = small_model();
  for (const auto padding : {PaddingRows::kept, PaddingRows::left_out})
    for (const bool once : {false, true})
      for (const bool fused : {false, true}) {
        const auto outcome =
            run(model,
                {.padding = padding, .choices = {.text_once = once, .rearrange_with_norm = fused}});
        EXPECT_LT(outcome.error, bf16_tolerance) << once << fused;
        // The text's copies are one; the others are between the six blocks.
        EXPECT_EQ(outcome.on.operations(Work::rearrange), fused ? 1 : 6);
      }
}

TEST(DeviceModel, OtherPatternsToo) {
  for (const auto* const pattern : {"full", "skiparse-1d", "skiparse-3d", "window"})
    EXPECT_LT(run(small_model(pattern), {PaddingRows::left_out, false, {true, true}}).error,
              bf16_tolerance)
        << pattern;
}

TEST(DeviceModel, InPlaceNothingIsRearranged) {
  for (const auto* const pattern : {"skiparse-2d", "skiparse-1d"}) {
    const auto outcome = run(small_model(pattern), {.in_place = true, .choices = {true, true}});
    EXPECT_LT(outcome.error, bf16_tolerance) << pattern;
    EXPECT_EQ(outcome.on.operations(Work::rearrange), 1);  // the text
  }
}

TEST(DeviceModel, TheToleranceTellsPatternsApart) {
  HostExecutor on;
  const Model model = small_model();
  DeviceWeights weights(on, model, 3);
  Device device(on, model, weights, grid, {});
  EXPECT_GT(relative_l2(naive_forward(small_model("skiparse-1d"), weights, device),
                        naive_forward(model, weights, device)),
            3 * bf16_tolerance);
}

TEST(DeviceModel, ThroughHif8) {
  // Numbers of three fraction bits: an error of up to 2^-4 in every tensor.
  const auto outcome = run(small_model(), {PaddingRows::left_out, false, {true, true, true}});
  EXPECT_GT(outcome.error, bf16_tolerance);
  EXPECT_LT(outcome.error, 0.2);
  // Of a block: three linear inputs, q, k, v, o; of its cross-attention q, text, k, v, o; hidden.
  EXPECT_EQ(outcome.on.operations(Work::quantize), 6 * 13);
}

// What other ranks would send is missing; what is checked is how much there is to do and, under the
// address sanitizer, that nobody reads or writes beyond an array.
TEST(DeviceModel, RunsAsOneOfManyRanks) {
  const Grid even{2, 8, 8};
  Model model = small_model();
  model.heads = 4;
  HostExecutor on;
  DeviceWeights weights(on, model, 3);
  for (const std::int64_t ranks : {2, 4}) {
    Device one_of_many(on, model, weights, even, {.ranks = ranks});
    EXPECT_EQ(one_of_many.rows(), even.tokens() / ranks);
    one_of_many.forward();
  }
  EXPECT_THROW(Device(on, model, weights, even, {.ranks = 8}), InputError);  // of 4 heads
  EXPECT_THROW(Device(on, model, weights, grid, {.ranks = 4}), InputError);  // of 30 tokens
}

}  // namespace
}  // namespace ospsim
