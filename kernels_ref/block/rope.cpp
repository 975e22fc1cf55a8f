#include "kernels_ref/block/rope.hpp"

#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

namespace ospsim {

std::vector<TokenPosition> positions_in_place(const Grid& grid) {
  std::vector<TokenPosition> positions;
  for (std::int64_t token = 0; token < grid.tokens(); ++token)
    positions.push_back(position_of(token, grid));
  return positions;
}

std::vector<TokenPosition> positions_rearranged(const Layout& layout) {
  std::vector<TokenPosition> positions;
  for (std::int64_t c = 0; c < layout.subsequences(); ++c)
    for (std::int64_t slot = 0; slot < layout.subsequence_length(); ++slot) {
      const auto token = layout.token({c, slot});
      positions.push_back(token ? position_of(*token, layout.grid()) : TokenPosition{});
    }
  return positions;
}

std::vector<RopePair> rope_pairs(std::int64_t head_dim) {
  if (head_dim < 0 || head_dim % 2 != 0)
    throw std::invalid_argument(fmt::format("rope: head_dim {} is not even", head_dim));
  constexpr double theta = 10000;
  std::vector<RopePair> pairs;
  const auto add = [&](std::int64_t TokenPosition::*axis, std::int64_t count) {
    for (std::int64_t j = 0; j < count; ++j)
      pairs.push_back(
          {axis, std::pow(theta, -static_cast<double>(j) / static_cast<double>(count))});
  };
  add(&TokenPosition::t, head_dim / 2 - 2 * (head_dim / 6));
  add(&TokenPosition::y, head_dim / 6);
  add(&TokenPosition::x, head_dim / 6);
  return pairs;
}

}  // namespace ospsim
