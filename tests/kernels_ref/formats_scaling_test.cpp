// Scaling recipes against a computation of their definition, element by element.

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/scaling.hpp"
#include "tests/kernels_ref/formats_array_support.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {
namespace {

using enum NumberFormat;

constexpr float float_max = std::numeric_limits<float>::max();
constexpr NumberFormat numbers[] = {hif8, e4m3, e5m2, mxfp8_e4m3, mxfp8_e5m2, int8};
constexpr Granularity granularities[] = {
    Granularity::none,    Granularity::tensor,  Granularity::delayed, Granularity::token,
    Granularity::channel, Granularity::block32, Granularity::tile128, Granularity::block128x128};

Format format_of(NumberFormat number) {
  if (number == hif8) return Format::hif8;
  return number == e4m3 || number == mxfp8_e4m3 ? Format::e4m3 : Format::e5m2;
}

Quantization recipe(NumberFormat number, Granularity granularity = Granularity::tensor) {
  return default_quantization(number, {granularity, false});
}

struct Shape {
  std::int64_t rows, columns, steps = 1;
  std::size_t size() const { return static_cast<std::size_t>(rows * columns); }
};

struct Outcome {
  std::vector<std::uint8_t> codes;
  std::vector<float> y;
};

// ---- The definition ----------------------------------------------------------------------------

float expected_scale(const Quantization& q, float amax) {
  const float bounded = std::max(amax, q.epsilon);
  if (q.granularity == Granularity::none || bounded == 0) return 1;
  float s = q.number == int8 ? divided(bounded, q.target) : divided(q.target, bounded);
  s = std::clamp(s, 0x1p-126f, q.power_of_two ? 0x1p127f : float_max);
  if (!q.power_of_two) return s;
  // The largest power of two not above s; of INT8's d = 1 / s, the smallest not below.
  const float floor = std::ldexp(1.0f, std::ilogb(s));
  return q.number == int8 && floor < s ? 2 * floor : floor;
}

std::int64_t group_of(Granularity granularity, const Shape& shape, std::int64_t row,
                      std::int64_t column) {
  switch (granularity) {
    case Granularity::delayed:
      return row / (shape.rows / shape.steps);
    case Granularity::token:
      return row;
    case Granularity::channel:
      return column;
    case Granularity::block32:
      return row * shape.columns + column / 32;
    case Granularity::tile128:
      return row * shape.columns + column / 128;
    case Granularity::block128x128:
      return row / 128 * shape.columns + column / 128;
    default:
      return 0;
  }
}

Outcome expected(const Quantization& q, const Shape& shape, const std::vector<float>& x) {
  const auto columns = static_cast<std::size_t>(shape.columns);
  const Format format = format_of(q.number);
  Outcome result{std::vector<std::uint8_t>(x.size()), std::vector<float>(x.size())};
  if (is_mx(q.number)) {
    const MxTensor mx = expected_mx<float>({format, q.mx_rule}, columns, x);
    const std::size_t blocks = (columns + 31) / 32;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const int exponent = mx.scales[i / columns * blocks + i % columns / 32] - 127;
      result.codes[i] = mx.codes[i];
      result.y[i] = static_cast<float>(std::ldexp(oracle::values(format)[mx.codes[i]], exponent));
    }
    return result;
  }
  const auto group = [&](std::size_t i) {
    return group_of(q.granularity, shape, static_cast<std::int64_t>(i / columns),
                    static_cast<std::int64_t>(i % columns));
  };
  std::map<std::int64_t, float> amax;
  for (std::size_t i = 0; i < x.size(); ++i) {
    float& largest = amax[group(i)];
    if (std::isfinite(x[i])) largest = std::max(largest, std::abs(x[i]));
  }
  if (q.granularity == Granularity::delayed) {
    const auto own = amax;
    for (std::int64_t step = 1; step < shape.steps; ++step) {
      amax[step] = 0;
      for (std::int64_t past = std::max<std::int64_t>(0, step - q.history); past < step; ++past)
        amax[step] = std::max(amax[step], own.at(past));
    }
  }
  const Codec codec{format, q.rounding, q.overflow, q.seed};
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float s = expected_scale(q, amax.at(group(i)));
    if (q.number == int8) {
      const float quotient = divided(x[i], s);
      const auto code = static_cast<std::int8_t>(
          std::isnan(x[i]) ? 0 : std::nearbyint(std::clamp(quotient, -127.0f, 127.0f)));
      result.codes[i] = static_cast<std::uint8_t>(code);
      result.y[i] = times(code, s);
    } else {
      result.codes[i] = encode(codec, times(x[i], s), i);
      result.y[i] = divided(decode(format, result.codes[i]), s);
    }
  }
  return result;
}

