// MXFP8 and INT8 against their definitions in double, on every back end and instruction set.

#include <gtest/gtest.h>

#include <limits>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/int8.hpp"
#include "kernels_ref/formats/mxfp8.hpp"
#include "tests/kernels_ref/formats_array_support.hpp"

namespace ospsim {
namespace {

constexpr float float_max = std::numeric_limits<float>::max();
constexpr MxRule rules[] = {MxRule::floor, MxRule::ratio, MxRule::ceil, MxRule::even};

std::vector<MxCodec> mx_codecs() {
  std::vector<MxCodec> result;
  for (const Format element : {Format::e4m3, Format::e5m2})
    for (const MxRule rule : rules) result.push_back({element, rule});
  return result;
}

template <Backend B, class T>
MxTensor mx(const MxCodec& codec, std::size_t columns, const std::vector<T>& x, int threads = 0) {
  const auto width = static_cast<std::int64_t>(columns);
  const auto rows = static_cast<std::int64_t>(x.size()) / width;
  MxTensor result;
  result.codes.resize(x.size());
  result.scales.resize(static_cast<std::size_t>(mx_scale_count(rows, width)));
  mx_encode<B>(codec, width, x, result.codes, result.scales, threads);
  return result;
}

void expect_same(const MxCodec& codec, const MxTensor& got, const MxTensor& expected) {
  ASSERT_EQ(got.scales, expected.scales);
  ASSERT_EQ(got.codes.size(), expected.codes.size());
  for (std::size_t i = 0; i < got.codes.size(); ++i)
    ASSERT_TRUE(oracle::same(codec.element, got.codes[i], expected.codes[i]))
        << "element " << i << ": " << Hex{got.codes[i]} << ", not " << Hex{expected.codes[i]};
}

template <Backend B, class T>
void check_mx(const MxCodec& codec, std::size_t columns, const std::vector<T>& x) {
  const MxTensor expected = expected_mx<T>(codec, columns, x);
  with_each_target<B>([&] {
    for (const int threads : {1, 2})
      expect_same(codec, mx<B, T>(codec, columns, x, threads), expected);
  });
}

// ---- The scale ---------------------------------------------------------------------------------

TEST(MxScale, EveryRuleAgainstItsDefinition) {
  for (const MxCodec& codec : mx_codecs()) {
    const auto check = [&](std::uint32_t bits) {
      const auto amax = std::bit_cast<float>(bits & 0x7fffffffu);
      if (!std::isfinite(amax) || amax == 0) return;
      const int expected = std::ilogb(oracle::mx_scale(codec, static_cast<double>(amax))) + 127;
      ASSERT_EQ(mx_scale_code(codec, amax), expected) << amax;
    };
    for (const std::uint32_t bits : random_patterns(50000)) check(bits);
    for (std::uint32_t exponent = 0; exponent < 255; ++exponent)
      for (const std::uint32_t fraction : {0u, 1u, 0x5fffffu, 0x600000u, 0x600001u, 0x6fffffu,
                                           0x700000u, 0x77ffffu, 0x780000u, 0x7fffffu})
        check(exponent << 23 | fraction);
    for (int shift = 0; shift < 23; ++shift) check(1u << shift);
    EXPECT_EQ(mx_scale_code(codec, 0), 0);
  }
}

TEST(MxScale, AtAndPastTheLargestElement) {
  const auto exponents = [](Format element, float amax) {
    std::vector<int> result;
    for (const MxRule rule : rules) result.push_back(mx_scale_code({element, rule}, amax) - 127);
    return result;
  };
  using Exponents = std::vector<int>;  // of floor, ratio, ceil, even
  EXPECT_EQ(exponents(Format::e4m3, 448), (Exponents{0, 0, 1, 0}));
  EXPECT_EQ(exponents(Format::e4m3, std::nextafter(448.0f, 500.0f)), (Exponents{0, 1, 1, 0}));
  EXPECT_EQ(exponents(Format::e4m3, 480), (Exponents{0, 1, 1, 0}));
  EXPECT_EQ(exponents(Format::e4m3, 496), (Exponents{0, 1, 1, 1}));
  EXPECT_EQ(exponents(Format::e4m3, 512), (Exponents{1, 1, 1, 1}));
  EXPECT_EQ(exponents(Format::e4m3, 256), (Exponents{0, 0, 0, 0}));
  EXPECT_EQ(exponents(Format::e4m3, 959.56f), (Exponents{1, 2, 2, 1}));
  EXPECT_EQ(exponents(Format::e5m2, 57344), (Exponents{0, 0, 1, 0}));
  EXPECT_EQ(exponents(Format::e5m2, 61440), (Exponents{0, 1, 1, 1}));
  EXPECT_EQ(exponents(Format::e4m3, std::nextafter(2.0f, 0.0f)), (Exponents{-8, -7, -7, -7}));
  EXPECT_EQ(exponents(Format::e4m3, float_max), (Exponents{119, 120, 120, 120}));
  EXPECT_EQ(exponents(Format::e5m2, float_max), (Exponents{112, 113, 113, 113}));
  EXPECT_EQ(exponents(Format::e4m3, 0x1p-149f), (Exponents{-127, -127, -127, -127}));
  EXPECT_EQ(exponents(Format::e4m3, 0x1p-118f), (Exponents{-126, -126, -126, -126}));
}

TEST(MxScale, RuleNames) {
  EXPECT_EQ(parse_mx_rule("floor"), MxRule::floor);
  EXPECT_EQ(parse_mx_rule("ratio"), MxRule::ratio);
  EXPECT_EQ(parse_mx_rule("ceil"), MxRule::ceil);
  EXPECT_EQ(parse_mx_rule("even"), MxRule::even);
  for (const char* text : {"", "Floor", "rceil", "round"})
    EXPECT_THROW(parse_mx_rule(text), InputError) << text;
}

TEST(MxScale, OneForEachBlockOfARow) {
  EXPECT_EQ(mx_scale_count(3, 64), 6);
  EXPECT_EQ(mx_scale_count(3, 65), 9);
  EXPECT_EQ(mx_scale_count(1, 1), 1);
  EXPECT_EQ(mx_scale_count(0, 100), 0);
}

// ---- Tensors -----------------------------------------------------------------------------------

template <class C>
class Mxfp8 : public OnBackend<C> {};
TYPED_TEST_SUITE(Mxfp8, Cases, CaseName);

/// Blocks of very different size, some with zeros, NaN and Inf.
template <class T>
std::vector<T> mx_inputs(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<T> x(size);
  int exponent = 0;
  for (std::size_t i = 0; i < size; ++i) {
    if (i % 32 == 0) exponent = static_cast<int>(generator() % 280) - 150;
    const int own = static_cast<int>(generator() % 20);
    const float value = static_cast<float>(std::ldexp(normal(generator), exponent - own));
    x[i] = rounded_to<T>(static_cast<double>(value));
    if (generator() % 50 == 0) x[i] = rounded_to<T>(-0.0);
    if (generator() % 200 == 0) x[i] = rounded_to<T>(NAN);
    if (generator() % 200 == 0) x[i] = rounded_to<T>(generator() % 2 == 0 ? HUGE_VAL : -HUGE_VAL);
  }
  return x;
}

TYPED_TEST(Mxfp8, RandomTensorsWithTails) {
  using T = typename TypeParam::Type;
  for (const MxCodec& codec : mx_codecs())
    for (const std::size_t columns : {1u, 2u, 31u, 32u, 33u, 64u, 95u, 100u, 1000u})
      for (const std::size_t rows : {1u, 2u, 7u, 40u})
        check_mx<TypeParam::backend, T>(codec, columns, mx_inputs<T>(rows * columns, columns));
}

TYPED_TEST(Mxfp8, EveryPatternInABlockOfItsOwn) {
  using T = typename TypeParam::Type;
  const auto x = test_inputs<T>();
  for (const MxCodec& codec : mx_codecs()) check_mx<TypeParam::backend, T>(codec, 1, x);
}

TYPED_TEST(Mxfp8, EveryPatternNextToOthers) {
  using T = typename TypeParam::Type;
  const auto x = test_inputs<T>();
  for (const MxCodec& codec : mx_codecs()) check_mx<TypeParam::backend, T>(codec, x.size(), x);
}

TYPED_TEST(Mxfp8, BlocksWorthTesting) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const auto block = [](std::initializer_list<double> first) {
    std::vector<T> x;
    for (const double value : first) x.push_back(rounded_to<T>(value));
    x.resize(32);
    return x;
  };
  const double tiny = std::is_same_v<T, Float16> ? 0x1p-24 : 0x1p-133;
  const double large = std::is_same_v<T, Float16> ? 65504 : static_cast<double>(float_max);
  for (const MxCodec& codec : mx_codecs()) {
    for (const auto& x :
         {block({}), block({-0.0}), block({tiny, -3 * tiny, 7 * tiny}), block({tiny}),
          block({large, -large, 1, tiny}), block({1.9921875, 1, -1.5}), block({448, 1}),
          block({450, 1}), block({57344, 3}), block({57600, 3}), block({NAN, 1, 2}),
          block({INFINITY, 1, 2}), block({-INFINITY, NAN}), block({NAN}), block({INFINITY})})
      check_mx<backend>(codec, 32, x);
    // Zeros have the scale code 0; NaN stays by itself, Inf becomes the largest element.
    EXPECT_EQ((mx<backend>(codec, 32, block({}))).scales[0], 0);
    const auto special = mx<backend>(codec, 32, block({NAN, INFINITY, -INFINITY, 1}));
    EXPECT_EQ(special.scales[0], codec.element == Format::e4m3 ? 127 - 8 : 127 - 15);
    EXPECT_TRUE(std::isnan(oracle::values(codec.element)[special.codes[0]]));
    EXPECT_EQ(special.codes[1], codec.element == Format::e4m3 ? 0x7e : 0x7b);
    EXPECT_EQ(special.codes[2], codec.element == Format::e4m3 ? 0xfe : 0xfb);
  }
}

TYPED_TEST(Mxfp8, FloorClampsWhatRatioKeeps) {
  // 959.56 and 957, the example of microxcaling's issue 4.
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const std::vector<T> x{rounded_to<T>(static_cast<double>(959.56f)), rounded_to<T>(957)};
  const auto value = [&](MxRule rule) {
    const MxTensor tensor = mx<backend>({Format::e4m3, rule}, 2, x);
    std::vector<T> back(2);
    mx_decode<backend>(Format::e4m3, 2, tensor.codes, tensor.scales, back);
    return to_float(back[1]);
  };
  EXPECT_EQ(value(MxRule::floor), 896);
  EXPECT_EQ(value(MxRule::ratio), 960);
  EXPECT_EQ(value(MxRule::ceil), 960);
}

TYPED_TEST(Mxfp8, DecodesEveryScaleAndCode) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  // Rows of 270 codes: eight blocks and a tail of 14, one scale a row.
  constexpr std::size_t columns = 270, blocks = 9;
  std::vector<std::uint8_t> codes(256 * columns), scales(256 * blocks);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i % columns);
  for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<std::uint8_t>(i / blocks);
  for (const Format element : {Format::e4m3, Format::e5m2}) {
    std::vector<T> expected(codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i)
      expected[i] = rounded_to<T>(oracle::values(Format::e8m0)[i / columns] *
                                  oracle::values(element)[codes[i]]);
    with_each_target<backend>([&] {
      for (const int threads : {1, 2}) {
        std::vector<T> x(codes.size());
        mx_decode<backend>(element, columns, codes, scales, x, threads);
        ASSERT_TRUE(same_numbers(x, expected)) << oracle::describe({element});
      }
    });
  }
}

