#pragma once

#include <cstdint>
#include <vector>

#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// The digits of one axis, least significant first, and which of them name the sub-sequence in the
/// layout they were read from. All closed forms on one axis are written over this.
struct AxisDigits {
  std::int64_t extent = 1;          ///< valid coordinates are [0, extent)
  std::vector<std::int64_t> radix;  ///< ascending significance; strides are the running product
  std::vector<bool> names_subsequence;

  std::size_t count() const { return radix.size(); }
  /// The digits of the last valid coordinate. Whether a coordinate is valid depends on nothing but
  /// how its digits compare with these, so digit values on the same side are interchangeable.
  std::vector<std::int64_t> last_valid() const;
};

AxisDigits axis_digits(const Layout& layout, int axis);

}  // namespace ospsim
