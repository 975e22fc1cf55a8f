#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <Eigen/Dense>
#include <cmath>
#include <vector>

#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"
#include "kernels_ref/block/rope.hpp"
#include "kernels_ref/errors.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {
namespace {

template <class T>
using Arrays = std::vector<std::vector<T>>;

template <class T>
std::vector<T> zeros(std::int64_t n) {
  return std::vector<T>(static_cast<std::size_t>(n));
}

// ---- The operations behind one interface: inputs -> output, and inputs, dy -> gradient of each
// input ----

struct LinearOperation {
  LinearShape s;
  std::vector<std::int64_t> inputs() const { return {s.rows * s.in, s.out * s.in, s.out}; }
  template <Backend B>
  std::vector<Real<B>> forward(const Arrays<Real<B>>& in, int threads) const {
    auto y = zeros<Real<B>>(s.rows * s.out);
    linear_forward<B>(s, in[0], in[1], in[2], y, threads);
    return y;
  }
  template <Backend B>
  Arrays<Real<B>> backward(const Arrays<Real<B>>& in, const std::vector<Real<B>>& dy,
                           int threads) const {
    Arrays<Real<B>> d = in;
    linear_backward<B>(s, in[0], in[1], dy, d[0], d[1], d[2], threads);
    return d;
  }
};

struct PlainLayerNorm {
  RowsShape s;
  std::vector<std::int64_t> inputs() const { return {s.elements()}; }
  template <Backend B>
  std::vector<Real<B>> forward(const Arrays<Real<B>>& in, int threads) const {
    auto y = zeros<Real<B>>(s.elements());
    layer_norm_forward<B>(s, in[0], {}, {}, 1e-6, y, threads);
    return y;
  }
  template <Backend B>
  Arrays<Real<B>> backward(const Arrays<Real<B>>& in, const std::vector<Real<B>>& dy,
                           int threads) const {
    Arrays<Real<B>> d = in;
    layer_norm_backward<B>(s, in[0], {}, 1e-6, dy, d[0], {}, {}, threads);
    return d;
  }
};

struct AffineLayerNorm {
  RowsShape s;
  std::vector<std::int64_t> inputs() const { return {s.elements(), s.dim, s.dim}; }
  template <Backend B>
  std::vector<Real<B>> forward(const Arrays<Real<B>>& in, int threads) const {
    auto y = zeros<Real<B>>(s.elements());
    layer_norm_forward<B>(s, in[0], in[1], in[2], 1e-6, y, threads);
    return y;
  }
  template <Backend B>
  Arrays<Real<B>> backward(const Arrays<Real<B>>& in, const std::vector<Real<B>>& dy,
                           int threads) const {
    Arrays<Real<B>> d = in;
    layer_norm_backward<B>(s, in[0], in[1], 1e-6, dy, d[0], d[1], d[2], threads);
    return d;
  }
};

struct RmsNorm {
  RowsShape s;
  std::vector<std::int64_t> inputs() const { return {s.elements(), s.dim}; }
  template <Backend B>
  std::vector<Real<B>> forward(const Arrays<Real<B>>& in, int threads) const {
    auto y = zeros<Real<B>>(s.elements());
    rms_norm_forward<B>(s, in[0], in[1], 1e-6, y, threads);
    return y;
  }
  template <Backend B>
  Arrays<Real<B>> backward(const Arrays<Real<B>>& in, const std::vector<Real<B>>& dy,
                           int threads) const {
    Arrays<Real<B>> d = in;
    rms_norm_backward<B>(s, in[0], in[1], 1e-6, dy, d[0], d[1], threads);
    return d;
  }
};

struct Modulate {
  RowsShape s;
  std::vector<std::int64_t> inputs() const { return {s.elements(), s.dim, s.dim}; }
  template <Backend B>
  std::vector<Real<B>> forward(const Arrays<Real<B>>& in, int threads) const {
    auto y = zeros<Real<B>>(s.elements());
    modulate_forward<B>(s, in[0], in[1], in[2], y, threads);
    return y;
  }
  template <Backend B>
  Arrays<Real<B>> backward(const Arrays<Real<B>>& in, const std::vector<Real<B>>& dy,
                           int threads) const {
    Arrays<Real<B>> d = in;
    modulate_backward<B>(s, in[0], in[1], dy, d[0], d[1], d[2], threads);
    return d;
  }
};

struct GatedResidual {
  RowsShape s;
  std::vector<std::int64_t> inputs() const { return {s.elements(), s.elements(), s.dim}; }
  template <Backend B>
  std::vector<Real<B>> forward(const Arrays<Real<B>>& in, int threads) const {
    auto y = zeros<Real<B>>(s.elements());
    gated_residual_forward<B>(s, in[0], in[1], in[2], y, threads);
    return y;
  }
  template <Backend B>
  Arrays<Real<B>> backward(const Arrays<Real<B>>& in, const std::vector<Real<B>>& dy,
                           int threads) const {
    Arrays<Real<B>> d{dy, in[1], in[2]};
    gated_residual_backward<B>(s, in[1], in[2], dy, d[1], d[2], threads);
    return d;
  }
};

struct Gelu {
  std::int64_t elements;
  std::vector<std::int64_t> inputs() const { return {elements}; }
  template <Backend B>
  std::vector<Real<B>> forward(const Arrays<Real<B>>& in, int threads) const {
    auto y = zeros<Real<B>>(elements);
    gelu_tanh_forward<B>(in[0], y, threads);
    return y;
  }
  template <Backend B>
  Arrays<Real<B>> backward(const Arrays<Real<B>>& in, const std::vector<Real<B>>& dy,
                           int threads) const {
    Arrays<Real<B>> d = in;
    gelu_tanh_backward<B>(in[0], dy, d[0], threads);
    return d;
  }
};

struct Rope {
  RopeShape s;
  std::vector<TokenPosition> positions;
  std::vector<std::int64_t> inputs() const {
    return {std::ssize(positions) * s.heads * s.head_dim};
  }
  template <Backend B>
  std::vector<Real<B>> forward(const Arrays<Real<B>>& in, int threads) const {
    auto y = zeros<Real<B>>(std::ssize(in[0]));
    rope_3d_forward<B>(s, positions, in[0], y, threads);
    return y;
  }
  template <Backend B>
  Arrays<Real<B>> backward(const Arrays<Real<B>>&, const std::vector<Real<B>>& dy,
                           int threads) const {
    Arrays<Real<B>> d{dy};
    rope_3d_backward<B>(s, positions, dy, d[0], threads);
    return d;
  }
};

// ---- What holds for all of them ----------------------------------------------------------------

template <class Operation>
Arrays<double> random_inputs(const Operation& operation) {
  Arrays<double> inputs;
  for (const auto n : operation.inputs()) inputs.push_back(normal(n, 7 + inputs.size()));
  return inputs;
}

template <class Operation>
void expect_finite_differences(const Operation& operation) {
  Arrays<double> inputs = random_inputs(operation);
  const auto y = operation.template forward<Backend::naive>(inputs, 1);
  const auto dy = normal(std::ssize(y), 3);
  const auto gradients = operation.template backward<Backend::naive>(inputs, dy, 1);
  const auto loss = [&] {
    const auto out = operation.template forward<Backend::naive>(inputs, 1);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * dy[i];
    return sum;
  };
  for (std::size_t array = 0; array < inputs.size(); ++array)
    for (std::size_t i = 0; i < inputs[array].size(); ++i) {
      const double step = 1e-5, value = inputs[array][i];
      inputs[array][i] = value + step;
      const double above = loss();
      inputs[array][i] = value - step;
      const double below = loss();
      inputs[array][i] = value;
      ASSERT_NEAR(gradients[array][i], (above - below) / (2 * step), 1e-7)
          << "input " << array << " element " << i;
    }
}

template <class Operation>
void expect_cpu_equals_naive(const Operation& operation) {
  const Arrays<double> inputs = random_inputs(operation);
  Arrays<float> float_inputs;
  for (const auto& input : inputs) float_inputs.push_back(converted<float>(input));
  const auto y = operation.template forward<Backend::naive>(inputs, 1);
  const auto dy = normal(std::ssize(y), 3);
  const auto float_dy = converted<float>(dy);
  const auto gradients = operation.template backward<Backend::naive>(inputs, dy, 1);
  const auto float_y = operation.template forward<Backend::cpu>(float_inputs, 1);
  const auto float_gradients = operation.template backward<Backend::cpu>(float_inputs, float_dy, 1);
  EXPECT_LT(relative_l2(float_y, y), 2e-6);
  for (std::size_t array = 0; array < inputs.size(); ++array)
    EXPECT_LT(relative_l2(float_gradients[array], gradients[array]), 2e-6) << "input " << array;
  for (const int threads : {0, 3}) {
    EXPECT_EQ(operation.template forward<Backend::cpu>(float_inputs, threads), float_y);
    EXPECT_EQ(operation.template backward<Backend::cpu>(float_inputs, float_dy, threads),
              float_gradients);
  }
}

TEST(BlockNaive, BackwardEqualsFiniteDifferences) {
  expect_finite_differences(LinearOperation{{3, 4, 5}});
  expect_finite_differences(PlainLayerNorm{{3, 5}});
  expect_finite_differences(AffineLayerNorm{{3, 5}});
  expect_finite_differences(RmsNorm{{3, 5}});
  expect_finite_differences(Modulate{{3, 5}});
  expect_finite_differences(GatedResidual{{3, 5}});
  expect_finite_differences(Gelu{40});
  expect_finite_differences(Rope{{2, 12}, positions_in_place({2, 2, 3})});
}

TEST(BlockCpu, EqualsNaiveOnRaggedSizesForAnyThreads) {
  for (const auto& [rows, in, out] : {LinearShape{1, 1, 1},
                                      {5, 3, 2},
                                      {7, 16, 17},
                                      {65, 300, 33},
                                      {391, 65, 259},
                                      {800, 20, 270}})
    expect_cpu_equals_naive(LinearOperation{{rows, in, out}});
  for (const auto& [rows, dim] : {RowsShape{1, 5}, {3, 7}, {65, 64}, {129, 81}, {1000, 200}}) {
    expect_cpu_equals_naive(PlainLayerNorm{{rows, dim}});
    expect_cpu_equals_naive(AffineLayerNorm{{rows, dim}});
    expect_cpu_equals_naive(RmsNorm{{rows, dim}});
    expect_cpu_equals_naive(Modulate{{rows, dim}});
    expect_cpu_equals_naive(GatedResidual{{rows, dim}});
  }
  for (const std::int64_t n : {1, 3, 15, 16, 17, 100000}) expect_cpu_equals_naive(Gelu{n});
  for (const std::int64_t head_dim : {2, 4, 6, 64, 128})
    expect_cpu_equals_naive(Rope{{3, head_dim}, positions_in_place({4, 9, 13})});
}

TEST(BlockCpu, EqualsNaiveOnEveryInstructionSetOfThisMachine) {
  for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) {
    hwy::SetSupportedTargetsForTest(left & -left);
    expect_cpu_equals_naive(LinearOperation{{50, 70, 30}});
    expect_cpu_equals_naive(Gelu{100});
    hwy::SetSupportedTargetsForTest(0);
  }
}

