#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "analysis/interaction.hpp"
#include "experiments/cli/pattern_options.hpp"
#include "experiments/commands/commands.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

std::string exact_text(const Fraction& fraction) {
  Count a = fraction.numerator, b = fraction.denominator;
  while (b != 0) {
    const Count rest = a % b;
    a = b;
    b = rest;
  }
  return fmt::format("{}/{}", fraction.numerator / a, fraction.denominator / a);
}

Json value_or_null(const std::optional<Fraction>& fraction) {
  return fraction ? Json(fraction->value()) : Json();
}

Json exact_or_null(const std::optional<Fraction>& fraction) {
  return fraction ? Json(exact_text(*fraction)) : Json();
}

/// Of a pattern's Phases or a Mask.
template <class Attended>
Json reach_json(const Attended& attended, int hops) {
  Json rows = Json::array();
  for (const auto& [hop, least, mean] : reach(attended, hops))
    rows.push_back({{"hops", hop},
                    {"fraction_min", least.value()},
                    {"fraction_mean", mean.value()},
                    {"fraction_min_exact", exact_text(least)},
                    {"fraction_mean_exact", exact_text(mean)}});
  return rows;
}

template <class Attended>
Json coverage_json(const Attended& attended) {
  Json rows = Json::array();
  for (const std::int64_t radius : {1, 2, 4}) {
    const auto coverage = neighbour_coverage(attended, radius);
    rows.push_back({{"radius", radius},
                    {"fraction", value_or_null(coverage)},
                    {"fraction_exact", exact_or_null(coverage)}});
  }
  return rows;
}

Json consistency_json(const Pattern& pattern, const Grid& grid) {
  Json rows = Json::array();
  for (const std::int64_t added : {1, 2, 4, 8, 16})
    rows.push_back(
        {{"added_width", added},
         {"token",
          value_or_null(resolution_consistency(pattern, grid, Phase::token, grid.w + added))},
         {"group",
          value_or_null(resolution_consistency(pattern, grid, Phase::group, grid.w + added))}});
  return rows;
}

Json balance_json(const Phases& phases) {
  Json rows = Json::array();
  for (const Phase phase : {Phase::token, Phase::group}) {
    const LoadBalance load = load_balance(phases.of(phase));
    rows.push_back({{"phase", to_string(phase)},
                    {"smallest_valid_tokens", load.lengths.front().valid_tokens},
                    {"largest_valid_tokens", load.lengths.back().valid_tokens},
                    {"largest_over_mean_tokens", load.largest_over_mean_tokens},
                    {"largest_over_mean_work", load.largest_over_mean_work}});
  }
  return rows;
}

/// Of attention forward, of one channel of one head: 4 for each pair that attends.
double flops_per_channel(Count pairs) {
  return 4 * static_cast<double>(pairs);
}

/// Full attention's pairs over a phase's: its sparsity, but for lengths that differ.
double effective_sparsity(const Grid& grid, Count pairs) {
  const auto tokens = static_cast<double>(grid.tokens());
  return tokens * tokens / static_cast<double>(pairs);
}

template <class Attended>
void add_interaction(Json& document, const Attended& attended, int hops) {
  const AverageDistance distance = average_distance(attended);
  const bool connected = distance.unconnected.numerator == 0;
  const auto skew = anisotropy(attended);
  document["reach"] = reach_json(attended, hops);
  document["average_distance"] = connected ? Json(distance.over_connected.value()) : Json();
  document["average_distance_connected"] = distance.over_connected.value();
  document["average_distance_connected_exact"] = exact_text(distance.over_connected);
  document["unconnected_fraction"] = distance.unconnected.value();
  document["neighbour_coverage"] = coverage_json(attended);
  document["anisotropy"] = skew ? Json(*skew) : Json();
}

