#include <fmt/format.h>

#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>

#include "analysis/synthetic_attention.hpp"
#include "analysis/tensor_error.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/experiment.hpp"
#include "experiments/pattern_error/peers.hpp"

/// The same question on q, k and v: made-up videos of several kinds, five seeds, and five more,
/// chosen before any result was seen, that a statement has to hold for as well.
namespace ospsim {
namespace {

/// Of those at a quarter of the pairs; sliding tiles and Sparse VideoGen's heads are left out.
std::vector<Peer> peers() {
  std::vector<Peer> all = peers_at_4();
  std::erase_if(all, [](const Peer& peer) {
    const std::string_view pattern = peer.pattern;
    return pattern.starts_with("sliding-tile") || pattern.starts_with("svg-");
  });
  return all;
}

struct Case {
  const char* name;
  Grid grid;
  double length_t, length_y, length_x;
  double effective_tokens;
  bool two_layers = false;  ///< which takes full attention of all tokens
};
std::vector<Case> cases() {
  std::vector<Case> all;
  const Grid p768{21, 48, 80};
  for (const double n : {30, 300, 3000, 20000}) all.push_back({"isotropic", p768, 4, 4, 4, n});
  for (const double n : {300, 3000}) {
    all.push_back({"wide content", p768, 4, 2, 8, n});
    all.push_back({"tall content", p768, 4, 8, 2, n});
    all.push_back({"width 85", {21, 48, 85}, 4, 4, 4, n});
    all.push_back({"480P", {21, 30, 52}, 4, 4, 4, n});
    all.push_back({"5 frames", {5, 48, 80}, 4, 4, 4, n, true});
  }
  return all;
}

constexpr int seeds = 5;

/// [seed][peer], and what a query attends to.
struct Runs {
  std::vector<std::vector<double>> errors, recalls, two_layers;
  std::vector<double> effective_tokens;
};

Runs run_case(const Case& c, std::int64_t first_seed, const Request& request, Progress& progress) {
  Runs runs;
  std::vector<MaskedPattern> patterns;
  for (const Peer& peer : peers()) patterns.push_back({peer.label, masks_of(peer, c.grid)});
  for (int i = 0; i < seeds; ++i) {
    progress.advance(
        0, fmt::format("{}, {:g} tokens, seed {}", c.name, c.effective_tokens, first_seed + i));
    SyntheticAttention parameters{.grid = c.grid,
                                  .heads = 2,
                                  .length_t = c.length_t,
                                  .length_y = c.length_y,
                                  .length_x = c.length_x,
                                  .seed = static_cast<std::uint64_t>(first_seed + i)};
    parameters.sharpness =
        sharpness_for(parameters, c.effective_tokens, 128, request.threads).sharpness;
    const TensorErrors result =
        tensor_errors(c.grid, patterns, synthetic_heads(parameters, request.threads),
                      {.queries = 256,
                       .seed = parameters.seed,
                       .two_layer_heads = c.two_layers ? 2 : 0,
                       .threads = request.threads});
    runs.effective_tokens.push_back(result.effective_tokens.value);
    std::vector<double> errors, recalls, two_layers;
    for (const auto& pattern : result.patterns) {
      errors.push_back(pattern.output_error.value);
      recalls.push_back(pattern.recall.value);
      if (pattern.two_layers) two_layers.push_back(pattern.two_layers->of_update.value);
    }
    runs.errors.push_back(std::move(errors));
    runs.recalls.push_back(std::move(recalls));
    runs.two_layers.push_back(std::move(two_layers));
    progress.advance(1, "");
  }
  return runs;
}

/// Mean over seeds and the half-width of its 95 % interval (Student's t).
Json over_seeds(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double variance = 0;
  for (const double value : values) variance += (value - mean) * (value - mean) / (n - 1);
  const boost::math::students_t t(n - 1);
  return {{"mean", mean},
          {"half_width", boost::math::quantile(t, 0.975) * std::sqrt(variance / n)},
          {"seeds", values}};
}

Json runs_json(const Runs& runs) {
  const auto column = [](const std::vector<std::vector<double>>& rows, std::size_t peer) {
    std::vector<double> values;
    for (const auto& row : rows) values.push_back(row[peer]);
    return values;
  };
  const std::vector<Peer> compared = peers();
  Json rows = Json::array();
  for (std::size_t p = 0; p < compared.size(); ++p) {
    rows.push_back({{"label", compared[p].label},
                    {"output_error", over_seeds(column(runs.errors, p))},
                    {"recall", over_seeds(column(runs.recalls, p))}});
    if (!runs.two_layers.front().empty())
      rows.back()["two_layers"] = over_seeds(column(runs.two_layers, p));
  }
  std::vector<double> difference;
  for (const auto& row : runs.errors) difference.push_back(row[1] - row[0]);
  return {{"peers", std::move(rows)},
          {"two_minus_one_dimensional", over_seeds(difference)},
          {"effective_tokens", over_seeds(runs.effective_tokens)}};
}

Json run(const Request& request) {
  const auto all = cases();
  Progress progress(2.0 * seeds * static_cast<double>(all.size()));
  Json rows = Json::array();
  for (const Case& c : all)
    rows.push_back({{"name", c.name},
                    {"grid", {c.grid.t, c.grid.h, c.grid.w}},
                    {"lengths", {c.length_t, c.length_y, c.length_x}},
                    {"effective_tokens", c.effective_tokens},
                    {"seeds", runs_json(run_case(c, 1, request, progress))},
                    {"held_out", runs_json(run_case(c, 101, request, progress))}});
  return {{"experiment", "pattern-error-tensors"},
          {"heads", 2},
          {"queries", 256},
          {"cases", std::move(rows)}};
}

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  std::vector<Table::Column> columns{
      {"content"}, {"grid", right}, {"a query attends to, tokens", right}, {"seeds"}};
  for (const auto& peer : document.at("cases").at(0).at("seeds").at("peers"))
    columns.push_back({peer.at("label").get<std::string>(), right});
  columns.push_back({"2-D - 1-D", right});
  Table table(columns);
  const auto with_interval = [](const Json& estimate) {
    return fmt::format("{:.3f} +- {:.3f}", estimate.at("mean").get<double>(),
                       estimate.at("half_width").get<double>());
  };
  for (const auto& c : document.at("cases"))
    for (const char* set : {"seeds", "held_out"}) {
      std::vector<Table::Cell> row{
          c.at("name").get<std::string>(), extents_text(c.at("grid")),
          fmt::format("{:.0f}", c.at(set).at("effective_tokens").at("mean").get<double>()),
          std::string(set) == "seeds" ? "1-5" : "held out"};
      for (const auto& peer : c.at(set).at("peers"))
        row.emplace_back(with_interval(peer.at("output_error")));
      row.emplace_back(with_interval(c.at(set).at("two_minus_one_dimensional")));
      table.add(std::move(row));
    }
  Table two_layers({{"two layers, 5 frames"},
                    {"a query attends to, tokens", right},
                    {"seeds"},
                    {"error of what they add", right},
                    {"of one phase", right}});
  for (const auto& c : document.at("cases"))
    for (const char* set : {"seeds", "held_out"})
      for (const auto& peer : c.at(set).at("peers"))
        if (peer.contains("two_layers"))
          two_layers.add(
              {peer.at("label").get<std::string>(),
               fmt::format("{:.0f}", c.at(set).at("effective_tokens").at("mean").get<double>()),
               std::string(set) == "seeds" ? "1-5" : "held out",
               with_interval(peer.at("two_layers")), with_interval(peer.at("output_error"))});
  return "Output error on made-up q, k and v; +-: 95 % interval over seeds\n" + table.text(style) +
         '\n' + two_layers.text(style);
}

}  // namespace

Experiment pattern_error_tensors() {
  return {
      .name = "pattern-error-tensors",
      .summary = "The same on made-up q, k and v of several kinds of content, over seeds (minutes)",
      .run = run,
      .text = text};
}

}  // namespace ospsim
