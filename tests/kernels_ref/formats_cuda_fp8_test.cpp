// FP8 and E8M0 against the conversions that NVIDIA's cuda_fp8.h runs on the host.

#include <cuda_fp8.h>
#include <gtest/gtest.h>

#include "kernels_ref/formats/codec.hpp"
#include "tests/kernels_ref/formats_support.hpp"

namespace ospsim {
namespace {

std::vector<std::uint32_t> patterns() {
  std::vector<std::uint32_t> result = random_patterns(2000000);
  for (const Format format : {Format::e4m3, Format::e5m2, Format::e8m0})
    for (const std::uint32_t bits : float_boundaries(format)) result.push_back(bits);
  for (std::uint32_t high = 0; high < 0x10000; ++high) result.push_back(high << 16);
  return result;
}

__nv_saturation_t mode(Overflow overflow) {
  return overflow == Overflow::saturate ? __NV_SATFINITE : __NV_NOSAT;
}

TEST(CudaFp8, SameCodes) {
  for (const Overflow overflow : {Overflow::ieee, Overflow::saturate})
    for (const Format format : {Format::e4m3, Format::e5m2}) {
      const Codec codec{format, Rounding::rne, overflow};
      const auto kind = format == Format::e4m3 ? __NV_E4M3 : __NV_E5M2;
      for (const std::uint32_t bits : patterns()) {
        const auto theirs = __nv_cvt_float_to_fp8(std::bit_cast<float>(bits), mode(overflow), kind);
        ASSERT_TRUE(same_code(codec, bits, encode_bits(codec, Source::f32, bits), theirs));
      }
      for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        __half_raw h;
        h.x = static_cast<unsigned short>(bits);
        __nv_bfloat16_raw b;
        b.x = static_cast<unsigned short>(bits);
        ASSERT_TRUE(same_code(codec, bits, encode_bits(codec, Source::f16, bits),
                              __nv_cvt_halfraw_to_fp8(h, mode(overflow), kind)));
        ASSERT_TRUE(same_code(codec, bits, encode_bits(codec, Source::bf16, bits),
                              __nv_cvt_bfloat16raw_to_fp8(b, mode(overflow), kind)));
      }
    }
}

TEST(CudaFp8, SameScales) {
  // A scale has no sign; both take the magnitude of a negative number.
  for (const Overflow overflow : {Overflow::ieee, Overflow::saturate})
    for (const Rounding rounding : {Rounding::floor, Rounding::ceil}) {
      const Codec codec{Format::e8m0, rounding, overflow};
      const auto direction = rounding == Rounding::floor ? cudaRoundZero : cudaRoundPosInf;
      for (const std::uint32_t bits : patterns())
        ASSERT_TRUE(same_code(
            codec, bits, encode_bits(codec, Source::f32, bits),
            __nv_cvt_float_to_e8m0(std::bit_cast<float>(bits), mode(overflow), direction)));
    }
}

TEST(CudaFp8, SameValues) {
  for (std::uint32_t code = 0; code < 256; ++code) {
    const auto storage = static_cast<unsigned char>(code);
    for (const Format format : {Format::e4m3, Format::e5m2}) {
      const __half_raw h =
          __nv_cvt_fp8_to_halfraw(storage, format == Format::e4m3 ? __NV_E4M3 : __NV_E5M2);
      const float ours = decode(format, storage), theirs = to_float(Float16{h.x});
      EXPECT_TRUE(std::isnan(ours) ? std::isnan(theirs) : ours == theirs) << Hex{code};
    }
    const std::uint32_t theirs = float_bits(Bfloat16{__nv_cvt_e8m0_to_bf16raw(storage).x});
    if (code != 0xff) {
      EXPECT_EQ(decode_bits(Format::e8m0, storage), theirs) << Hex{code};
    }
  }
}

}  // namespace
}  // namespace ospsim
