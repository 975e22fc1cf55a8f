#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "kernels_ref/parallel.hpp"

namespace ospsim {

/// sums[column] = the sum of term(row, column) over all rows, each column in the order of the rows
/// and in double: the gradient of what is shared by all rows.
template <class Term>
void column_sums(std::int64_t rows, std::int64_t columns, int threads, std::span<float> sums,
                 Term term) {
  constexpr std::int64_t width = 64;
  parallel_ranges(columns, width, threads, [&](std::int64_t first, std::int64_t last) {
    std::array<double, width> sum{};
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t column = first; column < last; ++column)
        sum[static_cast<std::size_t>(column - first)] += term(row, column);
    for (std::int64_t column = first; column < last; ++column)
      sums[static_cast<std::size_t>(column)] =
          static_cast<float>(sum[static_cast<std::size_t>(column - first)]);
  });
}

}  // namespace ospsim
