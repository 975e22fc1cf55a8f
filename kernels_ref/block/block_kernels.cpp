#include "kernels_ref/block/block_kernels.hpp"

#include "kernels_ref/index.hpp"

namespace ospsim {

RopeTables rope_tables(const Grid& grid, std::int64_t head_dim) {
  RopeTables tables;
  const std::int64_t extents[] = {grid.t, grid.h, grid.w};
  constexpr std::int64_t TokenPosition::*axes[] = {&TokenPosition::t, &TokenPosition::y,
                                                   &TokenPosition::x};
  const auto pairs = rope_pairs(head_dim);
  for (std::size_t a = 0; a < 3; ++a) {
    for (const auto& pair : pairs) tables.pairs[a] += pair.axis == axes[a];
    for (std::int64_t coordinate = 0; coordinate < extents[a]; ++coordinate)
      for (const auto& pair : pairs) {
        if (pair.axis != axes[a]) continue;
        const double angle = static_cast<double>(coordinate) * pair.frequency;
        tables.turns[a].push_back(
            {{static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))}});
      }
  }
  return tables;
}

}  // namespace ospsim
