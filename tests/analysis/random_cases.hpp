#pragma once

#include <rapidcheck.h>

#include <string>
#include <vector>

#include "analysis/mask.hpp"
#include "kernels_ref/index.hpp"

/// Cases that rapidcheck draws, for use inside a property.
namespace ospsim {

inline std::int64_t whole(std::int64_t least, std::int64_t most) {
  return *rc::gen::resize(100, rc::gen::inRange<std::int64_t>(least, most + 1));
}

template <class T>
T one_of(const std::vector<T>& values) {
  return values[index(whole(0, std::ssize(values) - 1))];
}

/// Of one number but for the patterns that take three.
inline Ratio random_ratio(const std::string& pattern) {
  const std::int64_t k = whole(1, 4);
  if (pattern == "window" || pattern == "skiparse-3d") return {whole(1, 4), whole(1, 4), k};
  return {k, k, k};
}

/// Blocks and who sees whom drawn at random along the axes t, y, x; t, s; or i.
inline AxisMask random_axis(char name, std::int64_t stride, std::int64_t extent) {
  const std::int64_t blocks = whole(1, extent);
  std::vector<std::int32_t> block_of;
  for (std::int64_t i = 0; i < extent; ++i)
    block_of.push_back(static_cast<std::int32_t>(i < blocks ? i : whole(0, blocks - 1)));
  for (std::size_t i = block_of.size(); i > 1; --i)
    std::swap(block_of[i - 1], block_of[index(whole(0, static_cast<std::int64_t>(i) - 1))]);
  const std::int64_t per_mille = one_of<std::int64_t>({0, 100, 300, 700, 1000});
  return axis_mask(name, stride, std::move(block_of), blocks,
                   [&](auto q, auto k) { return q == k || whole(0, 999) < per_mille; });
}
inline Mask random_mask(const Grid& grid) {
  switch (whole(0, 2)) {
    case 0:
      return {grid,
              {random_axis('t', grid.h * grid.w, grid.t), random_axis('y', grid.w, grid.h),
               random_axis('x', 1, grid.w)}};
    case 1:
      return {grid,
              {random_axis('t', grid.h * grid.w, grid.t), random_axis('s', 1, grid.h * grid.w)}};
    default:
      return {grid, {random_axis('i', 1, grid.tokens())}};
  }
}

}  // namespace ospsim
