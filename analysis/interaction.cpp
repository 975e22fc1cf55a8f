#include "analysis/interaction.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "analysis/axis_walk.hpp"
#include "kernels_ref/layout/digits.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

Count count(std::int64_t n) {
  return static_cast<Count>(n);
}

/// Calls `visit(tokens, profile of each axis)` for every combination of axis profiles.
template <class Visit>
void for_each_profile(const std::vector<std::vector<AxisReach>>& axes, const Visit& visit) {
  std::vector<const AxisReach*> chosen(axes.size());
  const auto choose = [&](const auto& self, std::size_t axis, Count tokens) -> void {
    if (axis == axes.size()) return visit(tokens, chosen);
    for (const auto& profile : axes[axis]) {
      chosen[axis] = &profile;
      self(self, axis + 1, tokens * count(profile.coordinates));
    }
  };
  choose(choose, 0, 1);
}

std::vector<std::vector<AxisReach>> axis_profiles(const Phases& phases, int hops) {
  std::vector<std::vector<AxisReach>> axes;
  for (int a = 0; a < phases.token.axis_count(); ++a) axes.push_back(axis_reach(phases, a, hops));
  return axes;
}

/// Tokens reached at `hop` along one member of the profiles: the product over axes.
Count reached(const std::vector<const AxisReach*>& axes,
              std::vector<std::int64_t> AxisReach::*start, std::size_t hop) {
  Count product = 1;
  for (const auto* axis : axes) product *= count((axis->*start)[hop]);
  return product;
}

}  // namespace

std::vector<Reach> reach(const Phases& phases, int hops) {
  const Count tokens = count(phases.grid().tokens());
  const auto axes = axis_profiles(phases, hops);
  std::vector<Reach> result;
  for (int hop = 1; hop <= hops; ++hop) {
    const auto h = static_cast<std::size_t>(hop);
    Count least = tokens, sum = 0;
    for_each_profile(axes, [&](Count multiplicity, const std::vector<const AxisReach*>& profile) {
      const Count best = std::max(reached(profile, &AxisReach::token_first, h),
                                  reached(profile, &AxisReach::group_first, h));
      least = std::min(least, best);
      sum += multiplicity * best;
    });
    result.push_back({hop, {least, tokens}, {sum, tokens * tokens}});
  }
  return result;
}

AverageDistance average_distance(const Phases& phases) {
  const Count tokens = count(phases.grid().tokens()), pairs = tokens * tokens;
  // Two operations of one phase reach no more than one, so the pairs within distance h are those
  // that h operations of alternating phases reach from either start.
  Count sum = 0, within = tokens;
  for (int hops = 4;; hops *= 2) {
    const auto axes = axis_profiles(phases, hops);
    sum = 0;
    within = tokens;
    for (std::size_t h = 1; h <= static_cast<std::size_t>(hops); ++h) {
      Count within_h = 0;
      for_each_profile(axes, [&](Count multiplicity, const std::vector<const AxisReach*>& profile) {
        within_h += multiplicity * (reached(profile, &AxisReach::token_first, h) +
                                    reached(profile, &AxisReach::group_first, h) -
                                    reached(profile, &AxisReach::both, h));
      });
      if (within_h == within && h > 1) return {{sum, within}, {pairs - within, pairs}};
      sum += count(static_cast<std::int64_t>(h)) * (within_h - within);
      within = within_h;
    }
  }
}

// ---- Neighbours --------------------------------------------------------------------------------

namespace {

/// The digits of one axis as the token phase, the group phase and both together compare them. Pairs
/// that meet = agree in the first + agree in the second - agree in the union of the digits.
struct Comparisons {
  AxisDigits axis;
  std::vector<bool> token, group, either;