Json run(const Request& request) {
  const Grid grid = grid_of(request);
  const int hops = static_cast<int>(request.whole("--hops", 1, 64));
  if (is_mask(request.text("--pattern"))) {
    const Mask mask = mask_of(request, grid);
    Json document = mask_fields(grid, request.text("--pattern"));
    document["sparsity"] = sparsity(mask);
    document["phase_sparsity"] = {sparsity(mask)};
    document["phase_effective_sparsity"] = {sparsity(mask)};
    document["phase_flops_per_channel"] = {flops_per_channel(attended_pairs(mask))};
    add_interaction(document, mask, hops);
    return document;
  }

  const Pattern pattern = pattern_of(request);
  const Phases phases = naming("--pattern", [&] { return Phases(pattern, grid); });
  Json document = pattern_fields(grid, pattern);
  document["sparsity"] = phases.token.subsequences();
  document["phase_sparsity"] = {phases.token.subsequences(), phases.group.subsequences()};
  const Count pairs[] = {attended_pairs(phases.token), attended_pairs(phases.group)};
  document["phase_effective_sparsity"] = {effective_sparsity(grid, pairs[0]),
                                          effective_sparsity(grid, pairs[1])};
  document["phase_flops_per_channel"] = {flops_per_channel(pairs[0]), flops_per_channel(pairs[1])};
  add_interaction(document, phases, hops);
  document["load_balance"] = balance_json(phases);
  document["resolution_consistency"] = consistency_json(pattern, grid);
  return document;
}

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  const std::string distance =
      document.at("average_distance").is_null()
          ? fmt::format("{} over connected pairs; {} % of pairs are never connected",
                        number_text(document.at("average_distance_connected")),
                        number_text(100 * document.at("unconnected_fraction").get<double>()))
          : number_text(document.at("average_distance")) + " operations";
  const auto sparsity = phases_text(document.at("phase_sparsity")),
             effective = phases_text(
                 document.value("phase_effective_sparsity", document.at("phase_sparsity")));
  std::string out = facts({
      {"grid", fmt::format("{} tokens, {} in all", extents_text(document.at("grid")),
                           document.at("tokens").dump())},
      {"pattern", fmt::format("{}: {}", document.at("pattern").get<std::string>(),
                              document.at("spelled").get<std::string>())},
      {"sparsity", sparsity == effective ? sparsity : sparsity + "; in pairs " + effective},
      {"attention", phases_text(document.at("phase_flops_per_channel")) +
                        " FLOP forward for each channel of a head"},
      {"average distance", distance},
      {"anisotropy",
       number_text(document.at("anisotropy")) + "  (1: the four neighbours are met equally often)"},
  });

  Table reached(
      {{"operations", right}, {"reached by the worst token, %", right}, {"on average, %", right}});
  for (const auto& row : document.at("reach"))
    reached.add({row.at("hops").dump(), number_text(100 * row.at("fraction_min").get<double>()),
                 number_text(100 * row.at("fraction_mean").get<double>())});
  Table coverage({{"neighbours within", right}, {"met in one operation, %", right}});
  for (const auto& row : document.at("neighbour_coverage"))
    coverage.add(
        {row.at("radius").dump(),
         row.at("fraction").is_null() ? "-" : number_text(100 * row.at("fraction").get<double>())});
  Table balance({{"phase"},
                 {"shortest, valid tokens", right},
                 {"longest, valid tokens", right},
                 {"longest / mean work", right}});
  if (document.contains("load_balance"))
    for (const auto& row : document.at("load_balance"))
      balance.add({row.at("phase").get<std::string>(), row.at("smallest_valid_tokens").dump(),
                   row.at("largest_valid_tokens").dump(),
                   number_text(row.at("largest_over_mean_work"))});
  Table consistency({{"columns added", right},
                     {"tokens that keep their sub-sequence: token phase", right},
                     {"group phase", right}});
  if (document.contains("resolution_consistency"))
    for (const auto& row : document.at("resolution_consistency"))
      consistency.add({row.at("added_width").dump(), number_text(row.at("token")),
                       number_text(row.at("group"))});
  for (const Table* table : {&reached, &coverage, &balance, &consistency})
    if (!table->empty()) out += '\n' + table->text(style);
  return out;
}

}  // namespace

Command reach_command() {
  return {.name = "reach",
          .summary = "Which tokens a pattern brings together, and in how many operations",
          .example =
              "  ospsim reach --grid 21x48x80 --pattern skiparse-2d --ratio 2\n"
              "  ospsim reach --resolution 480p --pattern skiparse-1d --ratio 4 --hops 4 --json\n"
              "  ospsim reach --resolution 768p --pattern radial:decay=0.2",
          .options = joined({grid_options(),
                             pattern_or_mask_options(),
                             {{"--hops", "N", "operations to follow, alternating phases", "3"}}}),
          .run = run,
          .text = text};
}

}  // namespace ospsim
