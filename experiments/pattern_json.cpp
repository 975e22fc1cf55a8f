#include "experiments/pattern_json.hpp"

#include <nlohmann/json.hpp>

namespace ospsim {

Json ratio_json(const Ratio& ratio) {
  if (ratio.t == ratio.y && ratio.y == ratio.x) return ratio.t;
  return {ratio.t, ratio.y, ratio.x};
}

Json pattern_fields(const Grid& grid, const Pattern& pattern) {
  return {{"grid", {grid.t, grid.h, grid.w}},
          {"tokens", grid.tokens()},
          {"pattern", pattern.name},
          {"spelled", pattern.spelled()},
          {"ratio", ratio_json(pattern.ratio)}};
}

Json mask_fields(const Grid& grid, const std::string& mask) {
  return {{"grid", {grid.t, grid.h, grid.w}},
          {"tokens", grid.tokens()},
          {"pattern", mask.substr(0, mask.find(':'))},
          {"spelled", mask},
          {"ratio", nullptr}};
}

}  // namespace ospsim
