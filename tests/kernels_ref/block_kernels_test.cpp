#include "kernels_ref/block/block_kernels.hpp"

#include <gtest/gtest.h>

#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"
#include "kernels_ref/index.hpp"
#include "tests/kernels_ref/host_launch.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {
namespace {

// What a kernel reads: 16-byte aligned, as device memory is.
template <class T>
struct Aligned {
  std::vector<Pack16<T>> packs;
  explicit Aligned(std::size_t size, T value = {})
      : packs((size + pack_size<T> - 1) / pack_size<T>) {
    std::fill_n(data(), packs.size() * pack_size<T>, value);
  }
  T* data() { return &packs[0].at[0]; }
  T& operator[](std::size_t i) { return data()[i]; }
};

Aligned<Bfloat16> as_bf16(const std::vector<double>& x) {
  Aligned<Bfloat16> to(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) to[i] = to_bfloat16(static_cast<float>(x[i]));
  return to;
}
Aligned<float> as_float(const std::vector<double>& x) {
  Aligned<float> to(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) to[i] = static_cast<float>(x[i]);
  return to;
}
std::vector<double> rounded(std::vector<double> x) {
  for (auto& v : x) v = round_to_bf16(static_cast<float>(v));
  return x;
}
std::vector<double> values(Aligned<Bfloat16>& x, std::size_t size) {
  std::vector<double> to(size);
  for (std::size_t i = 0; i < size; ++i) to[i] = to_float(x[i]);
  return to;
}

constexpr Bfloat16 poison{0x7fc1};

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
    const auto x = rounded(normal(from_rows * c.dim, 1, 3)),
               r = rounded(normal(from_rows * c.dim, 2));
    // With a gate of few bits float32 sums without rounding, as double does.
    const auto gate = rounded(normal(c.dim, 3)), scale = normal(c.dim, 4), shift = normal(c.dim, 5);
    auto x_bits = as_bf16(x), r_bits = as_bf16(r);
    auto gate_bits = as_float(gate), scale_bits = as_float(scale), shift_bits = as_float(shift);

    std::vector<double> sum(x.size());
    const std::vector<double> none(x.size());
    gated_residual_forward<Backend::naive>(
        {from_rows, c.dim}, x, c.residual ? r : none,
        c.gate ? std::span<const double>(gate) : std::span<const double>{}, sum);
    if (c.residual) sum = rounded(sum);
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
      if (c.sum) expect_rounded_once(values(sum_bits, index(rows * c.dim)), in_order(sum));
      if (c.normed) expect_rounded_once(values(normed_bits, index(rows * c.dim)), in_order(normed));
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
  const auto x = rounded(normal(3 * 256, 1)), r = rounded(normal(3 * 256, 2));
  auto x_bits = as_bf16(x), r_bits = as_bf16(r);
  host_launch(ResidualNorm{
      .rows = 3, .dim = 256, .x = x_bits.data(), .residual = r_bits.data(), .sum = x_bits.data()});
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(to_float(x_bits[i]), round_to_bf16(static_cast<float>(x[i] + r[i])));
}

TEST(RmsNormRope, IsTheNormThenTheRotationOfEveryPart) {
  struct Case {
    std::int64_t heads, head_dim, parts, extra;
    bool rope;
  };
  for (const auto& c : std::vector<Case>{{40, 128, 2, 5120, true},
                                         {3, 32, 1, 0, true},
                                         {2, 40, 2, 8, true},
                                         {40, 128, 1, 0, false},
                                         {1, 8, 1, 8, false}}) {
    const Grid grid{3, 4, 5};
    const std::int64_t dim = c.heads * c.head_dim, stride = c.parts * dim + c.extra;
    const auto positions = positions_in_place(grid);
    std::vector<TokenPosition> chosen{positions[0], positions[59], positions[23], positions[37]};
    const std::int64_t rows = std::ssize(chosen);
    const auto x = rounded(normal(rows * stride, 1, 2)), weight = normal(c.parts * dim, 2);

    auto expected = x;
    for (std::int64_t part = 0; part < c.parts; ++part) {
      std::vector<double> one(index(rows * dim)), normed(one.size());
      for (std::int64_t row = 0; row < rows; ++row)
        std::copy_n(&x[index(row * stride + part * dim)], dim, &one[index(row * dim)]);
      rms_norm_forward<Backend::naive>(
          {rows, dim}, one, std::span(weight).subspan(index(part * dim), index(dim)), 1e-6, normed);
      if (c.rope)
        rope_3d_forward<Backend::naive>({c.heads, c.head_dim}, chosen, std::vector(normed), normed);
      for (std::int64_t row = 0; row < rows; ++row)
        std::copy_n(&normed[index(row * dim)], dim, &expected[index(row * stride + part * dim)]);
    }

    RopeTables tables = rope_tables(grid, c.head_dim);
    std::vector<DevicePosition> device_positions;
    for (const auto& p : chosen)
      device_positions.push_back({{static_cast<std::int16_t>(p.t), static_cast<std::int16_t>(p.y),
                                   static_cast<std::int16_t>(p.x), 0}});
    auto weight_bits = as_float(weight);
    for (const auto order : lane_orders) {
      auto bits = as_bf16(x);
      RmsNormRope kernel{.rows = rows,
                         .row_stride = stride,
                         .dim = static_cast<std::int32_t>(dim),
                         .parts = static_cast<std::int32_t>(c.parts),
                         .head_dim = static_cast<std::int32_t>(c.head_dim),
                         .x = bits.data(),
                         .weight = weight_bits.data(),
                         .positions = c.rope ? device_positions.data() : nullptr};
      for (std::size_t a = 0; a < 3; ++a)
        kernel.axes[a] = {tables.turns[a].data(), tables.pairs[a]};
      host_launch(kernel, order);
      expect_rounded_once(values(bits, x.size()), expected);
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
