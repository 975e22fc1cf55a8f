#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "analysis/fraction.hpp"
#include "kernels_ref/layout/layout.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

/// Which tokens a pattern brings together, and how soon. Two tokens meet in one attention operation
/// iff the digits that name their sub-sequence agree. Everything here is exact and in closed form:
/// the cost depends on the number of digits and on the ratio, not on the size of the grid. Only
/// valid tokens count; padding is nobody.
namespace ospsim {

/// A pattern's two phases on one grid; equal for patterns of one phase.
struct Phases {
  Layout token, group;
  Phases(const Pattern& pattern, const Grid& grid)
      : token(pattern, grid, Phase::token), group(pattern, grid, Phase::group) {}
  const Grid& grid() const { return token.grid(); }
  const Layout& of(Phase phase) const { return phase == Phase::token ? token : group; }
};

/// What a token has reached after `hops` operations whose phases alternate, itself included, as a
/// fraction of all tokens: for the worst token and on average, each token taking the better of the
/// two starts.
struct Reach {
  int hops = 0;
  Fraction fraction_min, fraction_mean;
};
/// One entry per hop, 1..hops.
std::vector<Reach> reach(const Phases& phases, int hops);

/// Average over all ordered pairs, self pairs included at distance 0, of the number of operations
/// that connect them, each operation being of either phase (Open-Sora Plan v1.3's average attention
/// distance; arXiv 2412.00131). Pairs that no number of operations connects are left out of
/// `over_connected` and counted in `unconnected`.
struct AverageDistance {
  Fraction over_connected;
  Fraction unconnected;  ///< of all ordered pairs
};
AverageDistance average_distance(const Phases& phases);

/// Of the ordered pairs of tokens of one frame at most `radius` apart along each axis, centre
/// excluded and pairs pooled: the fraction that meets in one operation of either phase. Nothing
/// where a frame has no such pair.
std::optional<Fraction> neighbour_coverage(const Phases& phases, std::int64_t radius);

/// The same for one offset inside the frame, (dy, dx) != (0, 0).
std::optional<Fraction> offset_coverage(const Phases& phases, std::int64_t dy, std::int64_t dx);

/// Largest over smallest coverage of the four nearest neighbours (up, down, left, right). 1 is
/// isotropic. Nothing if the smallest is 0 or a frame has no neighbours.
std::optional<double> anisotropy(const Phases& phases);

/// The fraction of tokens (t, y, x) that keep the digits naming their sub-sequence when the grid's
/// width becomes `new_width`, over the columns both widths have. Where a pattern is
/// resolution-consistent this is 1; the chance level is 1/sparsity. Nothing if the digits
/// themselves change size on a flattened axis (tiles of a flattened video), where sub-sequences
/// cannot be identified across widths.
std::optional<Fraction> resolution_consistency(const Pattern& pattern, const Grid& grid,
                                               Phase phase, std::int64_t new_width);

/// Valid tokens per sub-sequence. Work means attended pairs: attention costs the square of the
/// length.
struct LoadBalance {
  std::vector<LengthCount> lengths;
  double largest_over_mean_tokens = 1;
  double largest_over_mean_work = 1;
};
LoadBalance load_balance(const Layout& layout);

}  // namespace ospsim
