#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "experiments/claims/claims.hpp"
#include "experiments/commands/commands.hpp"
#include "experiments/experiment.hpp"
#include "kernels_ref/layout/pattern.hpp"
#include "sim/hardware/platform.hpp"
#include "sim/model/model.hpp"

namespace ospsim {
namespace {

Json commands_json() {
  Json rows = Json::array();
  for (const auto& command : commands())
    rows.push_back({{"name", command.name}, {"summary", command.summary}});
  return rows;
}

/// The sparsity each name has at `--ratio K`.
std::string sparsity_of(std::string_view pattern) {
  if (pattern == "full") return "1";
  if (pattern == "skiparse-2d") return "K^2";
  if (pattern == "skiparse-3d") return "K^3, or KT*KY*KX";
  if (pattern == "window") return "NT*NY*NX";
  if (pattern == "2+1d") return "T, then H*W";
  return "K";
}

Json patterns_json() {
  Json rows = Json::array();
  for (const auto name : pattern_names()) {
    const bool takes_tiles = name == "window";
    rows.push_back(
        {{"name", name},
         {"digits", takes_tiles ? "t/NT,y/NY,x/NX" : parse_pattern(name, {2, 2, 2}).spelled()},
         {"sparsity", sparsity_of(name)}});
  }
  return rows;
}

Json models_json() {
  Json rows = Json::array();
  for (const auto& name : model_names()) {
    const Model model = find_model(name);
    rows.push_back({{"name", name},
                    {"layers", model.layers},
                    {"full_blocks", model.full_blocks},
                    {"heads", model.heads},
                    {"head_dim", model.head_dim},
                    {"pattern", model.pattern.name},
                    {"source", model.source}});
  }
  return rows;
}

/// Every number that a simulation on a platform rests on.
Json platforms_json() {
  Json rows = Json::array();
  for (const auto& name : platform_names())
    for (const auto& [field, quantity] : quantities(load_platform(name)))
      rows.push_back({{"platform", name},
                      {"field", field},
                      {"value", quantity.value},
                      {"unit", quantity.unit},
                      {"kind", to_string(quantity.kind)},
                      {"source", quantity.source}});
  return rows;
}

Json experiments_json() {
  Json rows = Json::array();
  for (const auto& experiment : experiments())
    rows.push_back({{"name", experiment.name}, {"summary", experiment.summary}});
  return rows;
}

Json claims_json() {
  Json rows = Json::array();
  for (const auto& claim : load_claims(default_claims_path()))
    rows.push_back(
        {{"id", claim.id}, {"expected", claim.expected}, {"statement", claim.statement}});
  return rows;
}

Json topics_json() {
  Json counts = Json::object();
  for (const auto& claim : load_claims(default_claims_path())) {
    Json& count = counts[claim.topic()];
    count = count.is_null() ? 1 : count.get<int>() + 1;
  }
  Json rows = Json::array();
  for (const auto& [topic, count] : counts.items())
    rows.push_back({{"topic", topic}, {"claims", count}});
  return rows;
}

struct Listing {
  const char* name;
  Json (*rows)();
};
constexpr Listing listings[] = {{"commands", commands_json},       {"patterns", patterns_json},
                                {"models", models_json},           {"platforms", platforms_json},
                                {"experiments", experiments_json}, {"claims", claims_json}};

std::string listing_names() {
  std::vector<const char*> names;
  for (const auto& listing : listings) names.push_back(listing.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Json run(const Request& request) {
  Json document = Json::object();
  if (!request.has("WHAT")) {
    for (const auto& [name, rows] : listings)
      if (rows != claims_json && rows != platforms_json) document[name] = rows();
    document["claim_topics"] = topics_json();
    return document;
  }
  for (const auto& [name, rows] : listings)
    if (request.text("WHAT") == name) document[name] = rows();
  if (document.empty())
    throw InputError(
        fmt::format("WHAT: '{}' is not one of {}", request.text("WHAT"), listing_names()));
  return document;
}

/// Rows of the same fields, as a table; the last column folds.
std::string table_of(const Json& rows, const Style& style) {
  std::vector<Table::Column> columns;
  for (const auto& [field, value] : rows.at(0).items())
    columns.push_back({field, value.is_number() ? Table::Align::right : Table::Align::left});
  columns.back().folds = true;
  Table table(columns);
  for (const auto& row : rows) {
    std::vector<Table::Cell> cells;
    for (const auto& value : row) cells.emplace_back(number_text(value));
    table.add(std::move(cells));
  }
  return table.text(style);
}

std::string text(const Json& document, const Style& style) {
  std::string out;
  for (const auto& [name, rows] : document.items()) {
    if (!out.empty()) out += '\n';
    out += style.paint(name, Colour::blue) + '\n' + table_of(rows, style);
  }
  return out;
}

}  // namespace

Command list_command() {
  return {.name = "list",
          .summary = "Commands, patterns, models, platforms, experiments and claims",
          .example =
              "  ospsim list\n"
              "  ospsim list claims",
          .options = {{"WHAT", "", listing_names() + "; without it all but claims and platforms"}},
          .run = run,
          .text = text};
}

}  // namespace ospsim
