// The scalar codecs against the oracle, on every input of 16 bits and every boundary of 32.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/codec.hpp"
#include "tests/kernels_ref/formats_support.hpp"

namespace ospsim {
namespace {

constexpr Format formats[] = {Format::hif8, Format::e4m3, Format::e5m2, Format::e8m0};

::testing::AssertionResult agrees(const Codec& codec, Source source, std::uint32_t bits) {
  return same_code(codec, bits, encode_bits(codec, source, bits),
                   oracle::encode(codec, source, bits));
}

std::uint8_t negated(Format format, std::uint8_t code) {
  const bool unsigned_code = format == Format::hif8 && (code == 0x00 || code == 0x80);
  return static_cast<std::uint8_t>(unsigned_code || format == Format::e8m0 ? code : code ^ 0x80);
}

// ---- Codes -------------------------------------------------------------------------------------

TEST(Formats, EveryCodeDecodesToItsValue) {
  for (const Format format : formats)
    for (std::uint32_t code = 0; code < 256; ++code) {
      const double expected = oracle::values(format)[code];
      const auto bits = decode_bits(format, static_cast<std::uint8_t>(code));
      if (std::isnan(expected)) {
        const bool negative = format != Format::hif8 && format != Format::e8m0 && code >= 0x80;
        EXPECT_EQ(bits, negative ? 0xffc00000u : 0x7fc00000u) << Hex{code};
      } else {
        EXPECT_EQ(bits, std::bit_cast<std::uint32_t>(static_cast<float>(expected))) << Hex{code};
        EXPECT_EQ(decode(format, static_cast<std::uint8_t>(code)), expected) << Hex{code};
      }
    }
}

TEST(Formats, EncodingAValueGivesBackItsCode) {
  // Published hybrid rounding is the exception: from float32 it moves values that have a code.
  for (const Codec& codec : oracle::codecs(true)) {
    if (codec.rounding == Rounding::hybrid) continue;
    for (std::uint32_t code = 0; code < 256; ++code) {
      const auto bits = decode_bits(codec.format, static_cast<std::uint8_t>(code));
      const double value = oracle::values(codec.format)[code];
      if (std::isinf(value) && codec.overflow == Overflow::saturate) continue;
      const std::uint8_t back = encode_bits(codec, Source::f32, bits);
      if (std::isnan(value))
        EXPECT_TRUE(std::isnan(oracle::values(codec.format)[back])) << Hex{code};
      else
        EXPECT_EQ(back, code) << oracle::describe(codec);
    }
  }
}

TEST(Formats, NanKeepsItsSignInFp8AndHasOneCodeElsewhere) {
  for (const Codec& codec : oracle::codecs(true))
    for (const std::uint32_t bits :
         {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffc00000u, 0xffffffffu}) {
      const std::uint8_t code = encode_bits(codec, Source::f32, bits);
      EXPECT_TRUE(std::isnan(oracle::values(codec.format)[code])) << oracle::describe(codec);
      if (codec.format == Format::e4m3 || codec.format == Format::e5m2) {
        EXPECT_EQ(code >> 7, bits >> 31);
      }
    }
}

TEST(Formats, CountsOfHif8) {
  int zeros = 0, nans = 0, infinities = 0;
  std::vector<double> finite;
  std::array<int, 4> binades{};
  for (std::uint32_t code = 0; code < 256; ++code) {
    const auto value = decode(Format::hif8, static_cast<std::uint8_t>(code));
    zeros += value == 0;
    nans += std::isnan(value);
    infinities += std::isinf(value);
    if (std::isfinite(value)) finite.push_back(value);
  }
  for (int e = -22; e <= 15; ++e) ++binades[static_cast<std::size_t>(hif8_fraction_bits(e))];
  EXPECT_EQ(zeros, 1);
  EXPECT_EQ(nans, 1);
  EXPECT_EQ(infinities, 2);
  std::ranges::sort(finite);
  EXPECT_EQ(std::ranges::adjacent_find(finite), finite.end());
  EXPECT_EQ(finite.size(), 253u);
  EXPECT_EQ(binades, (std::array{7, 16, 8, 7}));
}

// ---- Sources -----------------------------------------------------------------------------------

TEST(WideFloat, EveryPatternWidensToItsValue) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Bfloat16 b{static_cast<std::uint16_t>(bits)};
    const Float16 h{static_cast<std::uint16_t>(bits)};
    for (const auto& [wide, value] :
         {std::pair{float_bits(b), oracle::value_of(Source::bf16, bits)},
          {float_bits(h), oracle::value_of(Source::f16, bits)}}) {
      if (std::isnan(value)) {
        ASSERT_GT(wide & 0x7fffffffu, 0x7f800000u) << Hex{bits, 4};
        ASSERT_EQ(wide >> 31, bits >> 15) << Hex{bits, 4};
      } else {
        ASSERT_EQ(wide, std::bit_cast<std::uint32_t>(static_cast<float>(value))) << Hex{bits, 4};
      }
    }
    ASSERT_EQ(std::bit_cast<std::uint32_t>(to_float(b)), float_bits(b));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(to_float(h)), float_bits(h));
  }
}

