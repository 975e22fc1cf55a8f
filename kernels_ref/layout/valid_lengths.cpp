#include "kernels_ref/layout/valid_lengths.hpp"

#include <map>
#include <utility>

#include "kernels_ref/layout/digits.hpp"

namespace ospsim {
namespace {

/// Valid length along one axis -> number of classes of that length.
using Histogram = std::map<std::int64_t, std::int64_t>;

/// Walks the digits of an axis from the most significant down. `below` counts the valid prefixes
/// already smaller than the last valid coordinate, `on_edge` says whether the equal prefix is still
/// reachable, `classes` how many classes share this walk.
void count_lengths(const AxisDigits& axis, const std::vector<std::int64_t>& last,
                   std::size_t remaining, std::int64_t below, bool on_edge, std::int64_t classes,
                   Histogram& histogram) {
  if (classes == 0) return;
  if (remaining == 0) {
    histogram[below + (on_edge ? 1 : 0)] += classes;
    return;
  }
  const std::size_t d = remaining - 1;
  const auto next = [&](std::int64_t new_below, bool new_on_edge, std::int64_t multiplicity) {
    count_lengths(axis, last, d, new_below, new_on_edge, classes * multiplicity, histogram);
  };
  if (!axis.names_subsequence[d]) {
    next(below * axis.radix[d] + (on_edge ? last[d] : 0), on_edge, 1);
  } else if (!on_edge) {
    next(below, false, axis.radix[d]);
  } else {
    next(below + 1, false, last[d]);
    next(below, true, 1);
    next(below, false, axis.radix[d] - last[d] - 1);
  }
}

}  // namespace

std::vector<LengthCount> valid_lengths(const Layout& layout) {
  Histogram lengths{{1, 1}};
  for (int a = 0; a < layout.axis_count(); ++a) {
    const AxisDigits axis = axis_digits(layout, a);
    Histogram along_axis, product;
    count_lengths(axis, axis.last_valid(), axis.count(), 0, true, 1, along_axis);
    for (const auto& [length, classes] : lengths)
      for (const auto& [axis_length, axis_classes] : along_axis)
        product[length * axis_length] += classes * axis_classes;
    lengths = std::move(product);
  }
  std::vector<LengthCount> counts;
  for (const auto& [length, classes] : lengths) counts.push_back({length, classes});
  return counts;
}

Count attended_pairs(const Layout& layout) {
  Count pairs = 0;
  for (const auto& [length, classes] : valid_lengths(layout))
    pairs += static_cast<Count>(length) * static_cast<Count>(length) * static_cast<Count>(classes);
  return pairs;
}

}  // namespace ospsim
