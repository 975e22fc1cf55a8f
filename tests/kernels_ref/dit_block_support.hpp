#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels_ref/block/dit_block.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {

/// Matrices that keep the size of what they multiply, vectors of standard deviation 0.3.
inline DitBlockWeights<double> random_weights(const DitBlockShape& shape, std::uint64_t seed) {
  auto weights = zero_weights<double>(shape);
  for_each_weight(weights, [&](std::vector<double>& array) {
    const bool matrix = std::ssize(array) > std::max(shape.dim, shape.ffn_dim);
    array = normal(std::ssize(array), seed++,
                   matrix ? 1 / std::sqrt(static_cast<double>(shape.dim)) : 0.3);
  });
  return weights;
}

template <class T>
DitBlockWeights<T> converted_weights(const DitBlockShape& shape, DitBlockWeights<double> weights) {
  auto result = zero_weights<T>(shape);
  std::vector<std::vector<double>*> from;
  for_each_weight(weights, [&](std::vector<double>& array) { from.push_back(&array); });
  std::size_t i = 0;
  for_each_weight(result, [&](std::vector<T>& array) { array = converted<T>(*from[i++]); });
  return result;
}

}  // namespace ospsim
