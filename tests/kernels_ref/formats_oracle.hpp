#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels_ref/formats/format.hpp"
#include "kernels_ref/formats/mxfp8.hpp"

/// The 8-bit formats by definition: the value of every code from its bit fields (HiF8: arXiv
/// 2409.16626, tables 1 to 3; FP8: OCP OFP8 1.0; E8M0: OCP MX 1.0), and rounding as a search for
/// the neighbours in that table. Every value, and every midpoint of two, is exact in double.
namespace ospsim::oracle {

/// The value of each of the 256 codes; -0, Inf and NaN are themselves.
const std::array<double, 256>& values(Format format);

/// The value of a source pattern. A NaN keeps its sign.
double value_of(Source source, std::uint32_t bits);

/// The code of x under ta, rne, floor or ceil.
std::uint8_t encode(const Codec& codec, double x);
/// The same for the hybrid roundings too, which look at the source's bits.
std::uint8_t encode(const Codec& codec, Source source, std::uint32_t bits);

/// The codes on either side of a finite x, by magnitude, and where x lies between them: 0 where it
/// is `towards_zero` itself. Past the largest number, both are what the overflow rule makes of it.
struct Neighbours {
  std::uint8_t towards_zero, away;
  double fraction;
};
Neighbours neighbours(const Codec& codec, double x);

/// Rounding to nearest as steps: every float32 magnitude from `first` up to the next step's has
/// this code. The last step is NaN's.
struct Step {
  std::uint32_t first;
  std::uint8_t code;
};
std::vector<Step> steps(const Codec& codec);

/// The finite numbers that are not below zero, ascending, and last the value at which the number
/// after the largest would lie.
std::vector<double> ladder(Format format);

/// Equal, or both NaN: FP8 does not say which of its NaN codes a NaN becomes.
bool same(Format format, std::uint8_t a, std::uint8_t b);

/// X of an MX block, for amax > 0.
double mx_scale(const MxCodec& codec, double amax);

/// To nearest, ties to even.
std::uint16_t bf16_of(double x);
std::uint16_t f16_of(double x);

/// Every (format, rounding, overflow).
std::vector<Codec> codecs(bool with_stochastic = false);
std::string describe(const Codec& codec);

}  // namespace ospsim::oracle