TEST(WideFloat, RoundsToTheNearestOfSixteenBits) {
  std::vector<std::uint32_t> patterns = random_patterns(500000);
  for (const std::uint32_t bits : random_patterns(500000, 2))  // near float16's range
    patterns.push_back((bits & 0x807fffffu) | (127 - 26 + (bits >> 23 & 0xff) * 44 / 256) << 23);
  for (std::uint32_t high = 0; high < 0x10000; ++high) {
    for (const std::uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      patterns.push_back(high << 16 | low);
    // Midpoints of float16's numbers, subnormals included, and their neighbours.
    const double middle = (oracle::value_of(Source::f16, high & 0x7bff) +
                           oracle::value_of(Source::f16, (high & 0x7bff) + 1)) /
                          2;
    if (!std::isfinite(middle)) continue;
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(middle));
    for (const std::uint32_t near : {bits - 1, bits, bits + 1})
      patterns.push_back(near | (high & 0x8000) << 16);
  }
  for (const std::uint32_t bits : patterns) {
    const std::uint32_t b = to_bfloat16(std::bit_cast<float>(bits)).bits;
    const std::uint32_t h = to_float16(std::bit_cast<float>(bits)).bits;
    const double value = oracle::value_of(Source::f32, bits);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(oracle::value_of(Source::bf16, b))) << Hex{bits, 8};
      ASSERT_TRUE(std::isnan(oracle::value_of(Source::f16, h))) << Hex{bits, 8};
    } else {
      ASSERT_EQ(b, oracle::bf16_of(value)) << Hex{bits, 8};
      ASSERT_EQ(h, oracle::f16_of(value)) << Hex{bits, 8};
    }
  }
}

// ---- Encoding ----------------------------------------------------------------------------------

TEST(Formats, EverySixteenBitPattern) {
  for (const Codec& codec : oracle::codecs())
    for (const Source source : {Source::bf16, Source::f16})
      for (std::uint32_t bits = 0; bits < 0x10000; ++bits) ASSERT_TRUE(agrees(codec, source, bits));
}

TEST(Formats, EveryMidpointAndItsNeighbours) {
  for (const Codec& codec : oracle::codecs())
    for (const Format boundaries_of : formats)
      for (const std::uint32_t bits : float_boundaries(boundaries_of))
        ASSERT_TRUE(agrees(codec, Source::f32, bits));
}

TEST(Formats, RandomPatterns) {
  for (const Codec& codec : oracle::codecs())
    for (const std::uint32_t bits : random_patterns(500000))
      ASSERT_TRUE(agrees(codec, Source::f32, bits));
}

TEST(Formats, RandomPatternsNearOne) {
  // Uniform bits rarely fall inside a format's range.
  for (const Codec& codec : oracle::codecs())
    for (const std::uint32_t bits : random_patterns(500000, 2)) {
      const std::uint32_t exponent = 127 - 25 + (bits >> 23 & 0xff) * 43 / 256;
      ASSERT_TRUE(agrees(codec, Source::f32, (bits & 0x807fffffu) | exponent << 23));
    }
}

