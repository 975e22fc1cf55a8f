#pragma once

#include <functional>

#include "analysis/mask.hpp"
#include "experiments/cli/command.hpp"
#include "experiments/pattern_json.hpp"
#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// --grid, --resolution, --frames
std::vector<Option> grid_options();
/// --pattern, --ratio, --per-frame
std::vector<Option> pattern_options();
/// The same, --pattern also taking the masks of analysis/mask.hpp.
std::vector<Option> pattern_or_mask_options();
/// --phase
Option phase_option();

std::vector<Option> joined(std::initializer_list<std::vector<Option>> parts);

Grid grid_of(const Request&);
inline constexpr const char* frames_need_resolution = "goes with --resolution";
Pattern pattern_of(const Request&);
/// From options of other names than --pattern and --ratio, read by `parse`.
Pattern pattern_of(const Request&, const std::string& option, const std::string& ratio_option,
                   const std::function<Pattern(std::string_view text, Ratio)>& parse);
/// --pattern, which is a mask.
Mask mask_of(const Request&, const Grid&);
Phase phase_of(const Request&);
Layout layout_of(const Pattern&, const Grid&, Phase);

}  // namespace ospsim