TYPED_TEST(Mxfp8, AnySizeAtAnyOffset) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  with_each_target<backend>([&] {
    for (std::size_t columns = 1; columns <= 200; ++columns) {
      const std::size_t rows = columns % 3, size = rows * columns, offset = columns % 4;
      const MxCodec codec = mx_codecs()[columns % 8];
      const auto values = mx_inputs<T>(size, columns);
      Guarded<T> x(size, offset), back(size, 3 - offset);
      Guarded<std::uint8_t> codes(size, offset), scales(rows * ((columns + 31) / 32), 1);
      std::ranges::copy(values, x.span().begin());
      const auto width = static_cast<std::int64_t>(columns);
      mx_encode<backend>(codec, width, x.span(), codes.span(), scales.span(), 1);
      mx_decode<backend>(codec.element, width, codes.span(), scales.span(), back.span(), 1);
      const MxTensor expected = expected_mx<T>(codec, columns, values);
      ASSERT_TRUE(std::ranges::equal(scales.span(), expected.scales)) << columns;
      for (std::size_t i = 0; i < size; ++i) {
        ASSERT_TRUE(oracle::same(codec.element, codes.span()[i], expected.codes[i])) << columns;
        const std::size_t block = i / columns * ((columns + 31) / 32) + i % columns / 32;
        const T value = rounded_to<T>(std::ldexp(oracle::values(codec.element)[expected.codes[i]],
                                                 expected.scales[block] - 127));
        ASSERT_EQ((first_difference<T>(back.span().subspan(i, 1), std::span(&value, 1))), -1);
      }
      ASSERT_TRUE(x.intact() && back.intact() && codes.intact() && scales.intact()) << columns;
    }
  });
}

