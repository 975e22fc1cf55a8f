#pragma once

#include "experiments/cli/command.hpp"
#include "experiments/pattern_json.hpp"
#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// --grid, --resolution, --frames
std::vector<Option> grid_options();
/// --pattern, --ratio, --per-frame
std::vector<Option> pattern_options();
/// --phase
Option phase_option();

std::vector<Option> joined(std::initializer_list<std::vector<Option>> parts);

Grid grid_of(const Request&);
Pattern pattern_of(const Request&);
Phase phase_of(const Request&);
Layout layout_of(const Pattern&, const Grid&, Phase);

}  // namespace ospsim
