#include "analysis/axis_walk.hpp"

#include <algorithm>
#include <array>

namespace ospsim {
namespace {

/// An interval of values of one digit that stay together, and which side of the last valid
/// coordinate's digit they lie on (-1 below, 0 equal, +1 above).
struct ValueGroup {
  std::int64_t values = 0;
  int side = 0;
};

/// A combination of one group per digit, most significant digit last.
using Cell = std::vector<std::size_t>;

/// The cells of one axis as seen from one coordinate, which sits alone in group 0 of every digit.
class Cells {
 public:
  Cells(const AxisDigits& axis, const std::vector<int>& side_of_origin) {
    const auto last = axis.last_valid();
    for (std::size_t d = 0; d < axis.count(); ++d) {
      const int origin = side_of_origin[d];
      auto& groups = groups_.emplace_back(std::vector<ValueGroup>{{1, origin}});
      const auto add = [&](int side, std::int64_t values) {
        values -= side == origin ? 1 : 0;
        if (values > 0) groups.push_back({values, side});
      };
      add(-1, last[d]);
      add(0, 1);
      add(+1, axis.radix[d] - last[d] - 1);
    }
    Cell cell(axis.count(), 0);
    do {
      if (is_valid(cell)) cells_.push_back(cell);
    } while (advance(cell));
  }

  const std::vector<Cell>& cells() const { return cells_; }

  std::int64_t coordinates(const Cell& cell) const {
    std::int64_t product = 1;
    for (std::size_t d = 0; d < cell.size(); ++d) product *= groups_[d][cell[d]].values;
    return product;
  }

  /// One attention operation: every valid cell that agrees in the phase's digits with a reached
  /// one.
  std::vector<bool> step(const std::vector<bool>& reached,
                         const std::vector<bool>& phase_digits) const {
    std::vector<bool> key_reached(key_count(phase_digits));
    for (std::size_t c = 0; c < cells_.size(); ++c)
      if (reached[c]) key_reached[key(cells_[c], phase_digits)] = true;
    std::vector<bool> next(cells_.size());
    for (std::size_t c = 0; c < cells_.size(); ++c)
      next[c] = key_reached[key(cells_[c], phase_digits)];
    return next;
  }

 private:
  bool is_valid(const Cell& cell) const {
    for (std::size_t d = cell.size(); d-- > 0;)
      if (const int side = groups_[d][cell[d]].side; side != 0) return side < 0;
    return true;
  }
  bool advance(Cell& cell) const {
    for (std::size_t d = 0; d < cell.size(); ++d) {
      if (++cell[d] < groups_[d].size()) return true;
      cell[d] = 0;
    }
    return false;
  }
  std::size_t key_count(const std::vector<bool>& phase_digits) const {
    std::size_t count = 1;
    for (std::size_t d = 0; d < groups_.size(); ++d)
      if (phase_digits[d]) count *= groups_[d].size();
    return count;
  }
  std::size_t key(const Cell& cell, const std::vector<bool>& phase_digits) const {
    std::size_t key = 0;
    for (std::size_t d = 0; d < cell.size(); ++d)
      if (phase_digits[d]) key = key * groups_[d].size() + cell[d];
    return key;
  }

