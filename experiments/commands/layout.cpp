#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "experiments/cli/pattern_options.hpp"
#include "experiments/commands/commands.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

constexpr std::int64_t most_listed_tokens = 20'000'000;

Json lengths_json(const Layout& layout) {
  Json lengths = Json::array();
  for (const auto& [valid_tokens, subsequences] : valid_lengths(layout))
    lengths.push_back({{"valid_tokens", valid_tokens}, {"subsequences", subsequences}});
  return lengths;
}

Json run(const Request& request) {
  const Grid grid = grid_of(request);
  const Pattern pattern = pattern_of(request);
  const Phase phase = phase_of(request);
  const Layout layout = layout_of(pattern, grid, phase);
  Json document = pattern_fields(grid, pattern);
  document["phase"] = to_string(phase);
  document["sparsity"] = layout.subsequences();
  if (pattern.coordinates == Coordinates::video)
    document["padded_grid"] = {layout.axis(0).padded, layout.axis(1).padded, layout.axis(2).padded};
  document["padded_tokens"] = layout.padded_tokens();
  document["subsequences"] = layout.subsequences();
  document["subsequence_length"] = layout.subsequence_length();
  document["valid_lengths"] = lengths_json(layout);
  if (!request.has("--indices")) return document;

  if (grid.tokens() > most_listed_tokens)
    throw InputError(fmt::format("--indices: grid {} has {} tokens; at most {} are listed",
                                 to_string(grid), grid.tokens(), most_listed_tokens));
  Json subsequence = Json::array(), slot = Json::array();
  for (std::int64_t token = 0; token < grid.tokens(); ++token) {
    const Place place = layout.place(token);
    subsequence.push_back(place.subsequence);
    slot.push_back(place.slot);
  }
  document["subsequence"] = std::move(subsequence);
  document["slot"] = std::move(slot);
  return document;
}

std::string text(const Json& document, const Style& style) {
  std::string out = facts({
      {"grid", fmt::format("{} tokens, {} in all", extents_text(document.at("grid")),
                           document.at("tokens").dump())},
      {"pattern", fmt::format("{}: {} phase of {}", document.at("pattern").get<std::string>(),
                              document.at("phase").get<std::string>(),
                              document.at("spelled").get<std::string>())},
      {"padded", document.contains("padded_grid")
                     ? fmt::format("{} tokens, {} in all", extents_text(document.at("padded_grid")),
                                   document.at("padded_tokens").dump())
                     : fmt::format("{} tokens", document.at("padded_tokens").dump())},
      {"sub-sequences",
       fmt::format("{} of {} tokens, padding included", document.at("subsequences").dump(),
                   document.at("subsequence_length").dump())},
  });
  Table lengths({{"sub-sequences", Table::Align::right}, {"valid tokens", Table::Align::right}});
  for (const auto& row : document.at("valid_lengths"))
    lengths.add({row.at("subsequences").dump(), row.at("valid_tokens").dump()});
  out += '\n' + lengths.text(style);
  if (!document.contains("slot")) return out;

  Table places({{"token", Table::Align::right},
                {"sub-sequence", Table::Align::right},
                {"slot", Table::Align::right}});
  for (std::size_t token = 0; token < document.at("slot").size(); ++token)
    places.add({fmt::to_string(token), document.at("subsequence").at(token).dump(),
                document.at("slot").at(token).dump()});
  return out + '\n' + places.text(style);
}

}  // namespace

Command layout_command() {
  return {
      .name = "layout",
      .summary = "How a pattern divides a video into sub-sequences",
      .example = "  ospsim layout --grid 21x45x80 --pattern skiparse-2d --phase token --ratio 2",
      .options =
          joined({grid_options(),
                  pattern_options(),
                  {phase_option(),
                   {"--indices", "", "also list the sub-sequence and slot of every token"}}}),
      .run = run,
      .text = text};
}

}  // namespace ospsim
