#include "analysis/estimate.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <random>

#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

double quotient(double a, double b) {
  return a == 0 ? 0 : a / b;
}

}  // namespace

Estimate ratio_estimate(std::span<const double> a, std::span<const double> b,
                        std::int64_t population) {
  const double sum_a = std::accumulate(a.begin(), a.end(), 0.0),
               sum_b = std::accumulate(b.begin(), b.end(), 0.0);
  Estimate estimate{quotient(sum_a, sum_b), 0};
  if (std::ssize(a) == population) return estimate;
  const auto n = static_cast<double>(a.size());
  double residual_2 = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    residual_2 += std::pow(a[i] - estimate.value * b[i], 2);
  const double left = 1 - n / static_cast<double>(population);
  estimate.standard_error = n < 2 ? std::numeric_limits<double>::infinity()
                                  : quotient(std::sqrt(left * n / (n - 1) * residual_2), sum_b);
  return estimate;
}

Estimate root_estimate(const Estimate& square) {
  const double root = square.value < 0 ? 0 : std::sqrt(square.value);
  return {root, quotient(square.standard_error, 2 * root)};
}

std::vector<std::int64_t> drawn_tokens(std::int64_t tokens, std::int64_t n, std::uint64_t seed) {
  std::vector<std::int64_t> all(index(tokens));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  if (n <= 0 || n >= tokens) return all;
  std::vector<std::int64_t> drawn;
  std::sample(all.begin(), all.end(), std::back_inserter(drawn), n, std::mt19937_64(seed));
  return drawn;
}

}  // namespace ospsim