TYPED_TEST(Mxfp8, RefusesSizesThatDoNotFit) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  struct Sizes {
    std::int64_t columns;
    std::size_t x, codes, scales;
  };
  for (const auto& [columns, x_size, code_count, scale_count] :
       {Sizes{33, 66, 65, 4}, Sizes{33, 66, 66, 3}, Sizes{33, 66, 66, 5}, Sizes{33, 65, 65, 4},
        Sizes{0, 66, 66, 4}, Sizes{-1, 66, 66, 4}}) {
    std::vector<T> x(x_size);
    std::vector<std::uint8_t> codes(code_count), scales(scale_count);
    EXPECT_THROW((mx_encode<backend>(MxCodec{}, columns, x, codes, scales)), std::invalid_argument);
    EXPECT_THROW((mx_decode<backend>(Format::e4m3, columns, codes, scales, x)),
                 std::invalid_argument);
  }
}

TEST(Mxfp8Cost, CountsEachOperandOnce) {
  EXPECT_EQ(mx_encode_cost(3, 65, 2).bytes, 3 * 65 * 2 + 3 * 65 + 9);
}

// ---- INT8 --------------------------------------------------------------------------------------

constexpr float int8_scales[] = {1,     2,      0.1f,      3,     1 / 127.0f,
                                 0.37f, 1e-30f, 0x1p-126f, 1e30f, 2.7e36f};

