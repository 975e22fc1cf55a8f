#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "analysis/alias.hpp"
#include "analysis/recall.hpp"
#include "experiments/claims/methods.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

/// Largest grid that a claim may be about: a frame's queries are asked one by one.
constexpr std::int64_t most_tokens = 1 << 20;

Grid grid_of(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  if (grid.tokens() > most_tokens)
    throw InputError(fmt::format("its method's 'grid' has more than {} tokens", most_tokens));
  if (std::max({grid.t, grid.h, grid.w}) > longest_axis)
    throw InputError(
        fmt::format("its method's 'grid' is longer than {} tokens along an axis", longest_axis));
  return grid;
}

double bandwidth_of(Arguments& a) {
  const std::string text = a.text("bandwidth");
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() ||
      !(value >= 0.1 && value <= table_bandwidths.back()))
    throw InputError(fmt::format("its method's 'bandwidth' is not a number from 0.1 to {}",
                                 table_bandwidths.back()));
  return value;
}

double error_at(const std::vector<Mask>& masks, double bandwidth) {
  return output_error(phase_errors(masks, AttentionModel::isotropic(bandwidth)));
}

Method output_error_of(Arguments& a) {
  const Grid grid = grid_of(a);
  const Pattern pattern = compared_pattern(a.text("pattern"), parse_ratio(a.text("ratio")));
  const double bandwidth = bandwidth_of(a);
  return [=](const Evidence&) -> Value { return error_at(masks_of(pattern, grid), bandwidth); };
}

/// Two patterns on one grid.
struct Pair {
  Grid grid;
  Pattern pattern, other;

  explicit Pair(Arguments& a)
      : grid(grid_of(a)),
        pattern(compared_pattern(a.text("pattern"), parse_ratio(a.text("ratio")))),
        other(compared_pattern(a.text("other"), parse_ratio(a.text("other_ratio")))) {}
};

/// Whether the pattern's error is the smaller one, at every bandwidth of the table from the given
/// one on.
Method closer_from(Arguments& a) {
  return [pair = Pair(a), least = bandwidth_of(a)](const Evidence&) -> Value {
    const auto masks = masks_of(pair.pattern, pair.grid), others = masks_of(pair.other, pair.grid);
    return std::ranges::all_of(table_bandwidths, [&](double s) {
      return s < least || error_at(masks, s) < error_at(others, s);
    });
  };
}

/// The least bandwidth at which the two have the same error.
Method crossover(Arguments& a) {
  return [pair = Pair(a)](const Evidence&) -> Value {
    const auto masks = masks_of(pair.pattern, pair.grid), others = masks_of(pair.other, pair.grid);
    const auto difference = [&](double s) { return error_at(masks, s) - error_at(others, s); };
    std::vector<double> differences;
    for (const double s : table_bandwidths) differences.push_back(difference(s));
    const auto found = crossovers(table_bandwidths, differences, difference);
    if (found.empty()) throw UnavailableError("one has the smaller error at every bandwidth");
    return found.front();
  };
}

/// Of both phases, in cycles per token.
Method shortest_alias_of(Arguments& a) {
  const Grid grid = grid_of(a);
  const Pattern pattern = compared_pattern(a.text("pattern"), parse_ratio(a.text("ratio")));
  return [=](const Evidence&) -> Value {
    double least = std::numeric_limits<double>::infinity();
    for (const Phase phase : {Phase::token, Phase::group}) {
      const auto found = aliases(Layout(pattern, grid, phase));
      if (!found) throw UnavailableError("its classes do not repeat");
      least = std::min(least, shortest_alias(*found));
    }
    if (std::isinf(least)) throw UnavailableError("its classes fold nothing back");
    return least;
  };
}

}  // namespace

const Methods& recall_methods() {
  static const Methods all{{"output_error", output_error_of},
                           {"closer_from", closer_from},
                           {"crossover", crossover},
                           {"shortest_alias", shortest_alias_of}};
  return all;
}

}  // namespace ospsim