TEST(Formats, OverloadsTakeTheirOwnBits) {
  for (const Codec& codec : oracle::codecs(true))
    for (std::uint32_t bits = 0; bits < 0x10000; bits += 7) {
      const auto pattern = static_cast<std::uint16_t>(bits);
      ASSERT_EQ(encode(codec, Bfloat16{pattern}, bits),
                encode_bits(codec, Source::bf16, bits, bits));
      ASSERT_EQ(encode(codec, Float16{pattern}, bits), encode_bits(codec, Source::f16, bits, bits));
      ASSERT_EQ(encode(codec, std::bit_cast<float>(bits << 15), bits),
                encode_bits(codec, Source::f32, bits << 15, bits));
    }
}

TEST(Hif8, EveryFloat32SubnormalIsZero) {
  for (const Codec& codec : oracle::codecs(true)) {
    if (codec.format != Format::hif8) continue;
    const std::uint32_t step = codec.rounding == Rounding::ta ? 1 : 997;
    for (std::uint32_t fraction = 0; fraction < 0x800000; fraction += step)
      for (const std::uint32_t sign : {0u, 0x80000000u})
        ASSERT_EQ(encode_bits(codec, Source::f32, sign | fraction), 0x00) << Hex{fraction, 8};
  }
}

TEST(Hif8, NegativeZeroDoesNotExist) {
  for (const Codec& codec : oracle::codecs(true)) {
    if (codec.format != Format::hif8) continue;
    for (const Source source : sources) {
      EXPECT_EQ(encode_bits(codec, source, source == Source::f32 ? 0x80000000u : 0x8000u), 0x00);
    }
    for (std::uint32_t biased = 1; biased < 127 - 24; ++biased)
      EXPECT_EQ(encode_bits(codec, Source::f32, 0x80000000u | biased << 23 | 0x7fffff), 0x00);
  }
}

// ---- Properties --------------------------------------------------------------------------------

TEST(Formats, Symmetric) {
  for (const Codec& codec : oracle::codecs(true))
    for (const Source source : {Source::bf16, Source::f16})
      for (std::uint32_t bits = 0; bits < 0x8000; ++bits)
        ASSERT_EQ(encode_bits(codec, source, bits | 0x8000, bits),
                  negated(codec.format, encode_bits(codec, source, bits, bits)))
            << oracle::describe(codec) << Hex{bits, 4};
}

TEST(Formats, Monotone) {
  // The hybrid roundings are not: they compare bits of the same number. Stochastic rounding is for
  // one and the same draw.
  std::vector<std::uint32_t> magnitudes;
  for (std::uint32_t bits = 0; bits <= 0x7f800000u; bits += 0x101) magnitudes.push_back(bits);
  magnitudes.push_back(0x7f800000u);
  for (const Codec& codec : oracle::codecs(true)) {
    if (codec.rounding == Rounding::hybrid || codec.rounding == Rounding::hybrid_exact) continue;
    double before = 0;
    for (const std::uint32_t bits : magnitudes) {
      const double value =
          oracle::values(codec.format)[encode_bits(codec, Source::f32, bits, 12345)];
      if (std::isnan(value)) break;  // the overflow of a format that has no Inf
      ASSERT_GE(value, before) << oracle::describe(codec) << Hex{bits, 8};
      before = value;
    }
  }
}

TEST(Formats, WideningFirstChangesNothingButHybridRounding) {
  int hybrid_differences = 0;
  for (const Codec& codec : oracle::codecs(true))
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto pattern = static_cast<std::uint16_t>(bits);
      const bool b = encode_bits(codec, Source::bf16, bits, bits) ==
                     encode_bits(codec, Source::f32, float_bits(Bfloat16{pattern}), bits);
      const bool h = encode_bits(codec, Source::f16, bits, bits) ==
                     encode_bits(codec, Source::f32, float_bits(Float16{pattern}), bits);
      if (codec.rounding == Rounding::hybrid || codec.rounding == Rounding::hybrid_exact)
        hybrid_differences += !b + !h;
      else
        ASSERT_TRUE(b && h) << oracle::describe(codec) << Hex{bits, 4};
    }
  EXPECT_GT(hybrid_differences, 1000);
}