// ---- Known values ------------------------------------------------------------------------------

template <class B>
class Block : public testing::Test {
 public:
  static constexpr Backend tested = B::value;
  using Element = Real<tested>;
  static void expect_near(const std::vector<Element>& actual, const std::vector<double>& expected) {
    EXPECT_LT(relative_l2(actual, expected), tested == Backend::naive ? 1e-9 : 1e-6);
  }
};
using Backends = testing::Types<std::integral_constant<Backend, Backend::naive>,
                                std::integral_constant<Backend, Backend::cpu>>;
TYPED_TEST_SUITE(Block, Backends);

TYPED_TEST(Block, KnownValues) {
  constexpr Backend backend = TestFixture::tested;
  using T = typename TestFixture::Element;
  const auto near = TestFixture::expect_near;
  const LinearOperation linear{{1, 2, 2}};
  near(linear.forward<backend>({{1, 2}, {3, 4, 5, 6}, {10, 20}}, 1), {21, 37});
  // Mean 2 and variance 1, but for epsilon.
  const double d = 1 / std::sqrt(1 + 1e-6);
  near(PlainLayerNorm{{1, 2}}.forward<backend>({{1, 3}}, 1), {-d, d});
  near(AffineLayerNorm{{1, 2}}.forward<backend>({{1, 3}, {2, 3}, {10, 20}}, 1),
       {10 - 2 * d, 20 + 3 * d});
  const double r = 1 / std::sqrt(12.5 + 1e-6);
  near(RmsNorm{{1, 2}}.forward<backend>({{3, 4}, {1, 2}}, 1), {3 * r, 8 * r});
  near(Modulate{{2, 2}}.forward<backend>({{2, 3, 0, 1}, {1, 0}, {5, 7}}, 1), {9, 10, 5, 8});
  near(GatedResidual{{1, 2}}.forward<backend>({{1, 2}, {3, 4}, {10, 0.5}}, 1), {31, 4});
  std::vector<T> sum(2);
  gated_residual_forward<backend>({1, 2}, std::vector<T>{1, 2}, std::vector<T>{3, 5}, {}, sum);
  near(sum, {4, 7});
  near(Gelu{5}.forward<backend>({{0, 1, -1, 3, -20}}, 1),
       {0, 0.8411919906082768, -0.1588080093917233, 2.9963626078796665, 0});
}

