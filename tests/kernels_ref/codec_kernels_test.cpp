// The kernels of the codecs against the scalar codec, bit by bit, NaNs included.

#include <gtest/gtest.h>

#include <utility>

#include "kernels_ref/formats/block_codec_kernels.hpp"
#include "tests/kernels_ref/formats_array_support.hpp"
#include "tests/kernels_ref/host_launch.hpp"

namespace ospsim {
namespace {

/// As tensors are scaled, powers of two, negative, and so large or small that products and
/// quotients overflow and underflow.
constexpr float scales[] = {1, 15 / 3.7f, 0x1p-9f, 0x1p100f, -3.1f, 3e38f, 0x1p-140f};
constexpr std::size_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 255, 256, 257, 4099};
constexpr Format formats[] = {Format::hif8, Format::e4m3, Format::e5m2, Format::e8m0};

/// Every codec, with a place in a longer sequence of random numbers.
std::vector<Codec> codecs() {
  auto codecs = oracle::codecs(true);
  for (Codec& codec : codecs) codec.seed = 5, codec.first_element = (1ull << 32) - 100;
  return codecs;
}
template <class T>
bool fits(Format format) {
  return format != Format::e8m0 || !std::is_same_v<T, Float16>;
}

template <class T, class Result>
void quantize(const Codec& codec, std::span<const T> x, std::span<Result> to,
              const TensorScale& scale, LaneOrder order = LaneOrder::ascending) {
  with_quantize(codec, x.data(), to.data(), std::ssize(x), scale,
                [&](const auto& kernel) { host_launch(kernel, order); });
}
template <class T>
void quantize_in_place(const Codec& codec, std::span<T> x, const TensorScale& scale) {
  quantize(codec, std::span<const T>(x), x, scale);
}

template <class T>
std::vector<std::uint8_t> expected_codes(const Codec& codec, std::span<const T> x, float scale) {
  std::vector<std::uint8_t> codes(x.size());
  encode_elements<T>(codec, x, codes, scale);
  return codes;
}
template <class T>
std::vector<T> expected_values(Format format, std::span<const std::uint8_t> codes, float scale) {
  std::vector<T> values(codes.size());
  decode_elements<T>(format, codes, values, scale);
  return values;
}

template <class T>
std::uint32_t bits_at(std::span<T> x, std::size_t i) {
  if constexpr (std::is_integral_v<std::remove_const_t<T>>)
    return static_cast<std::uint8_t>(x[i]);
  else
    return pattern(x[i]);
}

template <class T>
::testing::AssertionResult same_bits(std::span<T> got, const std::vector<T>& expected) {
  if (got.size() != expected.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (std::size_t i = 0; i < got.size(); ++i)
    if (bits_at(got, i) != bits_at(std::span(expected), i))
      return ::testing::AssertionFailure() << "element " << i << " is " << Hex{bits_at(got, i), 8}
                                           << ", not " << Hex{bits_at(std::span(expected), i), 8};
  return ::testing::AssertionSuccess();
}

template <class T>
void expect_like_the_scalar_codec(const Codec& codec, std::span<const T> x, float scale) {
  const auto expected = expected_codes(codec, x, scale);
  std::vector<std::uint8_t> codes(x.size(), 0x5a);
  quantize(codec, x, std::span(codes), {.value = scale});
  ASSERT_TRUE(same_bits(std::span(codes), expected))
      << oracle::describe(codec) << " times " << scale;
  if (!fits<T>(codec.format)) return;
  std::vector<T> values(x.size(), from_bits<T>(0x5a5a));
  quantize(codec, x, std::span(values), {.value = scale});
  ASSERT_TRUE(same_bits(std::span(values), expected_values<T>(codec.format, expected, scale)))
      << oracle::describe(codec) << " times " << scale << " and back";
}

template <class T>
class CodecKernels : public ::testing::Test {};
using Types = ::testing::Types<float, Bfloat16, Float16>;
struct TypeName {
  template <class T>
  static std::string GetName(int) {
    return CaseName::GetName<Case<Backend::cuda, T>>(0).substr(4);
  }
};
TYPED_TEST_SUITE(CodecKernels, Types, TypeName);

TYPED_TEST(CodecKernels, QuantizeEveryPatternLikeTheScalarCodec) {
  const auto x = test_inputs<TypeParam>();
  for (const Codec& codec : codecs())
    for (const float scale : scales) {
      expect_like_the_scalar_codec<TypeParam>(codec, x, scale);
      if (this->HasFatalFailure()) return;
    }
}

TEST(CodecKernelsFloat, QuantizeAMillionRandomPatternsLikeTheScalarCodec) {
  std::vector<float> x;
  for (const std::uint32_t bits : random_patterns(1000003)) x.push_back(std::bit_cast<float>(bits));
  for (const Codec& codec : codecs())
    if (codec.rounding == Rounding::ta || codec.rounding == Rounding::rne) {
      expect_like_the_scalar_codec<float>(codec, x, 1);
      if (HasFatalFailure()) return;
    }
}

TYPED_TEST(CodecKernels, QuantizeAnySizeAtAnyOffsetInAnyOrder) {
  using T = TypeParam;
  const auto inputs = test_inputs<T>();
  const Codec some[] = {{Format::hif8, Rounding::ta, Overflow::ieee},
                        {Format::hif8, Rounding::hybrid, Overflow::saturate},
                        {Format::e4m3, Rounding::stochastic, Overflow::saturate, 3, 17},
                        {Format::e5m2, Rounding::rne, Overflow::ieee}};
  for (const Codec& codec : some)
    for (const std::size_t size : sizes)
      for (const auto& [offset, to_offset] : {std::pair(0u, 0u), {1u, 0u}, {0u, 3u}}) {
        SCOPED_TRACE(oracle::describe(codec) + " size " + std::to_string(size) + " offsets " +
                     std::to_string(offset) + ' ' + std::to_string(to_offset));
        const float scale = size % 2 == 0 ? 1.0f : 0.7f;
        Guarded<T> x(size, offset);
        for (std::size_t i = 0; i < size; ++i)
          x.span()[i] = inputs[(1000 + 37 * size + i) * 7 % inputs.size()];
        const std::span<const T> in = x.span();
        const auto expected = expected_codes(codec, in, scale);
        const auto expected_back = expected_values<T>(codec.format, expected, scale);
        for (const LaneOrder order : lane_orders) {
          Guarded<std::uint8_t> codes(size, to_offset);
          Guarded<T> back(size, to_offset);
          quantize(codec, in, codes.span(), {.value = scale}, order);
          quantize(codec, in, back.span(), {.value = scale}, order);
          ASSERT_TRUE(same_bits(codes.span(), expected));
          ASSERT_TRUE(same_bits(back.span(), expected_back));
          ASSERT_TRUE(codes.intact() && back.intact());
        }
        quantize_in_place(codec, x.span(), {.value = scale});
        ASSERT_TRUE(same_bits(x.span(), expected_back)) << "in place";
        ASSERT_TRUE(x.intact());
      }
}

template <class T>
void expect_decoded(Format format, std::size_t size, std::size_t offset, float scale,
                    LaneOrder order) {
  Guarded<std::uint8_t> codes(size, offset);
  for (std::size_t i = 0; i < size; ++i)
    codes.span()[i] = static_cast<std::uint8_t>(i + i / 256);  // each code in each place of a pack
  Guarded<T> x(size, offset / 2);
  host_launch(Dequantize<T>{format,
                            codes.span().data(),
                            x.span().data(),
                            static_cast<std::int64_t>(size),
                            {.value = scale}},
              order);
  ASSERT_TRUE(same_bits(x.span(), expected_values<T>(format, codes.span(), scale)))
      << to_string(format) << " / " << scale << " size " << size << " offset " << offset;
  ASSERT_TRUE(x.intact());
}

TYPED_TEST(CodecKernels, DequantizeLikeTheScalarCodec) {
  for (const Format format : formats) {
    if (!fits<TypeParam>(format)) continue;
    for (const float scale : scales)
      expect_decoded<TypeParam>(format, 4099, 0, scale, LaneOrder::ascending);
    for (const std::size_t size : sizes)
      for (const std::size_t offset : {0u, 1u, 4u})
        for (const LaneOrder order : lane_orders)
          expect_decoded<TypeParam>(format, size, offset, 0.7f, order);
    if (this->HasFatalFailure()) return;
  }
}

TEST(CodecKernelsFloat, GoOnWhereTheGridEnds) {
  const Codec codec{Format::hif8, Rounding::ta, Overflow::saturate};
  std::vector<float> x;
  for (const std::uint32_t bits : random_patterns(2 * 132 * 1024 * 16 + 8195, 3))
    x.push_back(std::bit_cast<float>((bits & 0x807fffffu) | (120 + (bits >> 23 & 7)) << 23));
  x.back() = NAN;
  const std::span<const float> in = x;
  const auto expected = expected_codes(codec, in, 3);
  std::vector<std::uint8_t> codes(x.size());
  quantize(codec, in, std::span(codes), {.value = 3});
  EXPECT_TRUE(same_bits(std::span(codes), expected));
  std::vector<float> back(x.size());
  host_launch(
      Dequantize<float>{codec.format, codes.data(), back.data(), std::ssize(x), {.value = 3}});
  EXPECT_TRUE(same_bits(std::span(back), expected_values<float>(codec.format, expected, 3)));
  DeviceAmax found;
  host_launch(FindAmax<float>{x.data(), &found, std::ssize(x)});
  EXPECT_EQ(
      (Amax{std::bit_cast<float>(found.largest), static_cast<std::int64_t>(found.not_finite)}),
      amax_of_elements(in));
}

TEST(CodecKernelsFloat, CountBlocksInSixtyFourBits) {
  const std::int64_t n = std::int64_t{5} << 31;
  EXPECT_EQ((Quantize<float, Way::ties_away, float>{.n = n}.blocks()), 264);
  EXPECT_EQ(Dequantize<float>{.n = n}.blocks(), 264);
  EXPECT_EQ(FindAmax<float>{.n = n}.blocks(), 528);
  EXPECT_EQ(Int8Decode<float>{.n = n}.blocks(), n / 256);
  EXPECT_EQ((Quantize<Bfloat16, Way::ties_away, std::uint8_t>{.n = n}.cost().bytes),
            encode_cost(n, 2).bytes);
  EXPECT_EQ(Dequantize<Float16>{.n = n}.cost().bytes, decode_cost(n, 2).bytes);
  EXPECT_EQ(FindAmax<float>{.n = n}.cost().bytes, amax_cost(n, 4).bytes);
}

// ---- Amax and the scale from it
// ------------------------------------------------------------------

template <class T>
Amax found_amax(std::span<const T> x, LaneOrder order = LaneOrder::ascending,
                DeviceAmax found = {}) {
  host_launch(FindAmax<T>{x.data(), &found, std::ssize(x)}, order);
  return {std::bit_cast<float>(found.largest), static_cast<std::int64_t>(found.not_finite)};
}

TYPED_TEST(CodecKernels, AmaxOfAnySizeAtAnyOffset) {
  using T = TypeParam;
  const auto inputs = test_inputs<T>();
  EXPECT_EQ(found_amax<T>(inputs), amax_of_elements<T>(inputs));
  for (const bool small : {true, false})
    for (const std::size_t size : sizes)
      for (const std::size_t offset : {0u, 1u, 8u}) {
        Guarded<T> x(size, offset);
        for (std::size_t i = 0; i < size; ++i) {
          T& to = x.span()[i] = inputs[(31 * size + i) * 7 % inputs.size()];
          if (small && !(std::abs(to_float(to)) < 3)) to = rounded_to<T>(-0x1p-20);
        }
        const std::span<const T> in = x.span();
        for (const LaneOrder order : lane_orders)
          ASSERT_EQ(found_amax(in, order), amax_of_elements(in)) << size << " at " << offset;
      }
}

TYPED_TEST(CodecKernels, AmaxSeesEveryPlaceAndAddsUp) {
  using T = TypeParam;
  const double planted[] = {-448, 0x1p-24, INFINITY, -INFINITY, NAN};
  std::vector<T> x(503, rounded_to<T>(-0.0));
  const std::span<const T> in = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = rounded_to<T>(planted[i % std::size(planted)]);
    ASSERT_EQ(found_amax(in), amax_of_elements(in)) << i;
    x[i] = T{};
  }
  x = {rounded_to<T>(2), rounded_to<T>(NAN)};
  const auto before = [](float amax) { return DeviceAmax{std::bit_cast<std::uint32_t>(amax), 5}; };
  EXPECT_EQ(found_amax<T>(x, LaneOrder::ascending, before(3)), (Amax{3, 6}));
  EXPECT_EQ(found_amax<T>(x, LaneOrder::ascending, before(1)), (Amax{2, 6}));
}

TYPED_TEST(CodecKernels, ScaleFollowsFromTheAmaxOnTheDevice) {
  using T = TypeParam;
  Quantization pow2{.number = NumberFormat::e4m3, .power_of_two = true, .target = 448};
  for (const Quantization& recipe : {paper_forward(), paper_backward(), pow2})
    for (const double largest : {3.7, 0.01, 60000.0, 0.0, 0x1p-20, 0x1p-24, double{INFINITY}}) {
      std::vector<T> x(1000);
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = rounded_to<T>(
            static_cast<double>(static_cast<float>(std::sin(static_cast<double>(i)) * largest)));
      x[17] = rounded_to<T>(NAN);
      const std::span<const T> in = x;
      const Codec codec{recipe.number == NumberFormat::hif8 ? Format::hif8 : Format::e4m3,
                        recipe.number == NumberFormat::hif8 ? Rounding::ta : Rounding::rne,
                        Overflow::saturate};
      DeviceAmax found;
      host_launch(FindAmax<T>{x.data(), &found, std::ssize(x)});
      const TensorScale fused{.amax = &found, .recipe = recipe};
      const float scale = scale_of(recipe, amax_of_elements(in).amax);
      ASSERT_EQ(fused.get(), scale);
      std::vector<std::uint8_t> codes(x.size());
      std::vector<T> y(x.size()), decoded(x.size());
      quantize(codec, in, std::span(codes), fused);
      quantize(codec, in, std::span(y), fused);
      host_launch(Dequantize<T>{codec.format, codes.data(), decoded.data(), std::ssize(x), fused});
      const auto expected = expected_codes(codec, in, scale);
      const auto expected_y = expected_values<T>(codec.format, expected, scale);
      ASSERT_TRUE(same_bits(std::span(codes), expected)) << scaling_name(recipe) << largest;
      ASSERT_TRUE(same_bits(std::span(y), expected_y)) << scaling_name(recipe) << largest;
      ASSERT_TRUE(same_bits(std::span(decoded), expected_y)) << scaling_name(recipe) << largest;
    }
}

// ---- Places
// --------------------------------------------------------------------------------------

template <bool even>
void expect_places_in_order(Format format) {
  using namespace codec_detail;
  const auto place = [&](std::uint32_t bits) {
    return place_of<even>(step_of<even>(format, bits >> 23), bits);
  };
  const auto ladder = oracle::ladder(format);
  const std::size_t count = ladder.size() - 1;  // the last is too large
  for (std::size_t i = 0; i < count; ++i)
    EXPECT_EQ(place(std::bit_cast<std::uint32_t>(static_cast<float>(ladder[i]))), i)
        << to_string(format) << ' ' << ladder[i];
  const std::uint32_t infinity = infinity_place(format);
  EXPECT_GE(infinity, count);
  for (const std::uint32_t bits : {0x48000000u, 0x7f7fffffu, 0x7f800000u})
    EXPECT_EQ(place(bits), infinity);
  for (const std::uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu})
    EXPECT_EQ(place(bits), infinity + 1);
}

