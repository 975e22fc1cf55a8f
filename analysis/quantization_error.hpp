#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "analysis/distribution.hpp"
#include "kernels_ref/formats/scaling.hpp"

/// What quantising does to a tensor. Signal and noise are sums over the elements that are finite;
/// NaN and Inf are counted and left out.
namespace ospsim {

/// How the finite elements of a tensor are spread, before anything is done to them.
struct TensorStatistics {
  std::int64_t elements = 0, zeros = 0, nan_count = 0, infinity_count = 0;
  double amax = 0, sum = 0, sum_of_squares = 0;
  /// By biased float32 exponent: finite nonzero elements, those below 2^-126 in the first.
  std::array<std::int64_t, 255> binades{};

  std::int64_t finite() const { return elements - nan_count - infinity_count; }
  void add(std::span<const float> x);
  void add(const TensorStatistics& other);
};

/// Sums of an error over a tensor. `add` may be called for one piece after another, and the sums of
/// pieces may be added.
class QuantizationError {
 public:
  explicit QuantizationError(NumberFormat number) : number_(number) {}

  /// x^ and codes of x.
  void add(std::span<const float> x, std::span<const float> y, std::span<const std::uint8_t> codes);
  void add(const QuantizationError& other);

  /// sqrt(sum (x^ - x)^2 / sum x^2); 0 if both are 0; infinite if a finite x has no finite x^; NaN
  /// if no x is finite.
  double relative_l2() const;
  /// -20 log10 of the above: infinite without any error.
  double sqnr_db() const;
  /// Of sqnr_db as an estimate for the distribution the elements were drawn from independently, to
  /// first order in the variances of x^2 and (x^ - x)^2. 0 for fewer than two elements.
  double sqnr_db_standard_error() const;
  double max_abs_error() const { return max_abs_error_; }
  /// Over x != 0.
  double max_relative_error() const { return max_relative_error_; }
  /// Share of the finite nonzero elements that became 0.
  double underflow_fraction() const;
  /// Share of the finite elements that were beyond what rounds to the largest number.
  double overflow_fraction() const;
  std::int64_t nan_count() const { return nan_count_; }

  /// How often each code occurs.
  const std::array<std::int64_t, 256>& codes() const { return codes_; }
  int codes_used() const;
  /// Of the distribution of codes, in bits: what an ideal entropy coder would need.
  double code_entropy_bits() const;

 private:
  NumberFormat number_;
  std::int64_t finite_ = 0, nonzero_ = 0, underflows_ = 0, overflows_ = 0, nan_count_ = 0;
  double signal_ = 0, noise_ = 0, signal_2_ = 0, noise_2_ = 0, signal_noise_ = 0;
  double max_abs_error_ = 0, max_relative_error_ = 0;
  std::array<std::int64_t, 256> codes_{};
};

/// The SQNR of Q(x s) / s in closed form for elements drawn from `distribution`, saturating,
/// rounded to nearest, for any scale s of hif8, e4m3, e5m2 (for int8 s is d). Nothing for MXFP8,
/// and where the distribution has no closed form.
std::optional<double> expected_sqnr_db(NumberFormat number, double scale,
                                       const Distribution& distribution);
/// The same where the scale was chosen for the largest magnitude among the elements drawn: the
/// others are below `amax`, and the largest one is exact.
std::optional<double> expected_sqnr_db(NumberFormat number, double scale,
                                       const Distribution& distribution, double amax,
                                       std::int64_t elements);

}  // namespace ospsim