// ---- The quantizer -----------------------------------------------------------------------------

/// Observed and applied in slabs of whole rows; 0 means the whole tensor at once.
Outcome outcome(const Quantization& q, const Shape& shape, const std::vector<float>& x,
                int threads = 2, std::int64_t observed_rows = 0, std::int64_t applied_rows = 0) {
  Quantizer quantizer(q, shape.rows, shape.columns, shape.steps);
  Outcome result{std::vector<std::uint8_t>(x.size(), 0x5a), std::vector<float>(x.size(), -77)};
  const auto for_each_slab = [&](std::int64_t rows, const auto& f) {
    if (rows == 0) rows = shape.rows;
    for (std::int64_t first = 0; first < shape.rows; first += rows)
      f(first, static_cast<std::size_t>(first * shape.columns),
        static_cast<std::size_t>(std::min(rows, shape.rows - first) * shape.columns));
  };
  if (quantizer.needs_amax()) {
    for_each_slab(observed_rows, [&](std::int64_t row, std::size_t first, std::size_t count) {
      quantizer.observe(row, std::span(x).subspan(first, count), threads);
    });
    quantizer.settle();
  }
  for_each_slab(applied_rows, [&](std::int64_t row, std::size_t first, std::size_t count) {
    quantizer.apply(row, std::span(x).subspan(first, count),
                    std::span(result.codes).subspan(first, count),
                    std::span(result.y).subspan(first, count), threads);
  });
  return result;
}

void expect_same(const Quantization& q, const Outcome& got, const Outcome& want) {
  SCOPED_TRACE(to_string(q.number) + " " + scaling_name(q));
  for (std::size_t i = 0; i < want.codes.size(); ++i) {
    const bool same = q.number == int8
                          ? got.codes[i] == want.codes[i]
                          : oracle::same(format_of(q.number), got.codes[i], want.codes[i]);
    ASSERT_TRUE(same) << "element " << i << ": " << Hex{got.codes[i]} << ", not "
                      << Hex{want.codes[i]};
  }
  ASSERT_TRUE(same_numbers(got.y, want.y));
}

/// Rows and columns of different size, with some zeros.
std::vector<float> tensor(const Shape& shape, std::uint64_t seed = 1) {
  auto x = converted<float>(normal(shape.rows * shape.columns, seed));
  const auto columns = static_cast<std::size_t>(shape.columns);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = std::ldexp(x[i], static_cast<int>(i / columns % 7 + i % columns % 5) - 6);
    if (i % 97 == 5) x[i] = 0;
  }
  return x;
}

const std::vector<Shape> shapes{{1, 1},    {3, 5},    {2, 32},      {127, 129},    {128, 128, 4},
                                {300, 77}, {257, 31}, {6, 1000, 3}, {130, 260, 5}, {129, 33, 129}};

std::vector<Quantization> recipes() {
  std::vector<Quantization> result;
  for (const NumberFormat number : numbers)
    for (const Granularity granularity : granularities)
      for (const bool power_of_two : {false, true}) {
        if (is_mx(number) && (granularity != Granularity::none || power_of_two)) continue;
        if (granularity == Granularity::none && power_of_two) continue;
        Quantization q = recipe(number, granularity);
        q.power_of_two = power_of_two;
        q.history = 2;
        result.push_back(q);
      }
  return result;
}

