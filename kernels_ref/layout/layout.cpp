#include "kernels_ref/layout/layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

using Kind = DigitSpec::Kind;

[[noreturn]] void too_large(const Pattern& pattern, const Grid& grid) {
  throw InputError(
      fmt::format("pattern '{}' pads grid {} to more than 2^53 tokens; use a smaller ratio",
                  pattern.name, to_string(grid)));
}

/// Products of positive numbers that stop at the largest supported size.
struct BoundedProduct {
  const Pattern& pattern;
  const Grid& grid;
  std::int64_t operator()(std::int64_t a, std::int64_t b) const {
    if (a > max_tokens / b) too_large(pattern, grid);
    return a * b;
  }
};

std::int64_t ratio_of_axis(const Ratio& ratio, char axis) {
  return axis == 't' ? ratio.t : axis == 'x' ? ratio.x : ratio.y;
}

std::vector<AxisSpan> axes_of(Coordinates coordinates, const Grid& grid) {
  const auto axis = [](char name, std::int64_t extent, std::int64_t token_stride) {
    return AxisSpan{name, extent, extent, token_stride};
  };
  switch (coordinates) {
    case Coordinates::flat:
      return {axis('i', grid.tokens(), 1)};
    case Coordinates::frame:
      return {axis('t', grid.t, grid.frame_tokens()), axis('s', grid.frame_tokens(), 1)};
    case Coordinates::video:
      break;
  }
  return {axis('t', grid.t, grid.frame_tokens()), axis('y', grid.h, grid.w), axis('x', grid.w, 1)};
}

/// What the pattern's digits ask of one axis, both phases together.
struct AxisNeeds {
  std::int64_t ratio = 1;
  std::int64_t level_span = 1;  ///< ratio^(number of levels): what the numbered digits cover
  std::int64_t tiles = 1;       ///< least common multiple of the tile counts
};

AxisNeeds needs_of(const Pattern& pattern, const Grid& grid, char axis) {
  const BoundedProduct times{pattern, grid};
  AxisNeeds needs{.ratio = ratio_of_axis(pattern.ratio, axis)};
  std::int64_t levels = 0;
  for (const auto& phase : pattern.phases)
    for (const auto& digit : phase) {
      if (digit.axis != axis) continue;
      if (digit.kind == Kind::level) levels = std::max(levels, digit.number + 1);
      if (digit.kind == Kind::above) levels = std::max(levels, std::int64_t{1});
      if (digit.kind == Kind::tile)
        needs.tiles = times(needs.tiles, digit.number / std::gcd(needs.tiles, digit.number));
    }
  for (std::int64_t l = 0; l < levels; ++l) needs.level_span = times(needs.level_span, needs.ratio);
  return needs;
}

/// The range of place values a spelled digit covers: strides in [from, to).
struct Range {
  std::int64_t from, to;
};

Range range_of(const DigitSpec& digit, const AxisNeeds& needs, std::int64_t padded) {
  switch (digit.kind) {
    case Kind::above:
      return {needs.level_span, padded};
    case Kind::tile:
      return {padded / digit.number, padded};
    case Kind::level: {
      std::int64_t stride = 1;
      for (std::int64_t l = 0; l < digit.number; ++l) stride *= needs.ratio;
      return {stride, stride * needs.ratio};
    }
    case Kind::whole:
      break;
  }
  return {1, padded};
}

/// Digits between all the cuts both phases make in an axis, least significant first.
std::vector<Digit> refine(const Pattern& pattern, const AxisSpan& axis, int index,
                          const AxisNeeds& needs) {
  std::vector<std::int64_t> cuts{1, axis.padded};
  for (const auto& phase : pattern.phases)
    for (const auto& spec : phase) {
      if (spec.axis != axis.name) continue;
      const Range range = range_of(spec, needs, axis.padded);
      cuts.push_back(range.from);
      cuts.push_back(range.to);
    }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<Digit> digits;
  for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
    if (cuts[c + 1] % cuts[c] != 0)
      throw InputError(fmt::format("pattern '{}': its digits of {} overlap without nesting",
                                   pattern.name, axis.name));
    digits.push_back({cuts[c], cuts[c + 1] / cuts[c], index});
  }
  return digits;
}

}  // namespace

Layout::Layout(const Pattern& pattern, const Grid& grid, Phase phase) : grid_(grid) {
  const BoundedProduct times{pattern, grid};
  std::vector<AxisSpan> axes = axes_of(pattern.coordinates, grid);
  axis_count_ = static_cast<int>(axes.size());
  std::vector<std::vector<Digit>> digits_of_axis;
  std::vector<AxisNeeds> needs_of_axis;
  std::int64_t padded_tokens = 1;
  for (int a = 0; a < axis_count_; ++a) {
    AxisSpan& span = axes[static_cast<std::size_t>(a)];
    const AxisNeeds needs = needs_of(pattern, grid, span.name);
    const std::int64_t unit = times(needs.level_span, needs.tiles);
    span.padded = times((span.extent + unit - 1) / unit, unit);
    padded_tokens = times(padded_tokens, span.padded);
    axes_[static_cast<std::size_t>(a)] = span;
    needs_of_axis.push_back(needs);
    digits_of_axis.push_back(refine(pattern, span, a, needs));
  }

  const auto append = [&](const Digit& digit) {
    if (digit_count_ == max_digits)
      throw InputError(
          fmt::format("pattern '{}' has more than {} digits", pattern.name, max_digits));
    digits_[static_cast<std::size_t>(digit_count_++)] = digit;
  };
  for (const auto& spec : pattern.digits(phase))
    for (std::size_t a = 0; a < axes.size(); ++a) {
      if (axes[a].name != spec.axis) continue;
      const Range range = range_of(spec, needs_of_axis[a], axes[a].padded);
      auto& rest = digits_of_axis[a];
      for (std::size_t d = rest.size(); d-- > 0;) {
        if (rest[d].stride < range.from || rest[d].stride >= range.to) continue;
        append(rest[d]);
        rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(d));
      }
    }
  subsequence_digits_ = digit_count_;
  for (const auto& rest : digits_of_axis)
    for (std::size_t d = rest.size(); d-- > 0;) append(rest[d]);
}

std::vector<std::int64_t> Layout::tokens_of(std::int64_t subsequence) const {
  std::vector<std::int64_t> tokens;
  tokens.reserve(static_cast<std::size_t>(subsequence_length()));
  for (std::int64_t slot = 0; slot < subsequence_length(); ++slot)
    if (const auto valid = token({subsequence, slot})) tokens.push_back(*valid);
  return tokens;
}

Layout Layout::unsplit() const {
  Layout original = *this;
  original.subsequence_digits_ = 0;
  std::sort(original.digits_.begin(), original.digits_.begin() + digit_count_,
            [](const Digit& a, const Digit& b) {
              return a.axis != b.axis ? a.axis < b.axis : a.stride > b.stride;
            });
  return original;
}

Rearrangement::Rearrangement(const Layout& from, const Layout& to) : count_(from.digit_count()) {
  if (from.unsplit() != to.unsplit())
    throw std::logic_error("a rearrangement needs two layouts of the same digits");
  for (int d = 0; d < count_; ++d) {
    std::int64_t to_stride = 1;
    for (int other = count_ - 1; to.digit(other) != from.digit(d); --other)
      to_stride *= to.digit(other).radix;
    digits_[static_cast<std::size_t>(d)] = {from.digit(d).radix, to_stride};
    size_ *= from.digit(d).radix;
  }
}

}  // namespace ospsim
