// Whole tensors against the scalar codecs, bit by bit, on every back end and instruction set.

#include <gtest/gtest.h>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/quantize.hpp"
#include "tests/kernels_ref/formats_array_support.hpp"

namespace ospsim {
namespace {

template <class C>
class FormatsArray : public OnBackend<C> {};
TYPED_TEST_SUITE(FormatsArray, Cases, CaseName);

constexpr float scales[] = {1, 0.37f, -3.1f, 3e38f, 0x1p-140f};

/// Every codec, with a place in a longer sequence of random numbers.
std::vector<Codec> array_codecs() {
  auto codecs = oracle::codecs(true);
  for (Codec& codec : codecs) codec.seed = 5, codec.first_element = (1ull << 32) - 100;
  return codecs;
}

template <class T>
std::uint8_t expected_code(const Codec& codec, T x, float scale, std::size_t i) {
  const std::uint64_t element = codec.first_element + i;
  return scale == 1 ? encode(codec, x, element) : encode(codec, times(to_float(x), scale), element);
}

template <class T>
std::vector<std::uint8_t> expected_codes(const Codec& codec, const std::vector<T>& x, float scale) {
  std::vector<std::uint8_t> codes(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) codes[i] = expected_code(codec, x[i], scale, i);
  return codes;
}

template <class T>
T expected_value(const Codec& codec, T x, float scale, std::size_t i) {
  const float value = decode(codec.format, expected_code(codec, x, scale, i));
  return rounded_to<T>(static_cast<double>(divided(value, scale)));
}

/// Whether T can hold the values.
template <class T>
bool fits(Format format) {
  return format != Format::e8m0 || !std::is_same_v<T, Float16>;
}

TYPED_TEST(FormatsArray, EncodesLikeTheScalarCodec) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const auto x = test_inputs<T>();
  for (const Codec& codec : array_codecs())
    for (const float scale : scales) {
      const auto expected = expected_codes(codec, x, scale);
      with_each_target<backend>([&] {
        for (const int threads : {1, 2}) {
          std::vector<std::uint8_t> codes(x.size());
          encode<backend>(codec, x, codes, scale, threads);
          const auto at = std::ranges::mismatch(codes, expected).in1 - codes.begin();
          const auto i = static_cast<std::size_t>(at);
          ASSERT_TRUE(i == x.size())
              << oracle::describe(codec) << " times " << scale << ": " << Hex{pattern(x[i]), 8}
              << " became " << Hex{codes[i]} << ", not " << Hex{expected[i]};
        }
      });
    }
}

TYPED_TEST(FormatsArray, DecodesLikeTheScalarCodec) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  for (const Format format : {Format::hif8, Format::e4m3, Format::e5m2, Format::e8m0})
    for (const float scale : scales) {
      std::vector<std::uint8_t> codes(256 * 100);
      std::vector<T> expected(codes.size());
      for (std::size_t i = 0; i < codes.size(); ++i) {
        codes[i] = static_cast<std::uint8_t>(i + i / 256);  // each code in each place of a vector
        const auto value = static_cast<float>(oracle::values(format)[codes[i]]);
        expected[i] = rounded_to<T>(static_cast<double>(divided(value, scale)));
      }
      with_each_target<backend>([&] {
        std::vector<T> x(codes.size());
        if (!fits<T>(format)) {
          ASSERT_THROW((decode<backend>(format, codes, x, scale)), InputError);
          return;
        }
        for (const int threads : {1, 2}) {
          std::ranges::fill(x, T{});
          decode<backend>(format, codes, x, scale, threads);
          ASSERT_TRUE(same_numbers(x, expected)) << oracle::describe({format}) << " / " << scale;
        }
      });
    }
}

