#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <variant>

#include "kernels_ref/host_device.hpp"

namespace ospsim {

/// The bits of a bfloat16: 1 sign, 8 exponent, 7 fraction. A container; it has no arithmetic.
struct Bfloat16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(Bfloat16, Bfloat16) = default;
};

/// The bits of an IEEE binary16: 1 sign, 5 exponent, 10 fraction.
struct Float16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(Float16, Float16) = default;
};

/// The bits of the float32 of the same value. Exact; a NaN stays a NaN of the same sign and leading
/// payload. Integer arithmetic, so that flushing of subnormals cannot reach it.
OSPSIM_HOST_DEVICE constexpr std::uint32_t float_bits(Bfloat16 x) {
  return static_cast<std::uint32_t>(x.bits) << 16;
}
OSPSIM_HOST_DEVICE constexpr std::uint32_t float_bits(Float16 x) {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16, magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;
  if (magnitude >= 0x0400u) return sign | ((magnitude << 13) + ((127u - 15u) << 23));
  if (magnitude == 0) return sign;
  std::uint32_t exponent = 127 - 14, significand = magnitude;
  for (; significand < 0x400u; significand <<= 1) --exponent;
  return sign | exponent << 23 | (significand & 0x3ffu) << 13;
}
OSPSIM_HOST_DEVICE constexpr std::uint32_t float_bits(float x) {
  return std::bit_cast<std::uint32_t>(x);
}

/// To the nearest bfloat16, ties to even; a NaN stays a (quiet) NaN.
OSPSIM_HOST_DEVICE constexpr Bfloat16 to_bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

/// To the nearest binary16, ties to even; overflow to Inf, a NaN stays a (quiet) NaN.
OSPSIM_HOST_DEVICE constexpr Float16 to_float16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  std::uint32_t rounded = 0;
  if (magnitude > 0x7f800000u) {
    rounded = 0x7e00u | (magnitude >> 13 & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // 65520, halfway to the next power of two
    rounded = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {  // 2^-14
    rounded = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  } else if (magnitude > 0x33000000u) {  // 2^-25, halfway to the smallest subnormal
    const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
    const std::uint32_t dropped = 126u - (magnitude >> 23);
    rounded = (significand + (1u << (dropped - 1)) - 1u + (significand >> dropped & 1u)) >> dropped;
  }
  return {static_cast<std::uint16_t>(sign | rounded)};
}

OSPSIM_HOST_DEVICE constexpr float to_float(Bfloat16 x) {
  return std::bit_cast<float>(float_bits(x));
}
OSPSIM_HOST_DEVICE constexpr float to_float(Float16 x) {
  return std::bit_cast<float>(float_bits(x));
}
OSPSIM_HOST_DEVICE constexpr float to_float(float x) {
  return x;
}

OSPSIM_HOST_DEVICE constexpr float round_to_bf16(float x) {
  return to_float(to_bfloat16(x));
}

/// A tensor in one of the three types, contiguous.
using Numbers =
    std::variant<std::span<const float>, std::span<const Bfloat16>, std::span<const Float16>>;
using MutableNumbers = std::variant<std::span<float>, std::span<Bfloat16>, std::span<Float16>>;

}  // namespace ospsim
