#pragma once

#include <cstdint>
#include <span>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/host_device.hpp"

/// Symmetric INT8: x is represented by q * scale, q = x / scale rounded to nearest even and clamped
/// to -127 .. 127 (-128 is not used). The quotient is the float32 division, not a product with the
/// reciprocal. NaN becomes 0, Inf +-127.
namespace ospsim {

OSPSIM_HOST_DEVICE constexpr std::int8_t int8_encode(float x, float scale) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0;
  const float quotient = x / scale;
  if (!(quotient < 127.0f)) return 127;
  if (!(quotient > -127.0f)) return -127;
  // Adding 1.5 * 2^23 leaves no fraction bits: the sum is rounded to nearest even.
  constexpr float shift = 12582912.0f;
  return static_cast<std::int8_t>((quotient + shift) - shift);
}

template <Backend B>
void int8_encode(Numbers x, float scale, std::span<std::int8_t> q, int threads = 0);

/// x = q * scale in float32, rounded to nearest even for bf16 and f16.
template <Backend B>
void int8_decode(std::span<const std::int8_t> q, float scale, MutableNumbers x, int threads = 0);

}  // namespace ospsim