TYPED_TEST(FormatsArray, QuantizeDequantizeIsBothInOne) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const auto x = test_inputs<T>();
  for (const Codec& codec : array_codecs()) {
    if (!fits<T>(codec.format)) {
      std::vector<T> y(x.size());
      EXPECT_THROW((quantize_dequantize<backend>(codec, x, y)), InputError);
      continue;
    }
    for (const float scale : scales) {
      std::vector<T> expected(x.size());
      for (std::size_t i = 0; i < x.size(); ++i)
        expected[i] = expected_value(codec, x[i], scale, i);
      with_each_target<backend>([&] {
        for (const int threads : {1, 2}) {
          std::vector<T> y(x.size());
          quantize_dequantize<backend>(codec, x, y, scale, threads);
          ASSERT_TRUE(same_numbers(y, expected)) << oracle::describe(codec) << " times " << scale;
        }
        std::vector<T> in_place = x;
        quantize_dequantize<backend>(codec, in_place, in_place, scale);
        ASSERT_TRUE(same_numbers(in_place, expected)) << oracle::describe(codec) << " in place";
      });
    }
  }
}

TYPED_TEST(FormatsArray, AnySizeAtAnyOffset) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const auto inputs = test_inputs<T>();
  const Codec codecs[] = {{Format::hif8, Rounding::ta, Overflow::ieee},
                          {Format::hif8, Rounding::hybrid, Overflow::saturate},
                          {Format::e4m3, Rounding::stochastic, Overflow::saturate, 3, 17},
                          {Format::e5m2, Rounding::rne, Overflow::ieee}};
  with_each_target<backend>([&] {
    for (std::size_t size = 0; size <= 200; ++size)
      for (std::size_t offset = 0; offset < 4; ++offset) {
        const Codec& codec = codecs[(size + offset) % 4];
        const float scale = size % 3 == 0 ? 1.0f : 0.7f;
        Guarded<T> x(size, offset), y(size, 3 - offset), back(size, offset ^ 1);
        Guarded<std::uint8_t> codes(size, 5 * offset + 1);
        for (std::size_t i = 0; i < size; ++i)
          x.span()[i] = inputs[(1000 + 37 * size + i) * 7 % inputs.size()];
        const std::span<const T> in = x.span();
        encode<backend>(codec, in, codes.span(), scale, 1);
        decode<backend>(codec.format, codes.span(), back.span(), 1, 1);
        quantize_dequantize<backend>(codec, in, y.span(), scale, 1);
        for (std::size_t i = 0; i < size; ++i) {
          const auto code = expected_code(codec, in[i], scale, i);
          ASSERT_EQ(codes.span()[i], code)
              << "size " << size << " offset " << offset << " at " << i;
          const T value = rounded_to<T>(oracle::values(codec.format)[code]);
          const T expected = expected_value(codec, in[i], scale, i);
          ASSERT_EQ((first_difference<T>(back.span().subspan(i, 1), std::span(&value, 1))), -1);
          ASSERT_EQ((first_difference<T>(y.span().subspan(i, 1), std::span(&expected, 1))), -1);
        }
        quantize_dequantize<backend>(codec, in, x.span(), scale, 1);
        ASSERT_EQ((first_difference<T>(x.span(), y.span())), -1) << "in place";
        ASSERT_TRUE(x.intact() && y.intact() && back.intact() && codes.intact())
            << "size " << size << " offset " << offset;
      }
  });
}

// ---- Amax --------------------------------------------------------------------------------------

template <class T>
Amax expected_amax(std::span<const T> x) {
  Amax result;
  for (const T value : x) {
    const float magnitude = std::abs(to_float(value));
    if (std::isfinite(magnitude))
      result.amax = std::max(result.amax, magnitude);
    else
      ++result.not_finite;
  }
  return result;
}

TYPED_TEST(FormatsArray, AmaxOfEveryPattern) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  auto x = test_inputs<T>();
  std::vector<T> small;
  for (const T value : x)
    if (!(std::abs(to_float(value)) >= 0x1p-14f)) small.push_back(value);  // keeps NaN
  const std::vector<T> nothing_finite{from_bits<T>(pattern(rounded_to<T>(INFINITY))),
                                      rounded_to<T>(-INFINITY), rounded_to<T>(NAN)};
  with_each_target<backend>([&] {
    for (const std::vector<T>& values : {x, small, nothing_finite, std::vector<T>{}})
      for (const int threads : {1, 2})
        EXPECT_EQ((amax<backend>(values, threads)), expected_amax<T>(values));
  });
}