  Comparisons(const Phases& phases, int a) : axis(axis_digits(phases.token, a)) {
    token = axis.names_subsequence;
    group = axis_digits(phases.group, a).names_subsequence;
    for (std::size_t d = 0; d < token.size(); ++d) either.push_back(token[d] || group[d]);
  }
};

/// Agreeing pairs by the two phases and by both at once.
struct Agreeing {
  Count token = 0, group = 0, both = 0;
  Count met() const { return token + group - both; }
};

std::int64_t magnitude(std::int64_t n) {
  return n < 0 ? -n : n;
}

Agreeing along_axis(const Comparisons& digits, std::int64_t distance) {
  const std::int64_t pairs = std::max(digits.axis.extent - distance, std::int64_t{0});
  return {count(count_agreeing(digits.axis, digits.token, distance, pairs)),
          count(count_agreeing(digits.axis, digits.group, distance, pairs)),
          count(count_agreeing(digits.axis, digits.either, distance, pairs))};
}

/// Where the rows of a flattened frame or video start, modulo the period of the compared digits.
using RowStarts = std::map<std::int64_t, Count>;

/// Multiples of `stride` below `stride * n`, modulo `period`.
RowStarts multiples_modulo(std::int64_t stride, std::int64_t n, std::int64_t period) {
  const std::int64_t cycle = period / std::gcd(stride, period);
  RowStarts starts;
  for (std::int64_t i = 0; i < std::min(n, cycle); ++i)
    starts[static_cast<std::int64_t>(count(i) * count(stride) % count(period))] +=
        count((n - i + cycle - 1) / cycle);
  return starts;
}

RowStarts sums_modulo(const RowStarts& a, const RowStarts& b, std::int64_t period) {
  RowStarts sums;
  for (const auto& [x, nx] : a)
    for (const auto& [y, ny] : b) sums[(x + y) % period] += nx * ny;
  return sums;
}

/// The distance after which comparing these digits with those of a shifted coordinate repeats. The
/// most significant digit has no upper bound: it changes by carries alone, which its stride
/// decides.
std::int64_t period_of(const AxisDigits& axis, const std::vector<bool>& compare) {
  std::int64_t period = 1, stride = 1;
  for (std::size_t d = 0; d < axis.count(); ++d) {
    const bool top = d + 1 == axis.count();
    if (compare[d]) period = top ? stride : stride * axis.radix[d];
    stride *= axis.radix[d];
  }
  return period;
}

/// Pairs (i, i + distance) that agree, i running over [start + from, start + to) for every row
/// start.
Count along_rows(const AxisDigits& axis, const std::vector<bool>& compare, const RowStarts& starts,
                 std::int64_t from, std::int64_t to, std::int64_t distance) {
  Count agreeing = 0;
  for (const auto& [start, rows] : starts)
    agreeing += rows * count(count_agreeing(axis, compare, distance, start + to) -
                             count_agreeing(axis, compare, distance, start + from));
  return agreeing;
}

/// The offsets of one frame, (dy, dx) and (-dy, -dx) being the same pairs.
struct OffsetPairs {
  Count met = 0, pairs = 0;
};

OffsetPairs pairs_at(const Phases& phases, std::int64_t dy, std::int64_t dx) {
  const Grid& grid = phases.grid();
  if (dy < 0 || (dy == 0 && dx < 0)) {
    dy = -dy;
    dx = -dx;
  }
  const std::int64_t rows = grid.h - dy, columns = grid.w - magnitude(dx);
  if (rows <= 0 || columns <= 0) return {};
  const Count pairs = count(grid.t) * count(rows) * count(columns);

  if (phases.token.axis_count() == 3) {
    const Agreeing y = along_axis(Comparisons(phases, 1), dy);
    const Agreeing x = along_axis(Comparisons(phases, 2), magnitude(dx));
    const Agreeing both{y.token * x.token, y.group * x.group, y.both * x.both};
    return {count(grid.t) * both.met(), pairs};
  }

  // A flattened coordinate: count row by row, rows that start alike together. The frame is part of
  // the flattened coordinate of a whole video, and a factor where each frame is flattened by
  // itself.
  const bool whole_video = phases.token.axis_count() == 1;
  const Comparisons digits(phases, whole_video ? 0 : 1);
  const std::int64_t distance = dy * grid.w + dx;
  const auto agreeing = [&](const std::vector<bool>& compare) {
    const std::int64_t period = period_of(digits.axis, compare);
    RowStarts starts = multiples_modulo(grid.w, rows, period);
    if (whole_video)
      starts = sums_modulo(starts, multiples_modulo(grid.frame_tokens(), grid.t, period), period);
    const Count in_rows = along_rows(digits.axis, compare, starts, std::max(-dx, std::int64_t{0}),
                                     grid.w - std::max(dx, std::int64_t{0}), distance);
    return whole_video ? in_rows : in_rows * count(grid.t);
  };
  const Agreeing both{agreeing(digits.token), agreeing(digits.group), agreeing(digits.either)};
  return {both.met(), pairs};
}

}  // namespace

std::optional<Fraction> offset_coverage(const Phases& phases, std::int64_t dy, std::int64_t dx) {
  const OffsetPairs at = pairs_at(phases, dy, dx);
  if (at.pairs == 0) return std::nullopt;
  return Fraction{at.met, at.pairs};
}

std::optional<Fraction> neighbour_coverage(const Phases& phases, std::int64_t radius) {
  OffsetPairs sum;
  for (std::int64_t dy = 0; dy <= radius; ++dy)
    for (std::int64_t dx = dy == 0 ? 1 : -radius; dx <= radius; ++dx) {
      const OffsetPairs at = pairs_at(phases, dy, dx);
      sum.met += at.met;
      sum.pairs += at.pairs;
    }
  if (sum.pairs == 0) return std::nullopt;
  return Fraction{sum.met, sum.pairs};
}

