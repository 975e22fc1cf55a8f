#pragma once

#include <cstdint>

#include "kernels_ref/formats/format.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/random.hpp"

/// One number at a time: the meaning of every format, in integer arithmetic that neither
/// -ffast-math nor flushing of subnormals can change, for the host, for CUDA devices and for the
/// compiler. The fast back ends are held to it bit by bit. Sources: HiF8, arXiv 2409.16626 sections
/// 2 and 3; FP8, OCP OFP8 1.0; E8M0, OCP MX 1.0.
namespace ospsim {

/// The code of a number given as the bits of its source type: the low 16 of `bits` for bf16 and
/// f16. `element` is its index in the tensor, for stochastic rounding. -0 becomes +0 where the
/// format has one zero (hif8), and so does a negative number that underflows. A NaN keeps its sign
/// in FP8. E8M0 takes the magnitude. The codec must have passed check_codec.
OSPSIM_HOST_DEVICE constexpr std::uint8_t encode_bits(const Codec& codec, Source source,
                                                      std::uint32_t bits,
                                                      std::uint64_t element = 0);

/// The float32 bits of a code's value; NaN is 0x7fc00000, signed in FP8.
OSPSIM_HOST_DEVICE constexpr std::uint32_t decode_bits(Format format, std::uint8_t code);

/// The same for one number of each source type.
OSPSIM_HOST_DEVICE constexpr std::uint8_t encode(const Codec& codec, float x,
                                                 std::uint64_t element = 0);
OSPSIM_HOST_DEVICE constexpr std::uint8_t encode(const Codec& codec, Bfloat16 x,
                                                 std::uint64_t element = 0);
OSPSIM_HOST_DEVICE constexpr std::uint8_t encode(const Codec& codec, Float16 x,
                                                 std::uint64_t element = 0);
OSPSIM_HOST_DEVICE constexpr float decode(Format format, std::uint8_t code);

/// Fraction bits of hif8 at exponent e, -22 <= e <= 15.
OSPSIM_HOST_DEVICE constexpr int hif8_fraction_bits(int e) {
  const int a = e < 0 ? -e : e;
  return a <= 3 ? 3 : a <= 7 ? 2 : a <= 15 ? 1 : 0;
}

// ---- How it is done ----------------------------------------------------------------------------
//
// A finite nonzero number is m * 2^(e - 23) with 2^23 <= m < 2^24. The format says which power of
// two 2^q its codes are multiples of around 2^e; m becomes the integer K of K * 2^q by dropping
// e - 23 - q bits and rounding; and K, q name a code.

namespace codec_detail {

struct Number {
  std::uint32_t m;
  int e;
};

OSPSIM_HOST_DEVICE constexpr Number number_of(std::uint32_t magnitude) {
  const int biased = static_cast<int>(magnitude >> 23);
  const std::uint32_t fraction = magnitude & 0x7fffffu;
  if (biased > 0) return {fraction | 0x800000u, biased - 127};
  Number number{fraction, -126};
  for (; number.m < 0x800000u; number.m <<= 1) --number.e;
  return number;
}

/// Of e4m3 and e5m2: the bits of a fraction, and the exponents of the smallest normal and of the
/// largest number.
struct Fp8Shape {
  int fraction_bits, lowest, largest;
};
OSPSIM_HOST_DEVICE constexpr Fp8Shape fp8_shape(Format format) {
  return format == Format::e4m3 ? Fp8Shape{3, -6, 8} : Fp8Shape{2, -14, 15};
}

/// The exponent q of the spacing of codes around 2^e.
OSPSIM_HOST_DEVICE constexpr int spacing_exponent(Format format, int e) {
  if (format == Format::hif8) return e < -22 ? -22 : e - hif8_fraction_bits(e);
  const Fp8Shape shape = fp8_shape(format);
  return (e < shape.lowest ? shape.lowest : e) - shape.fraction_bits;
}

/// Whether K = m >> drop is to be rounded up. drop >= 1.
OSPSIM_HOST_DEVICE constexpr bool rounds_up(const Codec& codec, Source source, std::uint32_t bits,
                                            std::uint64_t element, Number number, int drop) {
  // The dropped part as a fraction of the last kept bit, in units of 2^-64.
  const std::uint64_t m = number.m;
  const std::uint64_t dropped = drop < 64 ? m << (64 - drop) : drop < 128 ? m >> (drop - 64) : 0;
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  switch (codec.rounding) {
    case Rounding::rne: {
      // The code's last bit is that of K, except where hif8 has no fraction: there it is e's.
      const bool power_of_two = codec.format == Format::hif8 && number.e >= -22 && number.e < -15;
      const bool odd =
          power_of_two ? (number.e + 23) % 2 != 0 : drop < 24 && (number.m >> drop & 1u) != 0;
      return dropped > half || (dropped == half && odd);
    }
    case Rounding::stochastic:
      return dropped > random_bits(codec.seed, element);
    case Rounding::hybrid:
    case Rounding::hybrid_exact: {
      if (number.e > -4 && number.e < 4) return dropped >= half;
      if (number.e < -23) return false;
      if (codec.rounding == Rounding::hybrid_exact && dropped == 0) return false;
      if (source == Source::f32) return dropped >> 50 >= (bits & 0x3fffu);
      return dropped >> 62 >= ((bits & 1u) << 1 | 1u);
    }
    default:
      return dropped >= half;
  }
}

/// The hif8 code of K * 2^q without its sign, or more than 0x7f where it is 2^16 or larger.
OSPSIM_HOST_DEVICE constexpr std::uint32_t hif8_code(std::uint32_t k, int q) {
  if (k == 0) return 0;
  int e = q;
  for (std::uint32_t rest = k; rest > 1; rest >>= 1) ++e;
  if (e < -15) return static_cast<std::uint32_t>(e + 23);
  if (e > 15) return 0x80;
  const std::uint32_t fraction = k - (1u << (e - q));
  const int kept = e - q, wanted = hif8_fraction_bits(e);
  const std::uint32_t m = kept > wanted ? fraction >> (kept - wanted) : fraction << (wanted - kept);
  const std::uint32_t negative = e < 0 ? 1u : 0u;
  const auto a = static_cast<std::uint32_t>(e < 0 ? -e : e);
  if (a == 0) return 0x08 | m;
  if (a == 1) return 0x10 | negative << 3 | m;
  if (a <= 3) return 0x20 | negative << 4 | (a & 1) << 3 | m;
  if (a <= 7) return 0x40 | negative << 4 | (a & 3) << 2 | m;
  return 0x60 | negative << 4 | (a & 7) << 1 | m;
}

OSPSIM_HOST_DEVICE constexpr std::uint8_t encode_e8m0(const Codec& codec, std::uint32_t magnitude) {
  const bool saturate = codec.overflow == Overflow::saturate;
  if (magnitude > 0x7f800000u) return 0xff;
  std::uint32_t code = magnitude >> 23;
  // A subnormal lies in [2^-149, 2^-126); 2^-127 is code 0 and the smallest there is.
  if (codec.rounding == Rounding::ceil && magnitude < 0x7f800000u) {
    const bool between = code > 0 ? (magnitude & 0x7fffffu) != 0 : magnitude > 0x400000u;
    if (between) ++code;
  }
  return static_cast<std::uint8_t>(code == 0xff && saturate ? 0xfe : code);
}

}  // namespace codec_detail

OSPSIM_HOST_DEVICE constexpr std::uint8_t encode_bits(const Codec& codec, Source source,
                                                      std::uint32_t bits, std::uint64_t element) {
  using namespace codec_detail;
  const std::uint32_t wide = source == Source::f32 ? bits
                             : source == Source::bf16
                                 ? float_bits(Bfloat16{static_cast<std::uint16_t>(bits)})
                                 : float_bits(Float16{static_cast<std::uint16_t>(bits)});
  const std::uint32_t magnitude = wide & 0x7fffffffu, sign = wide >> 31 << 7;
  if (codec.format == Format::e8m0) return encode_e8m0(codec, magnitude);

  const bool hif8 = codec.format == Format::hif8, saturate = codec.overflow == Overflow::saturate;
  const bool e4m3 = codec.format == Format::e4m3;
  if (magnitude > 0x7f800000u) return static_cast<std::uint8_t>(hif8 ? 0x80u : sign | 0x7fu);
  const std::uint32_t largest_code = hif8 ? 0x6e : e4m3 ? 0x7e : 0x7b;
  const std::uint32_t overflow_code = saturate ? largest_code : hif8 ? 0x6f : e4m3 ? 0x7f : 0x7c;
  const auto overflowed = static_cast<std::uint8_t>(sign | overflow_code);
  if (magnitude >= 0x48000000u) return overflowed;  // 2^17 and more, Inf
  if (magnitude == 0) return static_cast<std::uint8_t>(hif8 ? 0 : sign);
  // Hybrid rounding decides about overflow before it rounds, from 1.25 * 2^15 on.
  const bool hybrid =
      codec.rounding == Rounding::hybrid || codec.rounding == Rounding::hybrid_exact;
  if (hybrid && magnitude >= 0x47200000u) return overflowed;

  const Number number = number_of(magnitude);
  const int q = spacing_exponent(codec.format, number.e);
  const int drop = q - (number.e - 23);
  std::uint32_t k = drop < 32 ? number.m >> drop : 0;
  if (rounds_up(codec, source, bits, element, number, drop)) ++k;

  if (hif8) {
    const std::uint32_t code = hif8_code(k, q);
    if (code == 0) return 0;
    return code == 0x6f || code > 0x7f ? overflowed : static_cast<std::uint8_t>(sign | code);
  }
  // K of a subnormal is its code; in a binade the leading bit of K counts one exponent up, and so
  // does a carry.
  const Fp8Shape shape = fp8_shape(codec.format);
  const int binade = number.e < shape.lowest ? 0 : number.e - shape.lowest;
  const std::uint32_t code = (static_cast<std::uint32_t>(binade) << shape.fraction_bits) + k;
  return code > largest_code ? overflowed : static_cast<std::uint8_t>(sign | code);
}

OSPSIM_HOST_DEVICE constexpr std::uint32_t decode_bits(Format format, std::uint8_t code) {
  constexpr std::uint32_t infinity = 0x7f800000u, nan = 0x7fc00000u;
  const std::uint32_t sign = (code & 0x80u) << 24, c = code & 0x7fu;
  switch (format) {
    case Format::e8m0:
      return code == 0xff ? nan : code == 0 ? 0x00400000u : static_cast<std::uint32_t>(code) << 23;
    case Format::e4m3:
    case Format::e5m2: {
      const bool e4m3 = format == Format::e4m3;
      if (c == 0x7f || (!e4m3 && c > 0x7c)) return sign | nan;
      if (!e4m3 && c == 0x7c) return sign | infinity;
      const auto [t, lowest, largest] = codec_detail::fp8_shape(format);
      std::uint32_t fraction = c & ((1u << t) - 1u);
      int e = static_cast<int>(c >> t) + lowest - 1;
      if (e < lowest) {
        if (fraction == 0) return sign;
        for (e = lowest; fraction >> t == 0; fraction <<= 1) --e;
        fraction &= (1u << t) - 1u;
      }
      return sign | static_cast<std::uint32_t>(e + 127) << 23 | fraction << (23 - t);
    }
    case Format::hif8:
      break;
  }
  if (c == 0) return sign == 0 ? 0 : nan;
  if (c == 0x6f) return sign | infinity;
  int a = 0, negative = 0;
  std::uint32_t fraction = c & 7u;
  if (c >= 0x60) {
    a = static_cast<int>(8 + (c >> 1 & 7u)), negative = c >> 4 & 1, fraction = (c & 1u) << 2;
  } else if (c >= 0x40) {
    a = static_cast<int>(4 + (c >> 2 & 3u)), negative = c >> 4 & 1, fraction = (c & 3u) << 1;
  } else if (c >= 0x20) {
    a = static_cast<int>(2 + (c >> 3 & 1u)), negative = c >> 4 & 1;
  } else if (c >= 0x10) {
    a = 1, negative = c >> 3 & 1;
  } else if (c < 0x08) {
    a = static_cast<int>(23 - c), negative = 1, fraction = 0;
  }
  return sign | static_cast<std::uint32_t>((negative ? -a : a) + 127) << 23 | fraction << 20;
}

OSPSIM_HOST_DEVICE constexpr std::uint8_t encode(const Codec& codec, float x,
                                                 std::uint64_t element) {
  return encode_bits(codec, Source::f32, std::bit_cast<std::uint32_t>(x), element);
}
OSPSIM_HOST_DEVICE constexpr std::uint8_t encode(const Codec& codec, Bfloat16 x,
                                                 std::uint64_t element) {
  return encode_bits(codec, Source::bf16, x.bits, element);
}
OSPSIM_HOST_DEVICE constexpr std::uint8_t encode(const Codec& codec, Float16 x,
                                                 std::uint64_t element) {
  return encode_bits(codec, Source::f16, x.bits, element);
}
OSPSIM_HOST_DEVICE constexpr float decode(Format format, std::uint8_t code) {
  return std::bit_cast<float>(decode_bits(format, code));
}

}  // namespace ospsim