TYPED_TEST(FormatsArray, AmaxSeesEveryPlace) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const double planted[] = {-448, 0x1p-24, INFINITY, -INFINITY, NAN};
  with_each_target<backend>([&] {
    for (std::size_t size = 0; size <= 200; ++size) {
      Guarded<T> x(size, size % 4);
      std::ranges::fill(x.span(), rounded_to<T>(-0.0));
      const std::span<const T> in = x.span();
      ASSERT_EQ((amax<backend>(in, 1)), Amax{}) << size;
      for (std::size_t i = 0; i < size; ++i) {
        x.span()[i] = rounded_to<T>(planted[(i + size) % std::size(planted)]);
        ASSERT_EQ((amax<backend>(in, 1)), expected_amax(in)) << size << " at " << i;
        x.span()[i] = T{};
      }
    }
    std::vector<T> large(1000003, rounded_to<T>(0x1p-20));
    for (const std::size_t i : {std::size_t{0}, large.size() / 2, large.size() - 1}) {
      large[i] = rounded_to<T>(-3.5);
      for (const int threads : {1, 2})
        EXPECT_EQ((amax<backend>(large, threads)), (Amax{3.5f, 0})) << i;
      large[i] = rounded_to<T>(0x1p-20);
    }
  });
}

// ---- Refused -----------------------------------------------------------------------------------

TYPED_TEST(FormatsArray, RefusesSizesThatDiffer) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const std::vector<T> x(5);
  std::vector<T> y(6);
  std::vector<std::uint8_t> codes(4);
  EXPECT_THROW((encode<backend>(Codec{}, x, codes)), std::invalid_argument);
  EXPECT_THROW((decode<backend>(Format::hif8, codes, y)), std::invalid_argument);
  EXPECT_THROW((quantize_dequantize<backend>(Codec{}, x, y)), std::invalid_argument);
}

TYPED_TEST(FormatsArray, RefusesARoundingThatTheFormatHasNot) {
  constexpr Backend backend = TypeParam::backend;
  using T = typename TypeParam::Type;
  const std::vector<T> x(5);
  std::vector<T> y(5);
  std::vector<std::uint8_t> codes(5);
  for (const Codec& codec : {Codec{Format::hif8, Rounding::floor},
                             {Format::e4m3, Rounding::hybrid},
                             {Format::e5m2, Rounding::ceil},
                             {Format::e8m0, Rounding::rne},
                             {Format::e8m0, Rounding::stochastic}}) {
    EXPECT_THROW((encode<backend>(codec, x, codes)), InputError);
    EXPECT_THROW((quantize_dequantize<backend>(codec, x, y)), InputError);
  }
}

TEST(FormatsCuda, SaysWhereItIsMissing) {
  if (cuda_status().available) GTEST_SKIP() << "there is a device";
  const std::vector<float> x(5);
  std::vector<std::uint8_t> codes(5);
  EXPECT_THROW((encode<Backend::cuda>(Codec{}, x, codes)), UnavailableError);
  EXPECT_THROW((amax<Backend::cuda>(x)), UnavailableError);
}

TEST(FormatsCost, CountsEachOperandOnce) {
  EXPECT_EQ(encode_cost(1000, 2).bytes, 3000);
  EXPECT_EQ(decode_cost(1000, 4).bytes, 5000);
  EXPECT_EQ(quantize_dequantize_cost(1000, 4).bytes, 8000);
  EXPECT_EQ(amax_cost(1000, 2).bytes, 2000);
  for (const Cost& cost :
       {encode_cost(9, 4), decode_cost(9, 4), quantize_dequantize_cost(9, 4), amax_cost(9, 4)})
    EXPECT_EQ(cost.flops, 0);
}

}  // namespace
}  // namespace ospsim
