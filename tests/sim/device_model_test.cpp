#include "sim/model/device_model.hpp"

#include <gtest/gtest.h>

#include "kernels_ref/errors.hpp"
#include "sim/model/naive_model.hpp"
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

using Device = DeviceModel<HostExecutor>;
using DeviceWeights = DeviceModelWeights<HostExecutor>;

std::vector<double> naive_forward(const Model& model, const DeviceWeights& weights,
                                  const Device& device) {
  return naive_forward(model, grid, weights, read(device.input(), grid.tokens() * model.dim()),
                       read(device.text(), model.text_tokens * model.dim()),
                       [](const auto* from, std::int64_t size) { return read(from, size); });
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

TEST(DeviceModelWeights, QuantizeTheirMatricesAndNothingElse) {
  HostExecutor on;
  const Model model = small_model();
  DeviceWeights weights(on, model, 3);
  const DeviceLinear& linear = weights.block(5).ffn_down;
  const auto matrix = read(linear.weight, model.ffn_dim * model.dim());
  const auto bias = read(linear.bias, model.dim());
  weights.quantize();
  EXPECT_NE(read(linear.weight, model.ffn_dim * model.dim()), matrix);
  EXPECT_EQ(read(linear.bias, model.dim()), bias);
  EXPECT_EQ(on.operations(Work::quantize), model.layers * (4 + 4 + 2));
}

TEST(DeviceModel, KnowsWhichBlocksDoTheSame) {
  const auto counts = [](const DeviceModelOptions& options) {
    HostExecutor on;
    const Model model = small_model();
    DeviceWeights weights(on, model, 3);
    std::vector<std::pair<std::int64_t, std::int64_t>> found;
    for (const auto& [layer, count] : Device(on, model, weights, grid, options).alike_blocks())
      found.emplace_back(layer, count);
    return found;
  };
  using Counts = std::vector<std::pair<std::int64_t, std::int64_t>>;
  // full, token, group, token, group, full: they differ in where their rows come from, too.
  EXPECT_EQ(counts({}), (Counts{{0, 1}, {1, 1}, {2, 2}, {3, 1}, {5, 1}}));
  EXPECT_EQ(counts({.in_place = true}), (Counts{{0, 2}, {1, 2}, {2, 2}}));
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
  EXPECT_THROW(Device(on, model, weights, even, {.in_place = true, .ranks = 2}), InputError);
}

}  // namespace
}  // namespace ospsim
