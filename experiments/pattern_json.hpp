#pragma once

#include "experiments/store/result_store.hpp"
#include "kernels_ref/layout/grid.hpp"
#include "kernels_ref/layout/pattern.hpp"

namespace ospsim {

/// The number of a one-number ratio, else [t, y, x].
Json ratio_json(const Ratio& ratio);

/// grid, tokens, pattern, spelled, ratio: what every document about a pattern starts with.
Json pattern_fields(const Grid& grid, const Pattern& pattern);
/// The same of a mask.
Json mask_fields(const Grid& grid, const std::string& mask);

}  // namespace ospsim
