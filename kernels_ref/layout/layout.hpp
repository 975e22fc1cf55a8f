#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "kernels_ref/layout/grid.hpp"
#include "kernels_ref/layout/pattern.hpp"

namespace ospsim {

/// Where a token sits in a rearranged video: which sub-sequence, and which slot inside it. Both
/// count padding: sub-sequences all have the same padded length.
struct Place {
  std::int64_t subsequence = 0, slot = 0;
  friend constexpr bool operator==(const Place&, const Place&) = default;
};

/// A digit of one coordinate: (coordinate / stride) % radix. Radix 1 never occurs.
struct Digit {
  std::int64_t stride = 1, radix = 1;
  int axis = 0;  ///< index into Layout::axes()
  friend constexpr bool operator==(const Digit&, const Digit&) = default;
};

/// One coordinate of the grid. Padding stands at its end; coordinates in [extent, padded) are
/// padding.
struct AxisSpan {
  char name = 'i';
  std::int64_t extent = 1, padded = 1;
  std::int64_t token_stride = 1;  ///< distance in token numbers between neighbours along this axis
  friend constexpr bool operator==(const AxisSpan&, const AxisSpan&) = default;
};

/// One phase of a pattern laid on a grid.
///
/// Each padded coordinate is cut into digits, the same ones for both phases of a pattern. A layout
/// is an order of these digits, most significant first: those that name the sub-sequence, then
/// those that name the slot. Sub-sequences are numbered row-major in the digits' order in the
/// pattern, slots row-major in (t, y, x). A rearrangement is a change of that order and nothing
/// else (paper section 3.1 and algorithm 1, in index form).
///
/// A plain value: copying it, comparing it or handing it to a device needs no allocation.
class Layout {
 public:
  static constexpr int max_axes = 3;
  static constexpr int max_digits = 32;

  /// Lays `phase` of `pattern` on `grid`. Each axis is padded at its end to the least extent that
  /// its digits divide: k^2 where a pattern uses the levels 0 and 1. Throws InputError when the
  /// padded grid exceeds 2^53 tokens or the digits of an axis overlap without nesting.
  Layout(const Pattern& pattern, const Grid& grid, Phase phase);

  constexpr const Grid& grid() const { return grid_; }
  constexpr int axis_count() const { return axis_count_; }
  constexpr const AxisSpan& axis(int a) const { return axes_[static_cast<std::size_t>(a)]; }
  constexpr int digit_count() const { return digit_count_; }
  constexpr const Digit& digit(int d) const { return digits_[static_cast<std::size_t>(d)]; }
  /// The first `subsequence_digits()` digits name the sub-sequence.
  constexpr int subsequence_digits() const { return subsequence_digits_; }

  constexpr std::int64_t subsequences() const { return radix_product(0, subsequence_digits_); }
  /// Padded length, the same for all sub-sequences.
  constexpr std::int64_t subsequence_length() const {
    return radix_product(subsequence_digits_, digit_count_);
  }
  constexpr std::int64_t padded_tokens() const { return radix_product(0, digit_count_); }
  constexpr bool is_padded() const { return padded_tokens() != grid_.tokens(); }

  /// The place of a token of the unpadded grid, 0 <= token < grid().tokens().
  constexpr Place place(std::int64_t token) const;
  /// The token at a place, or nothing where the place holds padding. Inverse of `place`.
  constexpr std::optional<std::int64_t> token(Place place) const;

  /// The valid tokens of a sub-sequence in the order of their slots: the 1-D mask, applied. Along
  /// each axis the valid slots come first, whatever the sub-sequence.
  std::vector<std::int64_t> tokens_of(std::int64_t subsequence) const;

  /// The same digits in the order of the padded grid, as one sequence.
  Layout unsplit() const;

  friend constexpr bool operator==(const Layout&, const Layout&) = default;

 private:
  constexpr std::int64_t radix_product(int from, int to) const {
    std::int64_t product = 1;
    for (int d = from; d < to; ++d) product *= digit(d).radix;
    return product;
  }

  Grid grid_;
  int axis_count_ = 0, digit_count_ = 0, subsequence_digits_ = 0;
  std::array<AxisSpan, max_axes> axes_{};
  std::array<Digit, max_digits> digits_{};
};

/// A map between the places of two layouts that order the same digits: token phase to group phase,
/// or either to the unsplit order. It is a transpose of a many-dimensional array: element `from` of
/// the one order (sub-sequence * length + slot) is element `map(from)` of the other. The original
/// order is never formed.
class Rearrangement {
 public:
  /// Throws std::logic_error if the layouts are not made of the same digits.
  Rearrangement(const Layout& from, const Layout& to);

  constexpr std::int64_t size() const { return size_; }
  constexpr std::int64_t map(std::int64_t from) const {
    std::int64_t to = 0;
    for (int d = count_ - 1; d >= 0; --d) {
      const auto& [radix, to_stride] = digits_[static_cast<std::size_t>(d)];
      to += from % radix * to_stride;
      from /= radix;
    }
    return to;
  }

 private:
  struct MovedDigit {
    std::int64_t radix = 1, to_stride = 0;
  };
  std::int64_t size_ = 1;
  int count_ = 0;
  std::array<MovedDigit, Layout::max_digits> digits_{};
};

// ------------------------------------------------------------------------------------------------

constexpr Place Layout::place(std::int64_t token) const {
  std::array<std::int64_t, max_axes> coordinate{};
  for (int a = 0; a < axis_count_; ++a)
    coordinate[static_cast<std::size_t>(a)] = token / axis(a).token_stride % axis(a).extent;
  const auto read = [&](int from, int to) {
    std::int64_t number = 0;
    for (int d = from; d < to; ++d) {
      const auto& [stride, radix, a] = digit(d);
      number = number * radix + coordinate[static_cast<std::size_t>(a)] / stride % radix;
    }
    return number;
  };
  return {read(0, subsequence_digits_), read(subsequence_digits_, digit_count_)};
}

constexpr std::optional<std::int64_t> Layout::token(Place place) const {
  std::array<std::int64_t, max_axes> coordinate{};
  const auto write = [&](std::int64_t number, int from, int to) {
    for (int d = to - 1; d >= from; --d) {
      const auto& [stride, radix, a] = digit(d);
      coordinate[static_cast<std::size_t>(a)] += number % radix * stride;
      number /= radix;
    }
  };
  write(place.subsequence, 0, subsequence_digits_);
  write(place.slot, subsequence_digits_, digit_count_);
  std::int64_t token = 0;
  for (int a = 0; a < axis_count_; ++a) {
    if (coordinate[static_cast<std::size_t>(a)] >= axis(a).extent) return std::nullopt;
    token += coordinate[static_cast<std::size_t>(a)] * axis(a).token_stride;
  }
  return token;
}

}  // namespace ospsim