/// Half-way quotients, among others that are exact only in division.
template <class T>
std::vector<T> int8_inputs(float scale) {
  std::vector<T> x = test_inputs<T>();
  for (int n = -260; n <= 260; ++n) {
    const double half = n * 0.5 * static_cast<double>(scale);
    for (const float value :
         {static_cast<float>(half), std::nextafter(static_cast<float>(half), INFINITY),
          std::nextafter(static_cast<float>(half), -INFINITY)})
      x.push_back(rounded_to<T>(static_cast<double>(value)));
  }
  return x;
}

std::int8_t expected_int8(float x, float scale) {
  if (std::isnan(x)) return 0;
  const auto quotient = static_cast<double>(divided(x, scale));
  return static_cast<std::int8_t>(std::nearbyint(std::clamp(quotient, -127.0, 127.0)));
}

TEST(Int8, TiesGoToTheEvenNumber) {
  const float x[] = {0.5f,   1.5f,   2.5f,   -0.5f,   -1.5f, -2.5f,
                     125.5f, 126.5f, 127.5f, -126.5f, 128,   1e9f};
  const int q[] = {0, 2, 2, 0, -2, -2, 126, 126, 127, -126, 127, 127};
  for (std::size_t i = 0; i < std::size(x); ++i) {
    EXPECT_EQ(int8_encode(x[i], 1.0f), q[i]) << x[i];
    EXPECT_EQ(int8_encode(x[i] * 3, 3.0f), q[i]) << x[i];
  }
  EXPECT_EQ(int8_encode(NAN, 1.0f), 0);
  EXPECT_EQ(int8_encode(-NAN, 1.0f), 0);
  EXPECT_EQ(int8_encode(INFINITY, 1.0f), 127);
  EXPECT_EQ(int8_encode(-INFINITY, 1.0f), -127);
  static_assert(int8_encode(-5.0f, 2.0f) == -2);
}

