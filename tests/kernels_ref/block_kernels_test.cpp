#include "kernels_ref/block/block_kernels.hpp"

#include <gtest/gtest.h>

#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"
#include "kernels_ref/index.hpp"
#include "tests/kernels_ref/aligned.hpp"
#include "tests/kernels_ref/host_launch.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {
namespace {

/// Half a unit in the last place of bf16, and what float32 does before it.
void expect_rounded_once(const std::vector<double>& got, const std::vector<double>& exact) {
  ASSERT_EQ(got.size(), exact.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], exact[i], std::abs(exact[i]) * 0x1p-8 * 1.001 + 1e-5) << i;
}

struct NormCase {
  std::int64_t dim;
  bool residual, gate, source, modulated, sum, normed;
};

TEST(ResidualNorm, IsTheOperationsOneAfterTheOther) {
  const std::vector<NormCase> cases{
      {5120, true, true, true, true, true, true},   {5120, false, false, false, true, false, true},
      {3072, true, false, false, true, true, true}, {8, true, true, false, false, true, true},
      {1032, true, true, true, false, true, false}, {128, false, false, true, true, true, true}};
  for (const auto& c : cases) {
    const std::int64_t from_rows = 4;
    const std::vector<std::int32_t> source{2, -1, 0, 3, 3, 1};
    const std::int64_t rows = c.source ? std::ssize(source) : from_rows;
    const auto x = rounded_to_bf16(normal(from_rows * c.dim, 1, 3)),
               r = rounded_to_bf16(normal(from_rows * c.dim, 2));
    // With a gate of few bits float32 sums without rounding, as double does.
    const auto gate = rounded_to_bf16(normal(c.dim, 3)), scale = normal(c.dim, 4),
               shift = normal(c.dim, 5);
    auto x_bits = as_bf16(x), r_bits = as_bf16(r);
    auto gate_bits = as_float(gate), scale_bits = as_float(scale), shift_bits = as_float(shift);

    std::vector<double> sum(x.size());
    const std::vector<double> none(x.size());
    gated_residual_forward<Backend::naive>(
        {from_rows, c.dim}, x, c.residual ? r : none,
        c.gate ? std::span<const double>(gate) : std::span<const double>{}, sum);
    if (c.residual) sum = rounded_to_bf16(sum);
    std::vector<double> normed(x.size());
    layer_norm_forward<Backend::naive>({from_rows, c.dim}, sum, {}, {}, 1e-6, normed);
    if (c.modulated)
      modulate_forward<Backend::naive>({from_rows, c.dim}, std::vector(normed), scale, shift,
                                       normed);

    for (const auto order : lane_orders) {
      Aligned<Bfloat16> sum_bits(index(rows * c.dim), poison),
          normed_bits(index(rows * c.dim), poison);
      host_launch(ResidualNorm{.rows = rows,
                               .dim = static_cast<std::int32_t>(c.dim),
                               .x = x_bits.data(),
                               .residual = c.residual ? r_bits.data() : nullptr,
                               .gate = c.gate ? gate_bits.data() : nullptr,
                               .source = c.source ? source.data() : nullptr,
                               .sum = c.sum ? sum_bits.data() : nullptr,
                               .normed = c.normed ? normed_bits.data() : nullptr,
                               .scale = c.modulated ? scale_bits.data() : nullptr,
                               .shift = c.modulated ? shift_bits.data() : nullptr},
                  order);
      const auto in_order = [&](const std::vector<double>& of) {
        std::vector<double> to;
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t d = 0; d < c.dim; ++d) {
            const std::int64_t from = c.source ? source[index(row)] : row;
            to.push_back(from < 0 ? 0 : of[index(from * c.dim + d)]);
          }
        return to;
      };
      if (c.sum) expect_rounded_once(values(sum_bits), in_order(sum));
      if (c.normed) expect_rounded_once(values(normed_bits), in_order(normed));
      if (!c.sum) {
        ASSERT_EQ(sum_bits[0], poison);
      }
      if (!c.normed) {
        ASSERT_EQ(normed_bits[0], poison);
      }
    }
  }
}

TEST(ResidualNorm, SumsInPlace) {
  const auto x = rounded_to_bf16(normal(3 * 256, 1)), r = rounded_to_bf16(normal(3 * 256, 2));
  auto x_bits = as_bf16(x), r_bits = as_bf16(r);
  host_launch(ResidualNorm{
      .rows = 3, .dim = 256, .x = x_bits.data(), .residual = r_bits.data(), .sum = x_bits.data()});
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(to_float(x_bits[i]), round_to_bf16(static_cast<float>(x[i] + r[i])));
}

TEST(RmsNormRope, IsTheNormThenTheRotation) {
  struct Case {
    std::int64_t heads, head_dim;
    bool rope;
  };
  for (const auto& c : std::vector<Case>{
           {40, 128, true}, {3, 32, true}, {2, 40, true}, {40, 128, false}, {1, 8, false}}) {
    const Grid grid{3, 4, 5};
    const std::int64_t dim = c.heads * c.head_dim;
    const auto all = positions_in_place(grid);
    const std::vector<TokenPosition> positions{all[0], all[59], all[23], all[37]};
    const std::int64_t rows = std::ssize(positions);
    const auto x = rounded_to_bf16(normal(rows * dim, 1, 2)), weight = normal(dim, 2);

    std::vector<double> expected(x.size());
    rms_norm_forward<Backend::naive>({rows, dim}, x, weight, 1e-6, expected);
    if (c.rope)
      rope_3d_forward<Backend::naive>({c.heads, c.head_dim}, positions, std::vector(expected),
                                      expected);

    const RopeTables tables = rope_tables(grid, c.head_dim);
    std::vector<DevicePosition> device_positions;
    for (const auto& p : positions) device_positions.push_back(device_position(p));
    auto weight_bits = as_float(weight);
    for (const auto order : lane_orders) {
      auto bits = as_bf16(x);
      RmsNormRope kernel{.rows = rows,
                         .dim = static_cast<std::int32_t>(dim),
                         .head_dim = static_cast<std::int32_t>(c.head_dim),
                         .x = bits.data(),
                         .weight = weight_bits.data(),
                         .positions = c.rope ? device_positions.data() : nullptr};
      for (std::size_t a = 0; a < 3; ++a)
        kernel.axes[a] = {tables.turns[a].data(), tables.pairs[a]};
      host_launch(kernel, order);
      expect_rounded_once(values(bits), expected);
    }
  }
}

TEST(FillNormal, DrawsNormalNumbersAndStopsAtTheEnd) {
  const std::size_t size = 100003;
  Aligned<Bfloat16> x(size + 8, poison);
  host_launch(FillNormal{x.data(), static_cast<std::int64_t>(size), 2, 0, 5});
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < size; ++i) {
    sum += to_float(x[i]);
    squares += to_float(x[i]) * to_float(x[i]);
  }
  EXPECT_NEAR(sum / size, 0, 0.03);
  EXPECT_NEAR(squares / size, 4, 0.06);
  EXPECT_EQ(x[size], poison);
  EXPECT_NE(x[size - 1], poison);
}

}  // namespace
}  // namespace ospsim
