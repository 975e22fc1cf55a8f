#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels_ref/formats/codec.hpp"
#include "kernels_ref/formats/mxfp8.hpp"

/// Scaling recipes: which elements of a tensor share a scale, and how it follows from their largest
/// magnitude. Sources: the paper's section 3.5; the recipes of NVIDIA Transformer Engine,
/// DeepSeek-V3 and the OCP MX standard.
namespace ospsim {

/// What a tensor is kept in. The two MXFP8 formats carry scales of their own (formats/mxfp8.hpp).
enum class NumberFormat : std::uint8_t { hif8, e4m3, e5m2, mxfp8_e4m3, mxfp8_e5m2, int8 };
constexpr bool is_mx(NumberFormat number) {
  return number == NumberFormat::mxfp8_e4m3 || number == NumberFormat::mxfp8_e5m2;
}

/// Which elements of a matrix [rows, columns] share a scale; a tensor of more axes is the matrix of
/// its last one.
///   none          no scale
///   tensor        all; from this tensor's amax ("current scaling")
///   delayed       all of a step, where the leading axis counts steps: from the largest amax of up
///                 to `history` steps before it; the first step takes its own
///   token         a row
///   channel       a column
///   block32       32 neighbours in a row
///   tile128       128 neighbours in a row (1 x 128: activations and gradients)
///   block128x128  a square (weights)
/// Blocks at the edges are smaller.
enum class Granularity : std::uint8_t {
  none,
  tensor,
  delayed,
  token,
  channel,
  block32,
  tile128,
  block128x128
};

/// A number format and how tensors are fitted to it. The scale of a group with the largest finite
/// magnitude amax is
///     s = target / max(amax, epsilon),   x_q = Q(x * s),   x^ = x_q / s
/// in float32, s held between 2^-126 and the largest float32 (2^127 if power_of_two, for which s is
/// the largest power of two that is not above). A group of zeros, or with no finite element, has
/// s = 1 unless epsilon > 0. NaN and Inf never reach the amax. INT8 keeps d = 1 / s instead: d =
/// max(amax, epsilon) / target, x_q = rne(x / d), x^ = x_q d, d = 1 for a group of zeros; its d is
/// held between 2^-126 and the largest float32 (2^127). Where x^ would exceed float32 it is Inf.
struct Quantization {
  NumberFormat number = NumberFormat::hif8;
  Rounding rounding = Rounding::ta;
  Overflow overflow = Overflow::saturate;
  MxRule mx_rule = MxRule::floor;
  Granularity granularity = Granularity::tensor;
  bool power_of_two = false;
  float target = 15;
  float epsilon = 0;
  std::int64_t history = 1024;
  std::uint64_t seed = 0;  ///< of stochastic rounding
};

/// The paper's recipe (section 3.5, equations 1 and 2, and its code): hif8, one current scale per
/// tensor, epsilon 1e-8, target 15 forward and 224 backward: the largest numbers with 3 and with 2
/// fraction bits.
Quantization paper_forward();
Quantization paper_backward();

/// The largest number of a format, or of its elements; 127 for int8.
float largest(NumberFormat number);
/// The target unless another is asked for: 15 for hif8 (the paper's), else the largest number.
float default_target(NumberFormat number);
Rounding default_rounding(NumberFormat number);

/// Each throws InputError. Names as the enumerators', with '-' for '_'; "tensor-pow2" is `tensor`
/// with power_of_two set.
NumberFormat parse_number_format(std::string_view text);
std::string to_string(NumberFormat number);
struct ScalingName {
  Granularity granularity;
  bool power_of_two;
  friend bool operator==(const ScalingName&, const ScalingName&) = default;
};
ScalingName parse_scaling(std::string_view text);
/// The inverse; for MXFP8 "mx-floor" and the like, for the paper's recipe "paper-forward" or
/// "paper-backward".
std::string scaling_name(const Quantization& quantization);

/// With the rounding and the target of the format; all else as Quantization has it.
Quantization default_quantization(NumberFormat number, ScalingName scaling);

/// s (for INT8: d) of a group with this amax.
OSPSIM_HOST_DEVICE constexpr float scale_of(const Quantization& quantization, float amax) {
  const Quantization& q = quantization;
  const float reference = amax < q.epsilon ? q.epsilon : amax;
  if (!(reference > 0)) return 1;
  const bool inverse = q.number == NumberFormat::int8;
  const float exact = inverse ? reference / q.target : q.target / reference;
  constexpr float least = 0x1p-126f, most = std::numeric_limits<float>::max();
  const float bounded = exact < least ? least : exact > most ? most : exact;
  if (!q.power_of_two) return bounded;
  const float below = std::bit_cast<float>(std::bit_cast<std::uint32_t>(bounded) & 0x7f800000u);
  // d = 1 / s must not be too small, so it is rounded the other way.
  return inverse && below < bounded && below < 0x1p127f ? 2 * below : below;
}

/// One tensor under one recipe, seen in slabs of whole rows, so that it need not fit the memory.
/// Where needs_amax(), observe every row once, in order, then settle(); then apply to slabs that
/// start at multiples of `slab_rows`.
class Quantizer {
 public:
  static constexpr std::int64_t slab_rows = 128;

  /// A matrix [rows, columns] whose leading axis is `steps` long; steps divides rows. The last row
  /// may be shorter, so that there are `elements` (-1: rows times columns). Throws InputError for a
  /// recipe that does not exist (a rounding the format has not; a target not above 0 or above the
  /// format's largest number).
  Quantizer(const Quantization& quantization, std::int64_t rows, std::int64_t columns,
            std::int64_t steps = 1, std::int64_t elements = -1);

  bool needs_amax() const;
  void observe(std::int64_t first_row, std::span<const float> x, int threads = 0);
  void settle();

  /// codes[i] and y[i] = x^ for a slab x of whole rows. y may be x.
  void apply(std::int64_t first_row, std::span<const float> x, std::span<std::uint8_t> codes,
             std::span<float> y, int threads = 0) const;

  /// 8 and this element's share of the scales: float32 each, 8 bits where they are powers of two.
  double bits_per_element() const;

 private:
  struct Slab {
    std::int64_t first_row;
    std::span<const float> x;
    std::span<std::uint8_t> codes;
    std::span<float> y;
  };
  void apply_mx(const Slab& slab) const;
  void apply_scales(const Slab& slab) const;
  void scales_of_row(const Slab& slab, std::int64_t row, std::span<float> scales) const;

  Quantization quantization_;
  std::int64_t rows_, columns_, steps_, elements_;
  std::vector<float> amax_, scales_;
};

/// x^ of a whole tensor as a matrix of rows of `columns`.
std::vector<float> quantized(const Quantization& quantization, std::int64_t columns,
                             std::span<const float> x, int threads = 0);

}  // namespace ospsim
