#pragma once

#include <cstdint>

#include "kernels_ref/formats/codec.hpp"

// The numbers of a format that are not below zero, in order, have the places 0, 1, ... A binade has
// the same spacing throughout, so that the place of a rounded number is (bits + a) >> s, with a and
// s of its exponent; a carry leads to the next place whatever the next binade's spacing is. After
// the largest number there is a place or two of numbers that are too large, the last of which is
// Inf's too; then there is one of NaN.
namespace ospsim::codec_detail {

/// The exponents of the smallest and the largest number.
OSPSIM_HOST_DEVICE constexpr int smallest_exponent(Format format) {
  return spacing_exponent(format, -127);
}
OSPSIM_HOST_DEVICE constexpr int largest_exponent(Format format) {
  return format == Format::hif8 ? 15 : fp8_shape(format).largest;
}

/// The place of 2^e, from the smallest number up to the power of two after the largest.
OSPSIM_HOST_DEVICE constexpr std::uint32_t place_of_power(Format format, int e) {
  if (format == Format::hif8) {
    const int place = e < -15  ? e + 23
                      : e < -7 ? 8 + 2 * (e + 15)
                      : e < -3 ? 24 + 4 * (e + 7)
                      : e < 4  ? 40 + 8 * (e + 3)
                      : e < 8  ? 96 + 4 * (e - 4)
                               : 112 + 2 * (e - 8);
    return static_cast<std::uint32_t>(place);
  }
  const auto [fraction_bits, lowest, largest] = fp8_shape(format);
  return e < lowest ? 1u << (e - lowest + fraction_bits)
                    : static_cast<std::uint32_t>(e - lowest + 1) << fraction_bits;
}
OSPSIM_HOST_DEVICE constexpr std::uint32_t infinity_place(Format format) {
  return place_of_power(format, largest_exponent(format) + 1);
}

struct alignas(8) Step {
  std::uint32_t add, shift;
};

/// The place of a float32 magnitude by the step of its exponent.
template <bool even>
OSPSIM_HOST_DEVICE constexpr std::uint32_t place_of(Step step, std::uint32_t magnitude) {
  const std::uint32_t odd = even ? magnitude >> step.shift & 1u : 0u;
  return (magnitude + step.add + odd) >> step.shift;
}

/// The step of a biased exponent.
template <bool even>
OSPSIM_HOST_DEVICE constexpr Step step_of(Format format, std::uint32_t biased) {
  const int e = static_cast<int>(biased) - 127;
  const std::uint32_t exponent_bits = biased << 23;
  if (biased == 255) {  // Inf has no fraction, and NaN has; place_of finds 255 odd
    const std::uint32_t add = even ? 0x7ffffeu : 0x7fffffu;
    return {(infinity_place(format) << 23) + add - exponent_bits, 23};
  }
  if (e > largest_exponent(format)) return {(infinity_place(format) << 24) - exponent_bits, 24};
  if (e < smallest_exponent(format) - 1) return {0u - exponent_bits, 24};

  // Of what is below the smallest number, at least half of it, the place is a half and more.
  const bool below = e < smallest_exponent(format);
  const auto shift = static_cast<std::uint32_t>(23 - (e - spacing_exponent(format, e)));
  const std::uint32_t place = below ? 0 : place_of_power(format, e);
  const std::uint32_t half = 1u << (shift - 1);
  std::uint32_t add = (below ? half : place << shift) + half - exponent_bits;
  if (even) {
    // From 23 on, what place_of takes for the place's last bit is one of the exponent's.
    const std::uint32_t taken = shift < 23 ? 0 : biased >> (shift - 23) & 1u;
    add += (shift < 23 ? 0 : place & 1u) - taken - 1u;
  }
  return {add, shift};
}

}  // namespace ospsim::codec_detail
