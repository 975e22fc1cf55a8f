#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels_ref/host_device.hpp"

namespace ospsim {

/// The 8-bit floating-point formats.
///   hif8  HiFloat8 (arXiv 2409.16626): tapered, 3 fraction bits for |E| <= 3, 2 up to 7, 1 up to
///         15, powers of two from 2^-16 down to 2^-22; largest 2^15; one zero, one NaN, two Inf
///   e4m3  OCP FP8 E4M3 ("fn"): largest 448, no Inf
///   e5m2  OCP FP8 E5M2: largest 57344
///   e8m0  OCP E8M0: a scale, 2^(code - 127), no sign, no zero; 0xFF is NaN
enum class Format : std::uint8_t { hif8, e4m3, e5m2, e8m0 };

/// How a number between two codes is rounded.
///   ta            to the nearest, ties away from zero (hif8's default)
///   rne           to the nearest, ties to the even code (FP8's default)
///   hybrid        hif8: ta where |E| < 4, else the published "simplified stochastic rounding",
///                 which compares discarded bits with others of the same number. From float32 it
///                 moves numbers that have a code of their own: 16 becomes 20
///   hybrid_exact  the same, but leaves such numbers alone
///   stochastic    up with the probability of the discarded part, by a generator counted by element
///   floor, ceil   e8m0 only: towards the smaller or larger power of two
enum class Rounding : std::uint8_t { ta, rne, hybrid, hybrid_exact, stochastic, floor, ceil };

/// What becomes of a number too large once it is rounded.
///   ieee      Inf; NaN in a format that has none. Inf stays so
///   saturate  the largest number of the format, for Inf as well. NaN stays NaN
enum class Overflow : std::uint8_t { ieee, saturate };

/// The width of a number before it is encoded; hybrid rounding depends on it.
enum class Source : std::uint8_t { f32, bf16, f16 };

/// How numbers become codes of one format.
struct Codec {
  Format format = Format::hif8;
  Rounding rounding = Rounding::ta;
  Overflow overflow = Overflow::ieee;
  std::uint64_t seed = 0;           ///< of stochastic rounding,
  std::uint64_t first_element = 0;  ///< and where in its sequence a tensor begins
};

Rounding default_rounding(Format format);  ///< hif8: ta, e4m3 and e5m2: rne, e8m0: floor
/// The roundings a format can do: hif8 all but floor and ceil, e4m3 and e5m2 ta, rne and
/// stochastic, e8m0 floor and ceil.
const std::vector<Rounding>& roundings_of(Format format);
/// The largest finite number: 32768, 448, 57344, 2^127.
float largest(Format format);

/// Names are those of the enumerators, with '-' for '_'. Each throws InputError.
Format parse_format(std::string_view text);
Rounding parse_rounding(std::string_view text);
Overflow parse_overflow(std::string_view text);
Source parse_source(std::string_view text);
std::string to_string(Format format);
std::string to_string(Rounding rounding);

/// Throws InputError if the format cannot do the rounding.
void check_codec(const Codec& codec);

}  // namespace ospsim