std::optional<double> anisotropy(const Phases& phases) {
  double least = 1, most = 0;
  for (const auto& coverage : {offset_coverage(phases, 1, 0), offset_coverage(phases, 0, 1)}) {
    if (!coverage) continue;
    least = std::min(least, coverage->value());
    most = std::max(most, coverage->value());
  }
  if (most == 0 || least == 0) return std::nullopt;
  return most / least;
}

// ---- Resolution and load -----------------------------------------------------------------------

namespace {

/// The value of the sub-sequence digits of one axis at a coordinate, read as one number.
std::int64_t class_of(const Layout& layout, int axis, std::int64_t coordinate) {
  std::int64_t number = 0;
  for (int d = 0; d < layout.subsequence_digits(); ++d) {
    const Digit& digit = layout.digit(d);
    if (digit.axis == axis) number = number * digit.radix + coordinate / digit.stride % digit.radix;
  }
  return number;
}

/// Whether a coordinate has the same sub-sequence digits in both layouts. The most significant
/// digit may have more values in the wider one.
bool same_digits(const Layout& a, const Layout& b, int axis) {
  const auto digits_of = [axis](const Layout& layout) {
    std::vector<Digit> digits;
    for (int d = 0; d < layout.subsequence_digits(); ++d)
      if (layout.digit(d).axis == axis) digits.push_back(layout.digit(d));
    return digits;
  };
  const auto is_top = [axis](const Layout& layout, const Digit& digit) {
    return digit.stride * digit.radix == layout.axis(axis).padded;
  };
  const auto of_a = digits_of(a), of_b = digits_of(b);
  return std::equal(
      of_a.begin(), of_a.end(), of_b.begin(), of_b.end(), [&](const Digit& x, const Digit& y) {
        return x.stride == y.stride && (x.radix == y.radix || (is_top(a, x) && is_top(b, y)));
      });
}

}  // namespace

std::optional<Fraction> resolution_consistency(const Pattern& pattern, const Grid& grid,
                                               Phase phase, std::int64_t new_width) {
  const Grid resized{grid.t, grid.h, new_width};
  const Layout before(pattern, grid, phase), after(pattern, resized, phase);
  const std::int64_t columns = std::min(grid.w, new_width);
  const int x_axis = before.axis_count() - 1;
  if (before.axis_count() == 3) {
    if (same_digits(before, after, x_axis)) return Fraction{count(columns), count(columns)};
    std::int64_t same = 0;
    for (std::int64_t x = 0; x < columns; ++x)
      same += class_of(before, x_axis, x) == class_of(after, x_axis, x) ? 1 : 0;
    return Fraction{count(same), count(columns)};
  }

  // On a flattened coordinate, row r starts at r * width: widening shifts it by r * (difference).
  if (!same_digits(before, after, x_axis)) return std::nullopt;
  const AxisDigits digits = axis_digits(grid.w <= new_width ? after : before, x_axis);
  const std::int64_t widening = magnitude(new_width - grid.w);
  const std::int64_t rows = before.axis_count() == 1 ? grid.t * grid.h : grid.h;
  const std::int64_t period = period_of(digits, digits.names_subsequence);
  const bool top_compared = !digits.names_subsequence.empty() && digits.names_subsequence.back();
  // Without the unbounded digit, rows a period apart agree alike.
  const std::int64_t distinct = top_compared ? rows : std::min(rows, period);
  Count same = 0;
  for (std::int64_t r = 0; r < distinct; ++r) {
    std::int64_t start = r * columns, shift = r * widening;
    if (!top_compared) {
      start %= period;
      shift %= period;
    }
    const std::int64_t agreeing =
        count_agreeing(digits, digits.names_subsequence, shift, start + columns) -
        count_agreeing(digits, digits.names_subsequence, shift, start);
    same += count(agreeing) * count((rows - r + distinct - 1) / distinct);
  }
  return Fraction{same, count(rows) * count(columns)};
}

LoadBalance load_balance(const Layout& layout) {
  LoadBalance balance{.lengths = valid_lengths(layout)};
  const auto tokens = static_cast<double>(layout.grid().tokens());
  const auto pairs = static_cast<double>(attended_pairs(layout));
  const auto subsequences = static_cast<double>(layout.subsequences());
  const auto largest = static_cast<double>(balance.lengths.back().valid_tokens);
  balance.largest_over_mean_tokens = largest * subsequences / tokens;
  balance.largest_over_mean_work = largest * largest * subsequences / pairs;
  return balance;
}

}  // namespace ospsim
