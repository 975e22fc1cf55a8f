#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "kernels_ref/backend.hpp"

namespace ospsim {

/// Independent draws from a normal distribution, representable in float32, so that both back ends
/// can be given the same numbers.
inline std::vector<double> normal(std::int64_t size, std::uint64_t seed, double scale = 1) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> distribution;
  std::vector<double> values(static_cast<std::size_t>(size));
  for (auto& value : values) value = static_cast<float>(scale) * distribution(generator);
  return values;
}

template <class To, class From>
std::vector<To> converted(const std::vector<From>& from) {
  std::vector<To> to(from.size());
  std::ranges::transform(from, to.begin(), [](From value) { return static_cast<To>(value); });
  return to;
}

/// |a - b| / |b| in the Euclidean norm; |a| where b is zero.
template <class A, class B>
double relative_l2(const std::vector<A>& a, const std::vector<B>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return a.size() != b.size() ? INFINITY : std::sqrt(norm == 0 ? difference : difference / norm);
}

/// What design section 6 allows a float32 result on unit-normal input.
inline double float_tolerance(std::int64_t tokens) {
  return tokens <= 4096 ? 2e-6 : 5e-6;
}

}  // namespace ospsim
