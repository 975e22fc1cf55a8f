#pragma once

#include <cstdint>
#include <vector>

#include "kernels_ref/count.hpp"
#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// How many sub-sequences have how many valid tokens. In closed form, by ascending length.
struct LengthCount {
  std::int64_t valid_tokens = 0;
  std::int64_t subsequences = 0;
  friend constexpr bool operator==(const LengthCount&, const LengthCount&) = default;
};
std::vector<LengthCount> valid_lengths(const Layout& layout);

/// Ordered pairs of valid tokens that attend to each other, self pairs included: the sum of the
/// squared valid lengths.
Count attended_pairs(const Layout& layout);

}  // namespace ospsim