TEST(Places, CountTheNumbersOfAFormat) {
  for (const Format format : {Format::hif8, Format::e4m3, Format::e5m2}) {
    expect_places_in_order<false>(format);
    expect_places_in_order<true>(format);
  }
}

// ---- MXFP8 and INT8
// ------------------------------------------------------------------------------

TYPED_TEST(CodecKernels, MxLikeItsDefinition) {
  using T = TypeParam;
  auto inputs = test_inputs<T>();
  for (const Format element : {Format::e4m3, Format::e5m2})
    for (const std::int64_t columns : {1, 31, 32, 33, 100}) {
      const MxCodec codec{element, MxRule::ratio};
      const std::int64_t rows = 11;
      const auto n = static_cast<std::size_t>(rows * columns);
      const auto x = std::span<const T>(inputs).subspan(20000, n);
      const MxTensor expected = expected_mx(codec, static_cast<std::size_t>(columns), x);
      Guarded<std::uint8_t> codes(n, 1), scale_codes(expected.scales.size(), 1);
      host_launch(MxEncode<T>{codec, rows, columns, x.data(), codes.span().data(),
                              scale_codes.span().data()});
      ASSERT_TRUE(codes.intact() && scale_codes.intact());
      ASSERT_TRUE(same_bits(scale_codes.span(), expected.scales));
      for (std::size_t i = 0; i < n; ++i)
        ASSERT_TRUE(oracle::same(element, codes.span()[i], expected.codes[i])) << i;
      Guarded<T> back(n, 1);
      host_launch(MxDecode<T>{element, rows, columns, codes.span().data(),
                              scale_codes.span().data(), back.span().data()});
      ASSERT_TRUE(back.intact());
      const auto blocks_of_row = static_cast<std::size_t>(mx_scale_count(1, columns));
      const auto width = static_cast<std::size_t>(columns);
      for (std::size_t i = 0; i < n; ++i) {
        const auto block = i / width * blocks_of_row + i % width / 32;
        const T value = rounded_to<T>(static_cast<double>(
            static_cast<float>(oracle::values(element)[codes.span()[i]] *
                               oracle::values(Format::e8m0)[scale_codes.span()[block]])));
        ASSERT_EQ(first_difference<T>(std::span(&value, 1), back.span().subspan(i, 1)), -1) << i;
      }
    }
}

TYPED_TEST(CodecKernels, Int8LikeItsDefinition) {
  using T = TypeParam;
  const auto inputs = test_inputs<T>();
  for (const float scale : {1.0f, 0.013f, 1e5f}) {
    std::vector<std::int8_t> expected(inputs.size());
    int8_encode_elements<T>(inputs, scale, expected);
    Guarded<std::int8_t> q(inputs.size(), 1);
    host_launch(Int8Encode<T>{scale, inputs.data(), q.span().data(), std::ssize(inputs)});
    ASSERT_TRUE(q.intact());
    ASSERT_TRUE(same_bits(q.span(), expected));
    std::vector<T> expected_back(inputs.size());
    int8_decode_elements<T>(expected, scale, expected_back);
    Guarded<T> back(inputs.size(), 1);
    host_launch(Int8Decode<T>{scale, expected.data(), back.span().data(), std::ssize(inputs)});
    ASSERT_TRUE(back.intact());
    ASSERT_TRUE(same_bits(back.span(), expected_back));
  }
}

}  // namespace
}  // namespace ospsim