TYPED_TEST(Block, GeluIsTheIdentityOrZeroFarOut) {
  using T = typename TestFixture::Element;
  const auto y = Gelu{4}.forward<TestFixture::tested>({{T(1e4), T(-1e4), T(30), T(-30)}}, 1);
  EXPECT_EQ(y, (std::vector<T>{T(1e4), 0, 30, 0}));
}

TEST(Linear, EqualsEigen) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const LinearOperation operation{{37, 23, 41}};
  const auto in = random_inputs(operation);
  const auto y = operation.forward<Backend::naive>(in, 1);
  const Matrix expected = (Eigen::Map<const Matrix>(in[0].data(), 37, 23) *
                           Eigen::Map<const Matrix>(in[1].data(), 41, 23).transpose())
                              .rowwise() +
                          Eigen::Map<const Eigen::RowVectorXd>(in[2].data(), 41);
  EXPECT_LT(relative_l2(y, std::vector<double>(expected.data(), expected.data() + expected.size())),
            1e-13);
}

TYPED_TEST(Block, LinearGradientsAndBiasAreOptional) {
  constexpr Backend backend = TestFixture::tested;
  using T = typename TestFixture::Element;
  const std::vector<T> x{1, 2}, weight{3, 4, 5, 6}, dy{1, -1};
  std::vector<T> y(2), dweight(4);
  linear_forward<backend>({1, 2, 2}, x, weight, {}, y);
  TestFixture::expect_near(y, {11, 17});
  linear_backward<backend>({1, 2, 2}, x, weight, dy, {}, dweight, {});
  TestFixture::expect_near(dweight, {1, 2, -1, -2});
}