TEST(Quantizer, EveryRecipeOnRaggedShapes) {
  for (const Shape& shape : shapes) {
    const auto x = tensor(shape);
    for (const Quantization& q : recipes()) {
      const Outcome want = expected(q, shape, x);
      expect_same(q, outcome(q, shape, x, 1), want);
      expect_same(q, outcome(q, shape, x, 2), want);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Quantizer, SlabsChangeNothing) {
  for (const Shape& shape :
       {Shape{257, 31}, Shape{300, 77, 3}, Shape{384, 40, 2}, Shape{200, 129}}) {
    const auto x = tensor(shape);
    for (Quantization q : recipes()) {
      if (!is_mx(q.number) && q.number != int8) q.rounding = Rounding::stochastic, q.seed = 9;
      const Outcome want = expected(q, shape, x);
      using Rows = std::pair<std::int64_t, std::int64_t>;
      for (const auto& [observed, applied] :
           {Rows{0, 128}, Rows{1, 0}, Rows{50, 256}, Rows{128, 128}})
        expect_same(q, outcome(q, shape, x, 2, observed, applied), want);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Quantizer, EveryRoundingAndOverflow) {
  const Shape shape{40, 70, 4};
  const auto x = tensor(shape);
  for (const NumberFormat number : {hif8, e4m3, e5m2})
    for (const Rounding rounding : roundings_of(format_of(number)))
      for (const Overflow overflow : {Overflow::ieee, Overflow::saturate})
        for (const Granularity granularity : {Granularity::none, Granularity::delayed}) {
          Quantization q = recipe(number, granularity);
          q.rounding = rounding, q.overflow = overflow, q.seed = 77, q.history = 1;
          q.target = largest(format_of(number));  // so that later steps of `delayed` overflow
          expect_same(q, outcome(q, shape, x), expected(q, shape, x));
        }
  for (const NumberFormat number : {mxfp8_e4m3, mxfp8_e5m2})
    for (const MxRule rule : {MxRule::floor, MxRule::ratio, MxRule::ceil, MxRule::even}) {
      Quantization q = recipe(number);
      q.mx_rule = rule;
      expect_same(q, outcome(q, shape, x), expected(q, shape, x));
    }
}

TEST(Quantizer, InPlace) {
  const Shape shape{130, 70, 2};
  const auto x = tensor(shape);
  for (const Quantization& q : recipes()) {
    Quantizer quantizer(q, shape.rows, shape.columns, shape.steps);
    if (quantizer.needs_amax()) quantizer.observe(0, x), quantizer.settle();
    Outcome got{std::vector<std::uint8_t>(x.size()), x};
    quantizer.apply(0, got.y, got.codes, got.y);
    expect_same(q, got, expected(q, shape, x));
  }
}

TEST(Quantizer, WholeTensorsWhoseLastRowIsShorter) {
  for (const std::int64_t columns : {1, 5, 40, 129, 300}) {
    auto x = tensor({133, columns});
    for (std::size_t cut = 0; cut < 3 && cut < static_cast<std::size_t>(columns); ++cut) {
      for (const Quantization& q : recipes()) {
        const auto want = expected(q, {133, columns}, x).y;
        for (const int threads : {1, 2})
          ASSERT_TRUE(same_numbers(quantized(q, columns, x, threads), want))
              << to_string(q.number) << " " << scaling_name(q) << " " << columns << " - " << cut;
      }
      x.pop_back();
    }
    const std::vector<float> short_row(x.begin(), x.begin() + (columns + 1) / 2);
    for (const Quantization& q : recipes())
      ASSERT_TRUE(
          same_numbers(quantized(q, columns, short_row), expected(q, {1, columns}, short_row).y));
  }
}

// ---- Edges -------------------------------------------------------------------------------------

TEST(Quantizer, ZeroTensorsStayZero) {
  const Shape shape{5, 40};
  for (const float zero : {0.0f, -0.0f}) {
    const std::vector<float> x(shape.size(), zero);
    for (const Quantization& q : recipes()) {
      const Outcome got = outcome(q, shape, x);
      expect_same(q, got, expected(q, shape, x));
      for (const float y : got.y) EXPECT_EQ(y, 0);
    }
  }
}

TEST(Quantizer, SpecialsStayByThemselves) {
  const Shape shape{9, 70, 3};
  auto x = tensor(shape);
  x[3] = NAN, x[75] = INFINITY, x[200] = -INFINITY, x[201] = -NAN, x[400] = NAN;
  for (std::size_t i = 560; i < 630; ++i)
    x[i] = i % 2 == 0 ? NAN : INFINITY;  // a row of nothing else
  for (const Quantization& q : recipes()) {
    const Outcome got = outcome(q, shape, x);
    expect_same(q, got, expected(q, shape, x));
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(std::isnan(got.y[i]), std::isnan(x[i]) && q.number != int8);
      EXPECT_FALSE(std::isinf(got.y[i]));  // recipes() saturate
      if (q.number == int8 && std::isnan(x[i])) {
        EXPECT_EQ(got.y[i], 0);
      }
    }
  }
}

TEST(Quantizer, TinyAndHugeTensors) {
  const Shape shape{2, 50};
  for (const float amax : {0x1p-149f, 0x1p-140f, 0x1p-126f, 1e-30f, 1e30f, 0x1p127f, float_max}) {
    std::vector<float> x(shape.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = amax * static_cast<float>(static_cast<int>(i) - 50) / 50;
    for (const Quantization& q : recipes())
      expect_same(q, outcome(q, shape, x), expected(q, shape, x));
  }
}

TEST(Quantizer, TheLargestElementNeverOverflows) {
  // target / amax is rounded, and its product with amax again: both may exceed the target.
  for (const NumberFormat number : {hif8, e4m3, e5m2}) {
    Quantization q = recipe(number);
    q.target = largest(format_of(number));
    q.overflow = Overflow::ieee;
    for (const std::uint32_t bits : random_patterns(2000)) {
      const auto x = std::bit_cast<float>((bits & 0x1fffffffu) + 0x30000000u);
      const Outcome got = outcome(q, {1, 1}, {x});
      EXPECT_NEAR(got.y[0] / x, 1, 1e-6) << x;
    }
  }
}

TEST(Quantizer, PowersOfTwoRoundOnce) {
  const Shape shape{30, 100};
  const auto x = tensor(shape);
  for (const NumberFormat number : {hif8, e4m3, e5m2}) {
    Quantization q = recipe(number);
    q.power_of_two = true;
    float amax = 0;
    for (const float value : x) amax = std::max(amax, std::abs(value));
    const double s = static_cast<double>(scale_of(q, amax));
    EXPECT_EQ(s, std::exp2(std::floor(std::log2(s))));
    EXPECT_LE(s * static_cast<double>(amax), static_cast<double>(q.target));
    EXPECT_GT(2 * s * static_cast<double>(amax), static_cast<double>(q.target));
    const Outcome got = outcome(q, shape, x);
    const Codec codec{format_of(number), q.rounding, q.overflow};
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::uint8_t code = oracle::encode(codec, s * static_cast<double>(x[i]));
      EXPECT_EQ(got.codes[i], code);
      EXPECT_EQ(static_cast<double>(got.y[i]), oracle::values(codec.format)[code] / s);
    }
  }
}

TEST(Quantizer, DelayedScalesLookBack) {
  // Steps with the amax 1, 8, 2, 4 of two rows each.
  const std::vector<float> x{1, 0.5f, 0, -1, 8, 4, 2, -8, 2, 1, 2, 2, 4, -2, 4, 1};
  const Shape shape{8, 2, 4};
  Quantization q = recipe(e4m3, Granularity::delayed);
  q.target = 448;
  q.history = 2;  // so the scales are those of 1, 1, 8, 8: step 1 saturates at its step before
  const Outcome got = outcome(q, shape, x);
  EXPECT_EQ(got.y, (std::vector<float>{1, 0.5f, 0, -1, 1, 1, 1, -1, 2, 1, 2, 2, 4, -2, 4, 1}));
  EXPECT_EQ(got.codes[8], encode({Format::e4m3, Rounding::rne}, 112.0f));
  q.history = 1;  // of 1, 1, 8, 2
  EXPECT_EQ(outcome(q, shape, x).y,
            (std::vector<float>{1, 0.5f, 0, -1, 1, 1, 1, -1, 2, 1, 2, 2, 2, -2, 2, 1}));
  q.history = 1024;
  EXPECT_EQ(outcome(q, shape, x).y, got.y);
}

TEST(Quantizer, DelayedScalesOverManySteps) {
  const Shape shape{48, 10, 24};
  auto x = tensor(shape);
  for (std::size_t i = 100; i < 160; ++i) x[i] = 0;  // three steps of zeros
  for (const NumberFormat number : {hif8, e4m3, e5m2, int8})
    for (const std::int64_t history : {1, 2, 3, 7, 23, 24, 1024}) {
      Quantization q = recipe(number, Granularity::delayed);
      q.history = history;
      for (const std::int64_t observed_rows : {0, 1, 5})
        expect_same(q, outcome(q, shape, x, 2, observed_rows), expected(q, shape, x));
    }
}

// ---- Scales and costs --------------------------------------------------------------------------

TEST(Scaling, ScaleOfAnAmax) {
  const Quantization forward = paper_forward(), backward = paper_backward();
  EXPECT_EQ(scale_of(forward, 3), 5);
  EXPECT_EQ(scale_of(backward, 7), 32);
  EXPECT_EQ(scale_of(forward, 0), 15 / 1e-8f);
  EXPECT_EQ(scale_of(forward, 1e-9f), 15 / 1e-8f);
  Quantization q = recipe(e4m3);
  EXPECT_EQ(scale_of(q, 448), 1);
  EXPECT_EQ(scale_of(q, 0), 1);
  EXPECT_EQ(scale_of(q, 0x1p-149f), float_max);
  q.target = 0x1p-3f;
  EXPECT_EQ(scale_of(q, float_max), 0x1p-126f);
  q = recipe(e4m3);
  q.power_of_two = true;
  EXPECT_EQ(scale_of(q, 448), 1);
  EXPECT_EQ(scale_of(q, 449), 0.5f);
  EXPECT_EQ(scale_of(q, 224.5f), 1);
  EXPECT_EQ(scale_of(q, 0x1p-149f), 0x1p127f);
  q = recipe(int8);
  EXPECT_EQ(scale_of(q, 127), 1);
  EXPECT_EQ(scale_of(q, 254), 2);
  EXPECT_EQ(scale_of(q, 0), 1);
  EXPECT_EQ(scale_of(q, 0x1p-140f), 0x1p-126f);
  EXPECT_EQ(scale_of(q, 1), 1 / 127.0f);
  for (Quantization each : recipes()) {
    if (is_mx(each.number)) continue;
    for (const float epsilon : {0.0f, 1e-8f, 1.0f}) {
      each.epsilon = epsilon;
      for (const std::uint32_t bits : random_patterns(5000)) {
        const auto amax = std::bit_cast<float>(bits & 0x7fffffffu);
        if (!std::isfinite(amax) || each.granularity == Granularity::none) continue;
        ASSERT_EQ(scale_of(each, amax), expected_scale(each, amax))
            << to_string(each.number) << scaling_name(each) << amax;
      }
    }
  }
}

TEST(Scaling, PaperRecipe) {
  for (const auto& [q, target] : {std::pair{paper_forward(), 15.0f}, {paper_backward(), 224.0f}}) {
    EXPECT_EQ(q.number, hif8);
    EXPECT_EQ(q.rounding, Rounding::ta);
    EXPECT_EQ(q.granularity, Granularity::tensor);
    EXPECT_FALSE(q.power_of_two);
    EXPECT_EQ(q.target, target);
    EXPECT_EQ(q.epsilon, 1e-8f);
    const Shape shape{33, 65};
    const auto x = tensor(shape);
    expect_same(q, outcome(q, shape, x), expected(q, shape, x));
    const std::vector<float> tiny(10, 1e-9f);
    expect_same(q, outcome(q, {1, 10}, tiny), expected(q, {1, 10}, tiny));
  }
}

TEST(Scaling, BitsPerElement) {
  const auto bits = [](Granularity granularity, bool power_of_two, const Shape& shape) {
    Quantization q = recipe(e4m3, granularity);
    q.power_of_two = power_of_two;
    return Quantizer(q, shape.rows, shape.columns, shape.steps).bits_per_element();
  };
  const Shape square{256, 256, 4}, ragged{130, 33, 2};
  struct Row {
    Granularity granularity;
    double scales_of_square, scales_of_ragged;
  };
  for (const auto& [granularity, in_square, in_ragged] :
       {Row{Granularity::none, 0, 0}, Row{Granularity::tensor, 1, 1},
        Row{Granularity::delayed, 4, 2}, Row{Granularity::token, 256, 130},
        Row{Granularity::channel, 256, 33}, Row{Granularity::block32, 2048, 260},
        Row{Granularity::tile128, 512, 130}, Row{Granularity::block128x128, 4, 2}}) {
    EXPECT_DOUBLE_EQ(bits(granularity, false, square), 8 + 32 * in_square / 65536);
    EXPECT_DOUBLE_EQ(bits(granularity, false, ragged), 8 + 32 * in_ragged / (130 * 33));
    if (granularity == Granularity::none) continue;
    EXPECT_DOUBLE_EQ(bits(granularity, true, square), 8 + 8 * in_square / 65536);
    EXPECT_DOUBLE_EQ(bits(granularity, true, ragged), 8 + 8 * in_ragged / (130 * 33));
  }
  EXPECT_DOUBLE_EQ(Quantizer(recipe(mxfp8_e4m3), 4, 64).bits_per_element(), 8.25);
  EXPECT_DOUBLE_EQ(Quantizer(recipe(mxfp8_e5m2), 3, 33).bits_per_element(), 8 + 8 * 6 / 99.0);
  EXPECT_DOUBLE_EQ(Quantizer(recipe(int8, Granularity::token), 4, 64).bits_per_element(), 8.5);
}

TEST(Scaling, NeedsAnAmaxWhereAScaleSpansSlabs) {
  using enum Granularity;
  for (const Quantization& q : recipes()) {
    const bool needed = Quantizer(q, 4, 4).needs_amax();
    const bool scaled = !is_mx(q.number) && q.granularity != none;
    const bool spans =
        q.granularity == tensor || q.granularity == delayed || q.granularity == channel;
    if (!scaled || spans) {
      EXPECT_EQ(needed, scaled) << to_string(q.number) << " " << scaling_name(q);
    }
  }
}

TEST(Scaling, Defaults) {
  EXPECT_EQ(default_target(hif8), 15);
  EXPECT_EQ(default_target(e4m3), 448);
  EXPECT_EQ(default_target(e5m2), 57344);
  EXPECT_EQ(default_target(int8), 127);
  EXPECT_EQ(default_rounding(hif8), Rounding::ta);
  for (const NumberFormat number : {e4m3, e5m2, mxfp8_e4m3, mxfp8_e5m2, int8})
    EXPECT_EQ(default_rounding(number), Rounding::rne);
}

TEST(Scaling, Names) {
  EXPECT_EQ(parse_number_format("mxfp8-e4m3"), mxfp8_e4m3);
  EXPECT_EQ(parse_number_format("int8"), int8);
  for (const NumberFormat number : numbers)
    EXPECT_EQ(parse_number_format(to_string(number)), number);
  const char* names[] = {"none",    "tensor",  "delayed", "token",
                         "channel", "block32", "tile128", "block128x128"};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    const auto [granularity, power_of_two] = parse_scaling(names[i]);
    EXPECT_EQ(granularity, granularities[i]);
    EXPECT_FALSE(power_of_two);
    EXPECT_EQ(scaling_name(recipe(e4m3, granularity)), names[i]);
  }
  const auto [granularity, power_of_two] = parse_scaling("tensor-pow2");
  EXPECT_EQ(granularity, Granularity::tensor);
  EXPECT_TRUE(power_of_two);
  Quantization q = recipe(e4m3);
  q.power_of_two = true;
  EXPECT_EQ(scaling_name(q), "tensor-pow2");
  EXPECT_EQ(scaling_name(recipe(mxfp8_e4m3)), "mx-floor");
  for (const char* text : {"", "Tensor", "tensor_pow2", "block", "pow2", "hif4", "mxfp8"}) {
    EXPECT_THROW(parse_number_format(text), InputError) << text;
    EXPECT_THROW(parse_scaling(text), InputError) << text;
  }
}

TEST(Scaling, RefusesRecipesThatDoNotExist) {
  const auto refused = [](NumberFormat number, Rounding rounding, float target) {
    Quantization q = recipe(number);
    q.rounding = rounding, q.target = target;
    EXPECT_THROW(Quantizer(q, 2, 2), InputError) << to_string(number) << " " << target;
  };
  refused(e4m3, Rounding::hybrid, 448);
  refused(e5m2, Rounding::floor, 448);
  refused(hif8, Rounding::ceil, 15);
  for (const float target : {0.0f, -1.0f, NAN, INFINITY, 1e9f}) {
    refused(hif8, Rounding::ta, target);
    refused(e4m3, Rounding::rne, target);
    refused(e5m2, Rounding::rne, target);
    refused(int8, Rounding::rne, target);
  }
  refused(hif8, Rounding::ta, std::nextafter(32768.0f, 1e9f));
  refused(e4m3, Rounding::rne, std::nextafter(448.0f, 1e9f));
  refused(e5m2, Rounding::rne, std::nextafter(57344.0f, 1e9f));
  refused(int8, Rounding::rne, std::nextafter(127.0f, 1e9f));
}

}  // namespace
}  // namespace ospsim