TEST(Formats, RunAtCompileTime) {
  static_assert(encode(Codec{}, 1.0f) == 0x08);
  static_assert(encode(Codec{}, -0.0f) == 0x00);
  static_assert(encode({Format::hif8, Rounding::hybrid}, 16.0f) == 0x41);
  static_assert(encode({Format::hif8, Rounding::stochastic}, 16.0f) == 0x40);
  static_assert(encode({Format::e4m3, Rounding::rne}, Bfloat16{0x3f80}) == 0x38);
  static_assert(encode({Format::e5m2, Rounding::rne}, Float16{0x3c00}) == 0x3c);
  static_assert(encode({Format::e8m0, Rounding::ceil}, 3.0f) == 0x81);
  static_assert(decode(Format::hif8, 0x6e) == 32768.0f);
  static_assert(decode(Format::e4m3, 0x01) == 0x1p-9f);
  static_assert(decode(Format::e5m2, 0x7b) == 57344.0f);
  static_assert(decode_bits(Format::e8m0, 0x00) == 0x00400000u);
  static_assert(hif8_fraction_bits(-16) == 0);
  static_assert(to_bfloat16(1.00390625f).bits == 0x3f80);
}

// ---- What a format can do ----------------------------------------------------------------------

TEST(Format, RoundingsAndDefaults) {
  EXPECT_EQ(default_rounding(Format::hif8), Rounding::ta);
  EXPECT_EQ(default_rounding(Format::e4m3), Rounding::rne);
  EXPECT_EQ(default_rounding(Format::e5m2), Rounding::rne);
  EXPECT_EQ(default_rounding(Format::e8m0), Rounding::floor);
  const auto all = oracle::codecs(true);
  for (const Format format : formats) {
    for (int r = 0; r <= static_cast<int>(Rounding::ceil); ++r) {
      const Codec codec{format, static_cast<Rounding>(r)};
      const bool possible = std::ranges::any_of(all, [&](const Codec& c) {
        return c.format == codec.format && c.rounding == codec.rounding;
      });
      EXPECT_EQ(std::ranges::count(roundings_of(format), codec.rounding), possible);
      if (possible)
        EXPECT_NO_THROW(check_codec(codec));
      else
        EXPECT_THROW(check_codec(codec), InputError) << oracle::describe(codec);
    }
    const auto ladder = oracle::ladder(format);
    EXPECT_EQ(largest(format), ladder[ladder.size() - 2]);
  }
}

TEST(Format, NamesAreThoseOfTheEnumerators) {
  EXPECT_EQ(parse_rounding("hybrid-exact"), Rounding::hybrid_exact);
  EXPECT_EQ(parse_overflow("ieee"), Overflow::ieee);
  EXPECT_EQ(parse_overflow("saturate"), Overflow::saturate);
  EXPECT_EQ(parse_source("f32"), Source::f32);
  EXPECT_EQ(parse_source("bf16"), Source::bf16);
  EXPECT_EQ(parse_source("f16"), Source::f16);
  for (const Format format : formats) {
    EXPECT_EQ(parse_format(to_string(format)), format);
    for (const Rounding rounding : roundings_of(format))
      EXPECT_EQ(parse_rounding(to_string(rounding)), rounding);
  }
  for (const char* text : {"", "HIF8", "hif8 ", "e4m3fn", "hybrid_exact", "f64", "none"}) {
    EXPECT_THROW(parse_format(text), InputError) << text;
    EXPECT_THROW(parse_rounding(text), InputError) << text;
    EXPECT_THROW(parse_overflow(text), InputError) << text;
    EXPECT_THROW(parse_source(text), InputError) << text;
  }
}

}  // namespace
}  // namespace ospsim