TYPED_TEST(Block, RopeTurnsAdjacentPairsByPositionTimesFrequency) {
  // Six channels: one pair each for t, y and x, all of frequency 1.
  const Rope rope{{1, 6}, {{1, 2, 3}}};
  TestFixture::expect_near(
      rope.forward<TestFixture::tested>({{1, 0, 0, 1, 2, 0}}, 1),
      {std::cos(1), std::sin(1), -std::sin(2), std::cos(2), 2 * std::cos(3), 2 * std::sin(3)});
}

TEST(Rope, Wan14BSplitsSixtyFourPairs) {
  const auto pairs = rope_pairs(128);
  ASSERT_EQ(pairs.size(), 64u);
  const auto count = [&](auto axis) {
    return std::ranges::count_if(pairs, [&](const RopePair& pair) { return pair.axis == axis; });
  };
  EXPECT_EQ(count(&TokenPosition::t), 22);
  EXPECT_EQ(count(&TokenPosition::y), 21);
  EXPECT_EQ(count(&TokenPosition::x), 21);
  EXPECT_EQ(pairs[0].frequency, 1);
  EXPECT_DOUBLE_EQ(pairs[21].frequency, std::pow(10000, -21.0 / 22));
  EXPECT_EQ(pairs[22].axis, &TokenPosition::y);
  EXPECT_EQ(pairs[22].frequency, 1);
  EXPECT_EQ(pairs[43].axis, &TokenPosition::x);
  EXPECT_DOUBLE_EQ(pairs[44].frequency, std::pow(10000, -1.0 / 21));
  EXPECT_THROW(rope_pairs(7), std::invalid_argument);
}

