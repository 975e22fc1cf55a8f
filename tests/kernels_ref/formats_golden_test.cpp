// Golden rows, written out: the special codes and thresholds of the formats, and the inputs on
// which public implementations of HiF8 differ from the format's definition or from each other.

#include <gtest/gtest.h>

#include <cmath>

#include "kernels_ref/formats/codec.hpp"
#include "tests/kernels_ref/formats_support.hpp"

namespace ospsim {
namespace {

using enum Source;

constexpr Codec hif8{Format::hif8, Rounding::ta, Overflow::ieee};
constexpr Codec hif8_saturate{Format::hif8, Rounding::ta, Overflow::saturate};
constexpr Codec hybrid{Format::hif8, Rounding::hybrid, Overflow::ieee};
constexpr Codec hybrid_saturate{Format::hif8, Rounding::hybrid, Overflow::saturate};
constexpr Codec hybrid_exact{Format::hif8, Rounding::hybrid_exact, Overflow::ieee};
constexpr Codec hybrid_exact_saturate{Format::hif8, Rounding::hybrid_exact, Overflow::saturate};
constexpr Codec e4m3{Format::e4m3, Rounding::rne, Overflow::ieee};
constexpr Codec e4m3_saturate{Format::e4m3, Rounding::rne, Overflow::saturate};
constexpr Codec e5m2{Format::e5m2, Rounding::rne, Overflow::ieee};
constexpr Codec e5m2_saturate{Format::e5m2, Rounding::rne, Overflow::saturate};
constexpr Codec e8m0{Format::e8m0, Rounding::floor, Overflow::ieee};
constexpr Codec e8m0_saturate{Format::e8m0, Rounding::floor, Overflow::saturate};
constexpr Codec e8m0_ceil{Format::e8m0, Rounding::ceil, Overflow::ieee};
constexpr Codec e8m0_ceil_saturate{Format::e8m0, Rounding::ceil, Overflow::saturate};

struct Row {
  Codec codec;
  Source source;
  std::uint32_t bits;
  std::uint8_t code;
};

void expect_rows(std::initializer_list<Row> rows) {
  for (const auto& [codec, source, bits, code] : rows) {
    EXPECT_TRUE(same_code(codec, bits, encode_bits(codec, source, bits), code));
    // The oracle is held to the same rows.
    EXPECT_TRUE(same_code(codec, bits, oracle::encode(codec, source, bits), code)) << "oracle";
  }
}

std::uint32_t bits_of(float x) {
  return std::bit_cast<std::uint32_t>(x);
}

TEST(Hif8, SpecialCodes) {
  struct Named {
    std::uint8_t code;
    float value;
  };
  for (const auto& [code, value] : {Named{0x00, 0},
                                    {0x6f, INFINITY},
                                    {0xef, -INFINITY},
                                    {0x6e, 32768},
                                    {0xee, -32768},
                                    {0x7e, 0x1p-15f},
                                    {0xfe, -0x1p-15f},
                                    {0x07, 0x1p-16f},
                                    {0x87, -0x1p-16f},
                                    {0x01, 0x1p-22f},
                                    {0x81, -0x1p-22f},
                                    {0x08, 1},
                                    {0x2f, 15},
                                    {0x4f, 224}}) {
    EXPECT_EQ(decode_bits(Format::hif8, code), bits_of(value)) << Hex{code};
    expect_rows({{hif8, f32, bits_of(value), code}});
  }
  EXPECT_TRUE(std::isnan(decode(Format::hif8, 0x80)));
  expect_rows({{hif8, f32, 0x7fc00000, 0x80}, {hif8, f32, 0xffc00000, 0x80}});
}

TEST(Hif8, BaseCodeOfEveryExponent) {
  constexpr std::uint8_t base[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,         // -22..-16
                                   0x7e, 0x7c, 0x7a, 0x78, 0x76, 0x74, 0x72, 0x70,   // -15..-8
                                   0x5c, 0x58, 0x54, 0x50,                           // -7..-4
                                   0x38, 0x30, 0x18, 0x08, 0x10, 0x20, 0x28,         // -3..3
                                   0x40, 0x44, 0x48, 0x4c,                           // 4..7
                                   0x60, 0x62, 0x64, 0x66, 0x68, 0x6a, 0x6c, 0x6e};  // 8..15
  for (int e = -22; e <= 15; ++e) EXPECT_EQ(encode(hif8, std::ldexp(1.0f, e)), base[e + 22]) << e;
}

TEST(Hif8, ThresholdsOfRoundingAwayFromZero) {
  expect_rows({{hif8, f32, 0x33ffffff, 0x00},
               {hif8, f32, 0x34000000, 0x01},
               {hif8, f32, 0x34bfffff, 0x01},
               {hif8, f32, 0x34c00000, 0x02},
               {hif8, f32, 0x46dfffff, 0x6d},
               {hif8, f32, 0x46e00000, 0x6e},
               {hif8, f32, 0x471fffff, 0x6e},
               {hif8, f32, 0x47200000, 0x6f},
               {hif8_saturate, f32, 0x47200000, 0x6e},
               {hif8, f32, 0xb3ffffff, 0x00},
               {hif8, f32, 0xb4000000, 0x81},
               {hif8, f32, 0xc7200000, 0xef},
               {hif8_saturate, f32, 0xc7200000, 0xee},
               {hif8, bf16, 0x33ff, 0x00},
               {hif8, bf16, 0x3400, 0x01},
               {hif8, bf16, 0x34bf, 0x01},
               {hif8, bf16, 0x34c0, 0x02},
               {hif8, bf16, 0x46df, 0x6d},
               {hif8, bf16, 0x46e0, 0x6e},
               {hif8, bf16, 0x471f, 0x6e},
               {hif8, bf16, 0x4720, 0x6f},
               {hif8_saturate, bf16, 0x4720, 0x6e},
               {hif8, f16, 0x0001, 0x00},
               {hif8, f16, 0x0002, 0x01},
               {hif8, f16, 0x0005, 0x01},
               {hif8, f16, 0x0006, 0x02},
               {hif8, f16, 0x76ff, 0x6d},
               {hif8, f16, 0x7700, 0x6e},
               {hif8, f16, 0x78ff, 0x6e},
               {hif8, f16, 0x7900, 0x6f},
               {hif8, f16, 0x7bff, 0x6f},
               {hif8_saturate, f16, 0x7bff, 0x6e}});
}

TEST(Hif8, PublicImplementationsTraps) {
  expect_rows({
      // An 8-bit exponent wraps on float32 subnormals, which then become Inf.
      {hif8, f32, 0x00000001, 0x00},
      {hif8, f32, 0x001fffff, 0x00},
      {hif8, f32, 0x80000001, 0x00},
      {hif8, f32, 0x801fffff, 0x00},
      {hif8, bf16, 0x0001, 0x00},
      {hif8, bf16, 0x001f, 0x00},
      {hif8, bf16, 0x8001, 0x00},
      {hif8, bf16, 0x801f, 0x00},
      // The tie between zero and the smallest number goes up.
      {hif8, f32, 0x34000000, 0x01},
      {hif8, f32, 0xb4000000, 0x81},
      // Saturation applies to what rounds into Inf's code as well as to what lies beyond it.
      {hif8_saturate, f32, 0x47200000, 0x6e},
      {hif8_saturate, f32, 0x473fffff, 0x6e},
      {hif8_saturate, f32, 0x47400000, 0x6e},
      {hif8_saturate, f32, 0x7f800000, 0x6e},
      {hif8_saturate, f32, 0xff800000, 0xee},
      {hif8_saturate, f32, 0x7fc00000, 0x80},
      // Rounding, not truncation; 32768 is not the last number that rounds to 32768.
      {hif8, f32, bits_of(1.0625f), 0x09},
      {hif8, f32, 0x34400000, 0x01},
      {hif8, f32, 0x47000001, 0x6e},
      {hif8, f32, 0x471fffff, 0x6e},
      // The range ends, on both sides.
      {hif8, f32, bits_of(40960), 0x6f},
      {hif8, f32, bits_of(49151), 0x6f},
      {hif8, f32, bits_of(57344), 0x6f},
      {hif8, f32, bits_of(1e6f), 0x6f},
      {hif8, f32, bits_of(0x1p-24f), 0x00},
      {hif8, f32, bits_of(0x1p-30f), 0x00},
      {hif8, f32, bits_of(0x1p-46f), 0x00},
      {hif8, f32, bits_of(0x1.4p-23f), 0x01},
      {hif8, f32, 0x7f800000, 0x6f},
      {hif8, f32, 0xff800000, 0xef},
      // float16 subnormals are numbers like others: 2^-16 and 2^-17.
      {hif8, f16, 0x0100, 0x07},
      {hif8, f16, 0x0080, 0x06},
      // NaN stays NaN, whatever its sign and payload.
      {hif8, f32, 0x7f800001, 0x80},
      {hif8, f32, 0xffffffff, 0x80},
      {hif8, bf16, 0xffc0, 0x80},
      {hif8, f16, 0x7c01, 0x80},
      // Flipping the sign bit of zero's code would make it NaN's.
      {hif8, f32, 0x80000000, 0x00},
      {hif8, bf16, 0x8000, 0x00},
      {hif8, f16, 0x8000, 0x00},
      // "15" and "224" are targets of scaling; the largest number is 32768.
      {hif8, f32, bits_of(15), 0x2f},
      {hif8, f32, bits_of(224), 0x4f},
      {hif8, f32, bits_of(32768), 0x6e},
  });
  EXPECT_EQ(decode(Format::e5m2, 0x03), 0x1.8p-15f);  // E5M2's largest subnormal
}

TEST(Hif8, HybridRoundingAsPublished) {
  expect_rows({
      // All discarded bits and the trailing 14 of the source are 0, and 0 >= 0 counts as up.
      {hybrid, f32, 0x41800000, 0x41},
      {hybrid, f32, 0x34800000, 0x02},
      {hybrid, f32, 0x47000000, 0x6f},
      {hybrid_saturate, f32, 0x47000000, 0x6e},
      {hybrid, f32, 0xc7000000, 0xef},
      {hybrid_saturate, f32, 0xc7000000, 0xee},
      {hybrid_exact, f32, 0x41800000, 0x40},
      {hybrid_exact, f32, 0x34800000, 0x01},
      {hybrid_exact, f32, 0x47000000, 0x6e},
      {hybrid_exact_saturate, f32, 0x47000000, 0x6e},
      // Round-ups into Inf's code are clamped too.
      {hybrid_exact, f32, 0x47100000, 0x6f},
      {hybrid_exact_saturate, f32, 0x47100000, 0x6e},
      // F = 0x2000 against T, on both sides; the low bits decide, not the value.
      {hybrid, f32, 0x41902000, 0x41},
      {hybrid, f32, 0x41903fff, 0x40},
      {hybrid, f32, 0x41900000, 0x41},
      {hybrid_exact, f32, 0x41900000, 0x41},
      // 16-bit sources: two discarded bits against {last bit, 1}.
      {hybrid, bf16, 0x4180, 0x40},
      {hybrid, bf16, 0x4187, 0x40},
      {hybrid, bf16, 0x4188, 0x41},
      {hybrid, bf16, 0x4189, 0x40},
      {hybrid, bf16, 0x4199, 0x41},
      // float16 subnormals: T is the raw pattern's last bit, here 1; 5 * 2^-24 stays below.
      {hybrid, f16, 0x0005, 0x01},
      {hybrid, f16, 0x0006, 0x02},
      {hybrid, f16, 0x0007, 0x02},
      // The lowest binade rounds up from F = 1/2 on, and below it there is zero.
      {hybrid, f32, 0x34000000, 0x01},
      {hybrid, f32, 0x34003fff, 0x00},
      {hybrid, f32, 0x33ffffff, 0x00},
      {hybrid, f32, 0xb4003fff, 0x00},
      {hybrid, f16, 0x0002, 0x01},
      {hybrid, f16, 0x0003, 0x01},
      {hybrid, f16, 0x0001, 0x00},
      // Away from zero where |E| < 4.
      {hybrid, f32, bits_of(1.0625f), 0x09},
      {hybrid, f32, bits_of(0.125f), 0x38},
      {hybrid, f32, bits_of(15.5f), 0x40},
      // Overflow is decided before rounding.
      {hybrid, f32, 0x47200000, 0x6f},
      {hybrid_saturate, f32, 0x47200000, 0x6e},
      {hybrid_saturate, f32, 0x7f800000, 0x6e},
      {hybrid, f32, 0x7f800000, 0x6f},
      {hybrid, f32, 0xffc00000, 0x80},
      {hybrid, f32, 0x80000000, 0x00},
  });
}

TEST(Fp8, Thresholds) {
  expect_rows({
      {e4m3, f32, bits_of(464), 0x7e},        {e4m3, f32, 0x43e80001, 0x7f},
      {e4m3_saturate, f32, 0x43e80001, 0x7e}, {e4m3, f32, bits_of(448), 0x7e},
      {e4m3, f32, 0xc3e80000, 0xfe},          {e4m3, f32, 0xc3e80001, 0xff},
      {e4m3_saturate, f32, 0xff800000, 0xfe}, {e4m3, f32, 0x7f800000, 0x7f},
      {e4m3, f32, 0x3a800000, 0x00},          {e4m3, f32, 0x3a800001, 0x01},
      {e4m3, f32, 0xba800000, 0x80},          {e4m3, f32, bits_of(0x1p-6f), 0x08},
      {e4m3, f32, bits_of(0x1.cp-7f), 0x07},  {e4m3, f32, bits_of(0x1p-9f), 0x01},
      {e4m3, f32, 0x80000000, 0x80},          {e5m2, f32, 0x476fffff, 0x7b},
      {e5m2, f32, 0x47700000, 0x7c},          {e5m2_saturate, f32, 0x47700000, 0x7b},
      {e5m2, f32, bits_of(57344), 0x7b},      {e5m2, f32, 0xc7700000, 0xfc},
      {e5m2, f32, 0x7f800000, 0x7c},          {e5m2_saturate, f32, 0xff800000, 0xfb},
      {e5m2, f32, 0x7fc00000, 0x7f},          {e5m2, f32, 0x37000000, 0x00},
      {e5m2, f32, 0x37000001, 0x01},          {e5m2, f32, 0xb7000000, 0x80},
      {e5m2, f32, bits_of(0x1p-14f), 0x04},   {e5m2, f32, bits_of(0x1.8p-15f), 0x03},
      {e5m2, f32, bits_of(0x1p-16f), 0x01},   {e5m2, f32, 0x80000000, 0x80},
  });
}

TEST(E8m0, Thresholds) {
  expect_rows({
      {e8m0, f32, 0x00000000, 0x00},          {e8m0, f32, 0x80000000, 0x00},
      {e8m0, f32, 0x00000001, 0x00},          {e8m0, f32, 0x003fffff, 0x00},
      {e8m0_ceil, f32, 0x003fffff, 0x00},     {e8m0_ceil, f32, 0x00400000, 0x00},
      {e8m0_ceil, f32, 0x00400001, 0x01},     {e8m0, f32, 0x007fffff, 0x00},
      {e8m0, f32, 0x00800000, 0x01},          {e8m0, f32, bits_of(1), 0x7f},
      {e8m0_ceil, f32, bits_of(1), 0x7f},     {e8m0, f32, 0x3fffffff, 0x7f},
      {e8m0_ceil, f32, 0x3f800001, 0x80},     {e8m0, f32, bits_of(-2), 0x80},
      {e8m0, f32, 0x7f7fffff, 0xfe},          {e8m0_ceil, f32, 0x7f000000, 0xfe},
      {e8m0_ceil, f32, 0x7f000001, 0xff},     {e8m0_ceil_saturate, f32, 0x7f000001, 0xfe},
      {e8m0, f32, 0x7f800000, 0xff},          {e8m0_saturate, f32, 0x7f800000, 0xfe},
      {e8m0_saturate, f32, 0x7fc00000, 0xff}, {e8m0_ceil_saturate, f32, 0xffc00000, 0xff},
  });
}

TEST(Formats, WhatACorrectLibraryMustDo) {
  // hif8, e4m3, e5m2, e8m0, one input a line.
  const auto line = [](Overflow overflow, std::uint32_t bits, std::array<std::uint8_t, 4> codes) {
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const auto format = static_cast<Format>(i);
      const Codec codec{format, default_rounding(format), overflow};
      expect_rows({{codec, f32, bits, codes[i]}});
    }
  };
  using enum Overflow;
  for (const Overflow overflow : {ieee, saturate}) {
    line(overflow, 0x7fc00000, {0x80, 0x7f, 0x7f, 0xff});
    line(overflow, 0xff812345, {0x80, 0xff, 0xff, 0xff});
    line(overflow, 0x80000000, {0x00, 0x80, 0x80, 0x00});
    line(overflow, 0xb3000000, {0x00, 0x80, 0x80, 0x66});  // -2^-25
    line(overflow, 0x00012345, {0x00, 0x00, 0x00, 0x00});
    line(overflow, 0x80012345, {0x00, 0x80, 0x80, 0x00});
  }
  line(ieee, 0x7f800000, {0x6f, 0x7f, 0x7c, 0xff});
  line(ieee, 0xff800000, {0xef, 0xff, 0xfc, 0xff});
  line(saturate, 0x7f800000, {0x6e, 0x7e, 0x7b, 0xfe});
  line(saturate, 0xff800000, {0xee, 0xfe, 0xfb, 0xfe});
  // Ties: away from zero in HiF8, to the even code in FP8.
  expect_rows({{hif8, f32, bits_of(1.0625f), 0x09},
               {hif8, f32, bits_of(1.1875f), 0x0a},
               {e4m3, f32, bits_of(1.0625f), 0x38},
               {e4m3, f32, bits_of(1.1875f), 0x3a},
               {e5m2, f32, bits_of(1.125f), 0x3c},
               {e5m2, f32, bits_of(1.375f), 0x3e},
               {hif8, f32, bits_of(40960), 0x6f},
               {hif8_saturate, f32, bits_of(40960), 0x6e},
               {e4m3, f32, bits_of(464), 0x7e},
               {e5m2, f32, bits_of(61440), 0x7c},
               {e5m2_saturate, f32, bits_of(61440), 0x7b},
               {hif8, f32, bits_of(0x1p-23f), 0x01},
               {e4m3, f32, bits_of(0x1p-10f), 0x00},
               {e5m2, f32, bits_of(0x1p-17f), 0x00}});
}

}  // namespace
}  // namespace ospsim
