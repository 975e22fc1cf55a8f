#pragma once

#include <cstdint>
#include <vector>

#include "analysis/interaction.hpp"
#include "kernels_ref/layout/digits.hpp"

namespace ospsim {

/// What the tokens at one coordinate of an axis reach along that axis. Reach sets are products over
/// axes, because an operation fixes the digits of each axis by themselves.
struct AxisReach {
  /// Coordinates that share this profile.
  std::int64_t coordinates = 0;
  /// Valid coordinates reached after hop h = 0, 1, ..., starting with the token phase, with the
  /// group phase, and by both starts.
  std::vector<std::int64_t> token_first, group_first, both;
  friend bool operator==(const AxisReach&, const AxisReach&) = default;
};

/// The distinct profiles of an axis, for `hops` hops (so hops + 1 entries). Exact for any extent:
/// digit values on the same side of the last valid coordinate's digit are interchangeable, so one
/// coordinate per combination of sides stands for all, and what it reaches is a union of cells of
/// such combinations. The cost is at most 3^digits * 4^digits.
std::vector<AxisReach> axis_reach(const Phases& phases, int axis, int hops);

/// How many coordinates x in [0, below) have the same sub-sequence digits as x + distance, for
/// distance >= 0. The digits are those for which `compare` is set; the most significant digit has
/// no upper bound. A walk over the digits with a carry: the cost depends on their number alone.
std::int64_t count_agreeing(const AxisDigits& axis, const std::vector<bool>& compare,
                            std::int64_t distance, std::int64_t below);

}  // namespace ospsim
