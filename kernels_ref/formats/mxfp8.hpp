#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/formats/codec.hpp"

/// MXFP8 (OCP MX 1.0): blocks of 32 elements along a row share one power of two X, kept as E8M0; an
/// element is X times an E4M3 or E5M2 number. The last block of a row may be shorter.
///
/// What the standard leaves open is settled here: X comes from the finite elements alone; elements
/// saturate, Inf too, to the largest number of the element format; a NaN element is NaN and leaves
/// its block alone; a block of zeros has the scale code 0. Subnormals must be honoured by the
/// floating-point environment, as they are by default.
namespace ospsim {

/// X of a block whose largest finite magnitude is amax, clamped to 2^-127 .. 2^127:
///   floor  2^(floor(log2 amax) - emax), emax = 8 or 15 (the standard): what exceeds the largest
///          element saturates
///   ratio  the smallest power of two that is at least amax / (largest element)
///   ceil   2^(ceil(log2 amax) - emax)
///   even   floor, of amax rounded to the element's fraction bits first (half away from zero)
enum class MxRule : std::uint8_t { floor, ratio, ceil, even };
/// "floor", "ratio", "ceil" or "even". Throws InputError.
MxRule parse_mx_rule(std::string_view text);

struct MxCodec {
  Format element = Format::e4m3;  ///< or e5m2
  MxRule rule = MxRule::floor;
};

inline constexpr std::int64_t mx_block = 32;
/// Scales of a tensor of `rows` rows of `columns`: one per block, row by row.
constexpr std::int64_t mx_scale_count(std::int64_t rows, std::int64_t columns) {
  return rows * ((columns + mx_block - 1) / mx_block);
}

/// The E8M0 code of X.
OSPSIM_HOST_DEVICE constexpr std::uint8_t mx_scale_code(const MxCodec& codec, float amax) {
  const auto bits = std::bit_cast<std::uint32_t>(amax);
  if (bits == 0) return 0;
  const auto shape = codec_detail::fp8_shape(codec.element);
  const auto [m, e] = codec_detail::number_of(bits);
  constexpr std::uint32_t largest = 0xe00000u;  // 448 and 57344 are both 1.75 times a power of two
  int exponent = e - shape.largest;
  switch (codec.rule) {
    case MxRule::floor:
      break;
    case MxRule::ratio:
      exponent += m > largest ? 1 : 0;
      break;
    case MxRule::ceil:
      exponent += m > 0x800000u ? 1 : 0;
      break;
    case MxRule::even:
      exponent += m + (1u << (22 - shape.fraction_bits)) >= 0x1000000u ? 1 : 0;
      break;
  }
  return static_cast<std::uint8_t>(exponent < -127 ? 0 : exponent > 127 ? 254 : exponent + 127);
}

/// codes [rows, columns] and scales [rows, blocks of a row] of x [rows, columns], float, Bfloat16
/// or Float16. Throws std::invalid_argument where sizes do not fit.
template <Backend B>
void mx_encode(const MxCodec& codec, std::int64_t columns, Numbers x, std::span<std::uint8_t> codes,
               std::span<std::uint8_t> scales, int threads = 0);

/// x = X times the elements, exact in float32 but for overflow past its range; rounded to nearest
/// even for bf16 and f16.
template <Backend B>
void mx_decode(Format element, std::int64_t columns, std::span<const std::uint8_t> codes,
               std::span<const std::uint8_t> scales, MutableNumbers x, int threads = 0);

/// Bytes read and written.
Cost mx_encode_cost(std::int64_t rows, std::int64_t columns, int source_bytes);

}  // namespace ospsim
