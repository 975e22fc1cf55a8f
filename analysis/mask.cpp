#include "analysis/mask.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/digits.hpp"

namespace ospsim {
namespace {

/// Coordinates that agree in the digits naming the sub-sequence are a block.
AxisMask classes_of(const Layout& layout, int a) {
  const AxisDigits digits = axis_digits(layout, a);
  std::map<std::int64_t, std::int32_t> numbers;
  std::vector<std::int32_t> block_of;
  block_of.reserve(index(digits.extent));
  for (std::int64_t i = 0; i < digits.extent; ++i) {
    std::int64_t rest = i, name = 0, place = 1;
    for (std::size_t d = 0; d < digits.count(); ++d) {
      if (digits.names_subsequence[d]) {
        name += rest % digits.radix[d] * place;
        place *= digits.radix[d];
      }
      rest /= digits.radix[d];
    }
    const auto next = static_cast<std::int32_t>(numbers.size());
    block_of.push_back(numbers.try_emplace(name, next).first->second);
  }
  const AxisSpan& span = layout.axis(a);
  return axis_mask(span.name, span.token_stride, std::move(block_of), std::ssize(numbers),
                   [](std::int64_t q, std::int64_t k) { return q == k; });
}

}  // namespace

AxisMask axis_mask(char name, std::int64_t token_stride, std::vector<std::int32_t> block_of,
                   std::int64_t blocks,
                   const std::function<bool(std::int64_t, std::int64_t)>& attends) {
  constexpr std::int64_t most_blocks = 8192;
  if (blocks > most_blocks)
    throw InputError(
        fmt::format("{} blocks along {}; a mask can have {} per axis", blocks, name, most_blocks));
  AxisMask axis{name, token_stride, std::move(block_of), blocks, {}};
  axis.allowed.reserve(index(blocks * blocks));
  for (std::int64_t q = 0; q < blocks; ++q)
    for (std::int64_t k = 0; k < blocks; ++k) axis.allowed.push_back(attends(q, k) ? 1 : 0);
  return axis;
}

bool AxisMask::attends_to_all() const {
  return std::all_of(allowed.begin(), allowed.end(), [](auto bit) { return bit != 0; });
}

bool Mask::attends(std::int64_t query, std::int64_t key) const {
  return std::all_of(axes.begin(), axes.end(), [&](const AxisMask& axis) {
    return axis.attends(query / axis.token_stride % axis.extent(),
                        key / axis.token_stride % axis.extent());
  });
}

Mask mask_of(const Layout& layout) {
  Mask mask{layout.grid(), {}};
  for (int a = 0; a < layout.axis_count(); ++a) mask.axes.push_back(classes_of(layout, a));
  return mask;
}

std::vector<Mask> masks_of(const Pattern& pattern, const Grid& grid) {
  std::vector<Mask> masks{mask_of(Layout(pattern, grid, Phase::token))};
  if (pattern.phase_count() == 2) masks.push_back(mask_of(Layout(pattern, grid, Phase::group)));
  return masks;
}

}  // namespace ospsim