  std::vector<std::vector<ValueGroup>> groups_;
  std::vector<Cell> cells_;
};

AxisReach reach_from(const AxisDigits& token, const AxisDigits& group,
                     const std::vector<int>& origin, int hops) {
  const Cells cells(token, origin);
  const std::size_t count = cells.cells().size();
  std::vector<bool> by_token(count), by_group(count);
  for (std::size_t c = 0; c < count; ++c) {
    const Cell& cell = cells.cells()[c];
    by_token[c] = by_group[c] =
        std::all_of(cell.begin(), cell.end(), [](auto g) { return g == 0; });
  }
  AxisReach reach;
  for (int hop = 0;; ++hop) {
    std::int64_t token_first = 0, group_first = 0, both = 0;
    for (std::size_t c = 0; c < count; ++c) {
      const std::int64_t coordinates = cells.coordinates(cells.cells()[c]);
      if (by_token[c]) token_first += coordinates;
      if (by_group[c]) group_first += coordinates;
      if (by_token[c] && by_group[c]) both += coordinates;
    }
    reach.token_first.push_back(token_first);
    reach.group_first.push_back(group_first);
    reach.both.push_back(both);
    if (hop == hops) return reach;
    const bool even = hop % 2 == 0;
    by_token = cells.step(by_token, even ? token.names_subsequence : group.names_subsequence);
    by_group = cells.step(by_group, even ? group.names_subsequence : token.names_subsequence);
  }
}

}  // namespace

std::vector<AxisReach> axis_reach(const Phases& phases, int axis, int hops) {
  const AxisDigits token = axis_digits(phases.token, axis), group = axis_digits(phases.group, axis);
  const auto last = token.last_valid();
  std::vector<AxisReach> profiles;
  std::vector<int> sides(token.count());

  // Every valid combination of sides, from the most significant digit down, with its multiplicity.
  const auto visit = [&](const auto& self, std::size_t remaining, bool on_edge,
                         std::int64_t coordinates) -> void {
    if (coordinates == 0) return;
    if (remaining == 0) {
      AxisReach reach = reach_from(token, group, sides, hops);
      for (auto& known : profiles) {
        reach.coordinates = known.coordinates;
        if (reach == known) {
          known.coordinates += coordinates;
          return;
        }
      }
      reach.coordinates = coordinates;
      profiles.push_back(std::move(reach));
      return;
    }
    const std::size_t d = remaining - 1;
    const std::array<std::int64_t, 3> values{last[d], 1, token.radix[d] - last[d] - 1};
    for (const int side : {-1, 0, +1}) {
      if (on_edge && side > 0) continue;
      sides[d] = side;
      self(self, d, on_edge && side == 0, coordinates * values[static_cast<std::size_t>(side + 1)]);
    }
  };
  visit(visit, token.count(), true, 1);
  return profiles;
}

std::int64_t count_agreeing(const AxisDigits& axis, const std::vector<bool>& compare,
                            std::int64_t distance, std::int64_t below) {
  // ways[carry][less]: how many values of the digits so far carry into the next one, and lie below
  // the same digits of `below`.
  std::array<std::array<std::int64_t, 2>, 2> ways{};
  ways[0][0] = 1;
  for (std::size_t d = 0; d < axis.count(); ++d) {
    const bool top = d + 1 == axis.count();
    const std::int64_t radix = top ? below + distance + 2 : axis.radix[d];
    const std::int64_t step = distance % radix, bound = below % radix;
    distance /= radix;
    below /= radix;
    std::array<std::array<std::int64_t, 2>, 2> next{};
    for (std::size_t carry = 0; carry < 2; ++carry) {
      const std::int64_t shift = step + static_cast<std::int64_t>(carry);
      if (compare[d] && shift % radix != 0) continue;
      for (std::size_t carry_out = 0; carry_out < 2; ++carry_out) {
        const std::int64_t first = carry_out == 1 ? std::max(radix - shift, std::int64_t{0}) : 0;
        const std::int64_t past = carry_out == 1 ? radix : std::max(radix - shift, std::int64_t{0});
        const auto values_in = [&](std::int64_t from, std::int64_t to) {
          return std::max(std::min(to, past) - std::max(from, first), std::int64_t{0});
        };
        const std::int64_t smaller = values_in(0, bound), equal = values_in(bound, bound + 1),
                           larger = values_in(bound + 1, radix);
        const std::int64_t all = ways[carry][0] + ways[carry][1];
        next[carry_out][1] += all * smaller + ways[carry][1] * equal;
        next[carry_out][0] += all * larger + ways[carry][0] * equal;
      }
    }
    ways = next;
  }
  if (axis.count() == 0) return below;
  return ways[0][1] + ways[1][1];
}

}  // namespace ospsim