template <class C>
class Int8 : public OnBackend<C> {};
TYPED_TEST_SUITE(Int8, Cases, CaseName);

TYPED_TEST(Int8, EncodesTheQuotientRoundedToEven) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  for (const float scale : int8_scales) {
    const auto x = int8_inputs<T>(scale);
    with_each_target<backend>([&] {
      for (const int threads : {1, 2}) {
        std::vector<std::int8_t> q(x.size(), -128);
        int8_encode<backend>(x, scale, q, threads);
        for (std::size_t i = 0; i < x.size(); ++i)
          ASSERT_EQ(q[i], expected_int8(to_float(x[i]), scale))
              << Hex{pattern(x[i]), 8} << " / " << scale;
      }
    });
    for (const T value : x)
      ASSERT_EQ(int8_encode(to_float(value), scale), expected_int8(to_float(value), scale));
  }
}

TYPED_TEST(Int8, DecodesEveryCode) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  std::vector<std::int8_t> q(5000);
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = static_cast<std::int8_t>(i % 255 - 127);
  for (const float scale : int8_scales) {
    std::vector<T> expected(q.size());
    for (std::size_t i = 0; i < q.size(); ++i)
      expected[i] = rounded_to<T>(static_cast<double>(times(q[i], scale)));
    with_each_target<backend>([&] {
      for (const int threads : {1, 2}) {
        std::vector<T> x(q.size());
        int8_decode<backend>(q, scale, x, threads);
        ASSERT_TRUE(same_numbers(x, expected)) << scale;
      }
    });
  }
}

TYPED_TEST(Int8, AnySizeAtAnyOffset) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const auto inputs = int8_inputs<T>(0.37f);
  with_each_target<backend>([&] {
    for (std::size_t size = 0; size <= 200; ++size)
      for (std::size_t offset = 0; offset < 4; ++offset) {
        Guarded<T> x(size, offset), back(size, 3 - offset);
        Guarded<std::int8_t> q(size, 3 * offset);
        for (std::size_t i = 0; i < size; ++i)
          x.span()[i] = inputs[inputs.size() - 1 - (37 * size + i) * 7 % 4000];
        int8_encode<backend>(x.span(), 0.37f, q.span(), 1);
        int8_decode<backend>(q.span(), 0.37f, back.span(), 1);
        for (std::size_t i = 0; i < size; ++i) {
          ASSERT_EQ(q.span()[i], expected_int8(to_float(x.span()[i]), 0.37f));
          const T value = rounded_to<T>(static_cast<double>(times(q.span()[i], 0.37f)));
          ASSERT_EQ((first_difference<T>(back.span().subspan(i, 1), std::span(&value, 1))), -1);
        }
        ASSERT_TRUE(x.intact() && back.intact() && q.intact()) << size << " " << offset;
      }
  });
}

TYPED_TEST(Int8, RefusesSizesThatDiffer) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  std::vector<T> x(5);
  std::vector<std::int8_t> q(4);
  EXPECT_THROW((int8_encode<backend>(x, 1.0f, q)), std::invalid_argument);
  EXPECT_THROW((int8_decode<backend>(q, 1.0f, x)), std::invalid_argument);
}

}  // namespace
}  // namespace ospsim