TEST(Rope, LogitsDependOnRelativePositionsOnly) {
  const RopeShape shape{1, 24};
  const auto q = normal(24, 1), k = normal(24, 2);
  const auto logit = [&](TokenPosition a, TokenPosition b) {
    const auto rq = Rope{shape, {a}}.forward<Backend::naive>({q}, 1);
    const auto rk = Rope{shape, {b}}.forward<Backend::naive>({k}, 1);
    double sum = 0;
    for (std::size_t i = 0; i < 24; ++i) sum += rq[i] * rk[i];
    return sum;
  };
  EXPECT_NEAR(logit({1, 2, 3}, {4, 4, 4}), logit({11, 7, 53}, {14, 9, 54}), 1e-12);
}

TEST(Rope, PositionsTravelWithTheTokens) {
  const Grid grid{2, 3, 5};
  const auto in_place = positions_in_place(grid);
  EXPECT_EQ(in_place[17], (TokenPosition{1, 0, 2}));
  const Layout layout(parse_pattern("skiparse-2d", {2, 2, 2}), grid, Phase::group);
  const auto rearranged = positions_rearranged(layout);
  ASSERT_EQ(std::ssize(rearranged), layout.padded_tokens());
  for (std::int64_t i = 0; i < grid.tokens(); ++i) {
    const Place place = layout.place(i);
    EXPECT_EQ(rearranged[static_cast<std::size_t>(place.subsequence * layout.subsequence_length() +
                                                  place.slot)],
              in_place[static_cast<std::size_t>(i)]);
  }
}

// ---- Costs and bad input -----------------------------------------------------------------------

TEST(BlockCost, CountsMultiplyAddsTwiceAndOperandsOnce) {
  EXPECT_EQ(linear_forward_cost({3, 4, 5}, 2).flops, 120);
  EXPECT_EQ(linear_forward_cost({3, 4, 5}, 2).bytes, 2 * (12 + 20 + 5 + 15));
  EXPECT_EQ(linear_backward_cost({3, 4, 5}, 2).flops, 240 + 15);
  EXPECT_EQ(layer_norm_forward_cost({3, 4}, false, 4).flops, 6 * 12);
  EXPECT_EQ(layer_norm_forward_cost({3, 4}, true, 4).bytes, 4 * (2 * 12 + 2 * 4));
  EXPECT_EQ(rms_norm_backward_cost({3, 4}, 4).bytes, 4 * (3 * 12 + 2 * 4));
  EXPECT_EQ(modulate_forward_cost({3, 4}, 4).flops, 2 * 12);
  EXPECT_EQ(gated_residual_forward_cost({3, 4}, false, 4).bytes, 4 * 3 * 12);
  EXPECT_EQ(gelu_tanh_forward_cost(12, 4).bytes, 4 * 2 * 12);
  EXPECT_EQ(rope_3d_cost(3, {2, 6}, 4).flops, 3 * 36);
}

TYPED_TEST(Block, RejectsWrongSizes) {
  constexpr Backend backend = TestFixture::tested;
  using T = typename TestFixture::Element;
  const std::vector<T> six(6), two(2);
  std::vector<T> y(6);
  EXPECT_THROW(linear_forward<backend>({3, 2, 2}, six, six, {}, y), std::invalid_argument);
  EXPECT_THROW(layer_norm_forward<backend>({3, 2}, six, two, {}, 1e-6, y), std::invalid_argument);
  EXPECT_THROW(rms_norm_forward<backend>({3, 2}, six, {}, 1e-6, y), std::invalid_argument);
  EXPECT_THROW(modulate_forward<backend>({2, 3}, six, two, two, y), std::invalid_argument);
  EXPECT_THROW(gated_residual_forward<backend>({3, 2}, two, six, two, y), std::invalid_argument);
  EXPECT_THROW(gelu_tanh_forward<backend>(two, y), std::invalid_argument);
  EXPECT_THROW(rope_3d_forward<backend>({1, 6}, std::vector<TokenPosition>(2), six, y),
               std::invalid_argument);
}

}  // namespace
}  // namespace ospsim
