#include "analysis/alias.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>

#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/digits.hpp"

namespace ospsim {
namespace {

/// Powers of the harmonics of a class of one axis, relative to that of frequency 0: [period], 1
/// first.
std::optional<std::vector<double>> harmonics(const AxisDigits& axis) {
  std::int64_t period = 1, stride = 1;
  for (std::size_t d = 0; d < axis.count(); ++d) {
    stride *= axis.radix[d];
    if (axis.names_subsequence[d]) period = stride;
  }
  constexpr std::int64_t longest = 4096;
  if (period > 1 && (2 * period > axis.extent || period > longest)) return std::nullopt;

  // Class 0: where all digits that name the sub-sequence are 0.
  std::vector<std::int64_t> members;
  for (std::int64_t i = 0; i < period; ++i) {
    std::int64_t rest = i;
    bool member = true;
    for (std::size_t d = 0; d < axis.count(); ++d) {
      member = member && (!axis.names_subsequence[d] || rest % axis.radix[d] == 0);
      rest /= axis.radix[d];
    }
    if (member) members.push_back(i);
  }
  std::vector<double> powers;
  for (std::int64_t n = 0; n < period; ++n) {
    std::complex<double> sum = 0;
    for (const auto i : members)
      sum += std::polar(1.0, 2 * std::numbers::pi * static_cast<double>(n * i % period) /
                                 static_cast<double>(period));
    powers.push_back(std::norm(sum) / std::pow(static_cast<double>(members.size()), 2));
  }
  return powers;
}

/// n / period in (-1/2, 1/2].
double cycles(std::int64_t n, std::int64_t period) {
  n %= period;
  if (2 * n > period) n -= period;
  return static_cast<double>(n) / static_cast<double>(period);
}

/// Axes that one step along an axis of the layout moves through: a step along the flattened frame
/// is one along x, and W of them one along y.
std::array<std::int64_t, 3> steps_per_token(const Layout& layout, const AxisSpan& axis) {
  const std::array<std::int64_t, 3> strides{layout.grid().frame_tokens(), layout.grid().w, 1};
  std::array<std::int64_t, 3> steps{};
  for (std::size_t a = 0; a < 3; ++a) {
    const bool inside =
        strides[a] % axis.token_stride == 0 && strides[a] < axis.token_stride * axis.extent;
    steps[a] = inside ? strides[a] / axis.token_stride : 0;
  }
  return steps;
}

/// sum over d of exp(-d^2/2l^2) exp(-d^2/4s^2) cos(2 pi f d).
double smoothed(double length, double bandwidth, double frequency) {
  if (length == 0) return 1;
  const double width = 1 / (1 / (length * length) + 1 / (2 * bandwidth * bandwidth));
  double sum = 1;
  for (double d = 1; d * d / (2 * width) < 40; ++d)
    sum += 2 * std::exp(-d * d / (2 * width)) * std::cos(2 * std::numbers::pi * frequency * d);
  return sum;
}

double smoothed(const AttentionModel& model, const std::array<double, 3>& frequency) {
  double sum = 0;
  for (const auto& [weight, length] : model.correlation)
    sum += weight * smoothed(length.t, model.bandwidth.t, frequency[0]) *
           smoothed(length.y, model.bandwidth.y, frequency[1]) *
           smoothed(length.x, model.bandwidth.x, frequency[2]);
  return sum;
}

}  // namespace

double Alias::magnitude() const {
  return std::hypot(frequency[0], frequency[1], frequency[2]);
}

std::optional<std::vector<Alias>> aliases(const Layout& layout) {
  std::vector<Alias> found{{{0, 0, 0}, 1}};
  for (int a = 0; a < layout.axis_count(); ++a) {
    const auto powers = harmonics(axis_digits(layout, a));
    if (!powers) return std::nullopt;
    const auto steps = steps_per_token(layout, layout.axis(a));
    const std::int64_t period = std::ssize(*powers);
    std::vector<Alias> product;
    for (const Alias& alias : found)
      for (std::int64_t n = 0; n < period; ++n) {
        if ((*powers)[index(n)] < 1e-12) continue;
        Alias moved{alias.frequency, alias.power * (*powers)[index(n)]};
        for (std::size_t axis = 0; axis < 3; ++axis)
          moved.frequency[axis] += cycles(n * (steps[axis] % period), period);
        product.push_back(moved);
      }
    found = std::move(product);
  }
  found.erase(found.begin());  // frequency 0
  return found;
}

double shortest_alias(std::span<const Alias> aliases) {
  double shortest = std::numeric_limits<double>::infinity();
  for (const Alias& alias : aliases)
    if (alias.power >= 0.01) shortest = std::min(shortest, alias.magnitude());
  return shortest;
}

double alias_error(std::span<const Alias> aliases, const AttentionModel& model) {
  const double at_zero = smoothed(model, {0, 0, 0});
  double sum = 0;
  for (const Alias& alias : aliases) sum += alias.power * smoothed(model, alias.frequency);
  return std::sqrt(sum / at_zero);
}

}  // namespace ospsim
