#include "analysis/quantization_error.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels_ref/formats/codec.hpp"

namespace ospsim {
namespace {

std::uint32_t magnitude_bits(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
}
constexpr std::uint32_t infinity_bits = 0x7f800000u;

/// The largest number, the magnitude from which on numbers are too large, and whether that is one.
struct Top {
  std::uint8_t code;
  double largest, bound;
  bool included;
};
Top top_of(NumberFormat number) {
  switch (number) {
    case NumberFormat::hif8:
      return {0x6e, 32768, 40960, true};
    case NumberFormat::e4m3:
    case NumberFormat::mxfp8_e4m3:
      return {0x7e, 448, 464, false};
    case NumberFormat::e5m2:
    case NumberFormat::mxfp8_e5m2:
      return {0x7b, 57344, 61440, true};
    case NumberFormat::int8:
      break;
  }
  return {127, 127, 127.5, true};
}

std::uint8_t magnitude_code(NumberFormat number, std::uint8_t code) {
  if (number != NumberFormat::int8) return code & 0x7fu;
  const int q = static_cast<std::int8_t>(code);
  return static_cast<std::uint8_t>(q < 0 ? -q : q);
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

}  // namespace

void TensorStatistics::add(std::span<const float> x) {
  elements += static_cast<std::int64_t>(x.size());
  for (const float value : x) {
    const std::uint32_t magnitude = magnitude_bits(value);
    if (magnitude >= infinity_bits) {
      ++(magnitude > infinity_bits ? nan_count : infinity_count);
      continue;
    }
    if (magnitude == 0) {
      ++zeros;
      continue;
    }
    ++binades[magnitude >> 23];
    amax = std::max(amax, static_cast<double>(std::bit_cast<float>(magnitude)));
    sum += value;
    sum_of_squares += static_cast<double>(value) * value;
  }
}

void TensorStatistics::add(const TensorStatistics& other) {
  elements += other.elements;
  zeros += other.zeros;
  nan_count += other.nan_count;
  infinity_count += other.infinity_count;
  amax = std::max(amax, other.amax);
  sum += other.sum;
  sum_of_squares += other.sum_of_squares;
  for (std::size_t i = 0; i < binades.size(); ++i) binades[i] += other.binades[i];
}

void QuantizationError::add(std::span<const float> x, std::span<const float> y,
                            std::span<const std::uint8_t> codes) {
  const Top top = top_of(number_);
  for (std::size_t i = 0; i < x.size(); ++i) {
    ++codes_[codes[i]];
    const std::uint32_t magnitude = magnitude_bits(x[i]);
    if (magnitude >= infinity_bits) {
      nan_count_ += magnitude > infinity_bits ? 1 : 0;
      continue;
    }
    const double from = x[i], to = y[i], error = std::abs(to - from);
    ++finite_;
    if (!std::isfinite(to)) {
      ++overflows_;
      ++nonzero_;
      max_abs_error_ = max_relative_error_ = noise_ = std::numeric_limits<double>::infinity();
      signal_ += from * from;
      continue;
    }
    const double signal = from * from, noise = error * error;
    signal_ += signal;
    noise_ += noise;
    signal_2_ += signal * signal;
    noise_2_ += noise * noise;
    signal_noise_ += signal * noise;
    max_abs_error_ = std::max(max_abs_error_, error);
    if (magnitude == 0) continue;
    ++nonzero_;
    max_relative_error_ = std::max(max_relative_error_, error / std::abs(from));
    underflows_ += to == 0 ? 1 : 0;
    if (magnitude_code(number_, codes[i]) == top.code) {
      const double here = std::abs(from) * top.largest, bound = std::abs(to) * top.bound;
      overflows_ += here > bound || (here == bound && top.included) ? 1 : 0;
    }
  }
}

void QuantizationError::add(const QuantizationError& other) {
  finite_ += other.finite_;
  nonzero_ += other.nonzero_;
  underflows_ += other.underflows_;
  overflows_ += other.overflows_;
  nan_count_ += other.nan_count_;
  signal_ += other.signal_;
  noise_ += other.noise_;
  signal_2_ += other.signal_2_;
  noise_2_ += other.noise_2_;
  signal_noise_ += other.signal_noise_;
  max_abs_error_ = std::max(max_abs_error_, other.max_abs_error_);
  max_relative_error_ = std::max(max_relative_error_, other.max_relative_error_);
  for (std::size_t i = 0; i < codes_.size(); ++i) codes_[i] += other.codes_[i];
}

double QuantizationError::relative_l2() const {
  const auto elements = std::accumulate(codes_.begin(), codes_.end(), std::int64_t{0});
  if (finite_ == 0 && elements > 0) return std::numeric_limits<double>::quiet_NaN();
  return noise_ == 0 ? 0 : std::sqrt(noise_ / signal_);
}

double QuantizationError::sqnr_db() const {
  return 0.0 - 20 * std::log10(relative_l2());
}

double QuantizationError::sqnr_db_standard_error() const {
  if (finite_ < 2 || signal_ == 0 || noise_ == 0) return 0;
  // Of log(N / S): the relative variances of both means, less twice their relative covariance.
  const auto n = static_cast<double>(finite_);
  const double variance = (signal_2_ / (signal_ * signal_) + noise_2_ / (noise_ * noise_) -
                           2 * signal_noise_ / (signal_ * noise_)) *
                          n / (n - 1);
  return 10 / std::log(10.0) * std::sqrt(std::max(0.0, variance));
}

double QuantizationError::underflow_fraction() const {
  return ratio(static_cast<double>(underflows_), static_cast<double>(nonzero_));
}

double QuantizationError::overflow_fraction() const {
  return ratio(static_cast<double>(overflows_), static_cast<double>(finite_));
}

int QuantizationError::codes_used() const {
  return static_cast<int>(
      std::count_if(codes_.begin(), codes_.end(), [](std::int64_t n) { return n > 0; }));
}

double QuantizationError::code_entropy_bits() const {
  std::int64_t total = 0;
  for (const auto n : codes_) total += n;
  double entropy = 0;
  for (const auto n : codes_) {
    const double share = ratio(static_cast<double>(n), static_cast<double>(total));
    if (share > 0) entropy -= share * std::log2(share);
  }
  return entropy;
}

namespace {

/// All finite values of Q(x s) / s, ascending.
std::vector<double> values_of(NumberFormat number, double scale) {
  std::vector<double> values;
  if (number == NumberFormat::int8) {
    for (int q = -127; q <= 127; ++q) values.push_back(q * scale);
    return values;
  }
  const Format format = number == NumberFormat::hif8   ? Format::hif8
                        : number == NumberFormat::e4m3 ? Format::e4m3
                                                       : Format::e5m2;
  for (int code = 0; code < 256; ++code) {
    const float value = decode(format, static_cast<std::uint8_t>(code));
    if (std::isfinite(value)) values.push_back(value / scale);
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

/// Means of x^2 and of the squared error over |x| < bound.
struct Powers {
  double signal = 0, noise = 0;
};
std::optional<Powers> expected_powers(NumberFormat number, double scale,
                                      const Distribution& distribution, double bound) {
  if (is_mx(number)) return std::nullopt;
  const auto all = partial_moments(distribution, -bound, bound);
  if (!all) return std::nullopt;
  const auto values = values_of(number, scale);
  double noise = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double v = values[i];
    const double from = i == 0 ? -bound : std::max(-bound, (values[i - 1] + v) / 2);
    const double to = i + 1 == values.size() ? bound : std::min(bound, (v + values[i + 1]) / 2);
    if (!(from < to)) continue;
    const Moments cell = *partial_moments(distribution, from, to);
    noise += cell.square - 2 * v * cell.mean + v * v * cell.probability;
  }
  return Powers{all->square / all->probability, noise / all->probability};
}

}  // namespace

std::optional<double> expected_sqnr_db(NumberFormat number, double scale,
                                       const Distribution& distribution) {
  const auto powers =
      expected_powers(number, scale, distribution, std::numeric_limits<double>::infinity());
  if (!powers) return std::nullopt;
  return 10 * std::log10(powers->signal / powers->noise);
}

std::optional<double> expected_sqnr_db(NumberFormat number, double scale,
                                       const Distribution& distribution, double amax,
                                       std::int64_t elements) {
  const auto powers = expected_powers(number, scale, distribution, amax);
  if (!powers || elements < 2) return std::nullopt;
  const auto others = static_cast<double>(elements - 1);
  return 10 * std::log10((others * powers->signal + amax * amax) / (others * powers->noise));
}

}  // namespace ospsim
