#include <fmt/format.h>

#include <boost/math/statistics/bivariate_statistics.hpp>
#include <nlohmann/json.hpp>
#include <random>

#include "analysis/alias.hpp"
#include "analysis/interaction.hpp"
#include "analysis/recall.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/experiment.hpp"
#include "experiments/pattern_error/peers.hpp"
#include "kernels_ref/index.hpp"

/// Which pattern is closer to full attention, by the expected error of its output: against
/// attention's bandwidth, the grid, the width of the frame and the shape of attention and content;
/// and what predicts it.
namespace ospsim {
namespace {

const Peer one_dimensional_8{"Skiparse-1D, 8", "skiparse-1d", "8"};
const Peer three_dimensional{"Skiparse-3D, 2", "skiparse-3d", "2"};

const std::vector<Peer> peers_at_8{one_dimensional_8,
                                   three_dimensional,
                                   {"Skiparse-3D, 1,2,4", "skiparse-3d", "1,2,4"},
                                   {"Skiparse-3D, 1,4,2", "skiparse-3d", "1,4,2"},
                                   {"tiles 2x2x2", "window", "2,2,2"},
                                   {"sliding tiles 3x3x3", "sliding-tile:window=3x3x3", ""},
                                   {"local window", "local:window=21x20x24", ""},
                                   {"SVG spatial head", "svg-spatial:density=0.08", ""},
                                   {"SVG temporal head", "svg-temporal:density=0.08", ""}};

/// Enough queries that a standard error is no wider than a line of the figure.
QuerySample sample_of(const Request& request) {
  return {.count = 4096, .seed = static_cast<std::uint64_t>(request.seed)};
}

std::vector<PhaseError> errors(const std::vector<Mask>& masks, const AttentionModel& model,
                               const Request& request) {
  return phase_errors(masks, model, sample_of(request), request.threads);
}

double error_of(const std::vector<Mask>& masks, const AttentionModel& model,
                const Request& request) {
  return output_error(errors(masks, model, request));
}

std::vector<double> curve(const std::vector<Mask>& masks, const Request& request) {
  std::vector<double> values;
  for (const double s : table_bandwidths)
    values.push_back(error_of(masks, AttentionModel::isotropic(s), request));
  return values;
}

/// After two operations, the share of the video that an average token has reached.
double reached_in_two(const Peer& peer, const Grid& grid) {
  if (is_mask(peer.pattern))
    return reach(parse_mask(peer.pattern, grid), 2).back().fraction_mean.value();
  return reach(Phases(pattern_of(peer), grid), 2).back().fraction_mean.value();
}

Json grid_json(const Grid& grid) {
  return {grid.t, grid.h, grid.w};
}

Json peers_json(const std::vector<Peer>& peers, int sparsity_class, const Request& request,
                Progress& progress) {
  const Grid grid{21, 48, 80};
  Json rows = Json::array();
  for (const Peer& peer : peers) {
    progress.advance(1, fmt::format("sparsity {}: {}", sparsity_class, peer.label));
    const auto masks = masks_of(peer, grid);
    Json points = Json::array();
    for (const double s : table_bandwidths) {
      const auto phases = errors(masks, AttentionModel::isotropic(s), request);
      Json of_phases = Json::array();
      for (const auto& phase : phases)
        of_phases.push_back({{"recall", phase.recall.value},
                             {"output_error", phase.output_error.value},
                             {"output_error_se", phase.output_error.standard_error}});
      points.push_back({{"bandwidth", s},
                        {"output_error", output_error(phases)},
                        {"phases", std::move(of_phases)}});
    }
    rows.push_back({{"label", peer.label},
                    {"pattern", peer.pattern},
                    {"ratio", peer.ratio},
                    {"sparsity", sparsity(masks.front())},
                    {"reached_in_two", reached_in_two(peer, grid)},
                    {"points", std::move(points)}});
  }
  return {{"grid", grid_json(grid)}, {"sparsity", sparsity_class}, {"peers", std::move(rows)}};
}

/// Two peers on one grid: their errors over the table's bandwidths and where they change places.
Json duel(const Peer& one, const Peer& other, const Grid& grid, const Request& request) {
  const auto ones = masks_of(one, grid), others = masks_of(other, grid);
  const auto one_errors = curve(ones, request), other_errors = curve(others, request);
  std::vector<double> differences;
  for (std::size_t i = 0; i < one_errors.size(); ++i)
    differences.push_back(other_errors[i] - one_errors[i]);
  return {{"grid", grid_json(grid)},
          {"one", one.label},
          {"other", other.label},
          {"one_error", one_errors},
          {"other_error", other_errors},
          {"crossovers", crossovers(table_bandwidths, differences, [&](double s) {
             const auto model = AttentionModel::isotropic(s);
             return error_of(others, model, request) - error_of(ones, model, request);
           })}};
}

Json grids_json(const Request& request, Progress& progress) {
  struct Named {
    const char* name;
    Grid grid;
  };
  Json rows = Json::array();
  for (const auto& [name, grid] :
       {Named{"480P", {21, 30, 52}}, Named{"720P", {21, 45, 80}}, Named{"768P", {21, 48, 80}},
        Named{"square", {21, 60, 60}}, Named{"480P portrait", {21, 52, 30}},
        Named{"720P portrait", {21, 80, 45}}, Named{"768P portrait", {21, 80, 48}}}) {
    progress.advance(1, fmt::format("grids: {}", name));
    rows.push_back({{"name", name},
                    {"at_4", duel(one_dimensional, two_dimensional, grid, request)},
                    {"at_8", duel(one_dimensional_8, three_dimensional, grid, request)}});
  }
  return rows;
}

double least_alias(const Pattern& pattern, const Grid& grid) {
  const Phases phases(pattern, grid);
  double least = std::numeric_limits<double>::infinity();
  for (const Phase phase : {Phase::token, Phase::group})
    least = std::min(least, shortest_alias(*aliases(phases.of(phase))));
  return least;
}

constexpr std::int64_t least_width = 64, most_width = 96, height = 48;

Json widths_json(const Request& request, Progress& progress) {
  Json rows = Json::array();
  for (std::int64_t width = least_width; width <= most_width; ++width) {
    progress.advance(1, fmt::format("widths: {}", width));
    const Grid grid{21, height, width};
    Json row = duel(one_dimensional, two_dimensional, grid, request);
    row["width"] = width;
    row["one_shortest_alias"] = least_alias(pattern_of(one_dimensional), grid);
    row["other_shortest_alias"] = least_alias(pattern_of(two_dimensional), grid);
    rows.push_back(std::move(row));
  }
  return rows;
}

/// For each offset, the share of pairs of one frame that meet in one operation of either phase.
Json coverage_json(Progress& progress) {
  constexpr std::int64_t radius = 8;
  progress.advance(1, "coverage");
  Json maps = Json::array();
  for (const Peer& peer : {one_dimensional, two_dimensional})
    for (const Grid& grid : {Grid{21, 48, 80}, Grid{21, 48, 79}, Grid{21, 30, 52}}) {
      const Phases phases(pattern_of(peer), grid);
      Json rows = Json::array();
      for (std::int64_t dy = -radius; dy <= radius; ++dy) {
        Json row = Json::array();
        for (std::int64_t dx = -radius; dx <= radius; ++dx)
          row.push_back(dy == 0 && dx == 0 ? 1.0 : offset_coverage(phases, dy, dx)->value());
        rows.push_back(std::move(row));
      }
      maps.push_back({{"label", peer.label},
                      {"grid", grid_json(grid)},
                      {"radius", radius},
                      {"fraction", std::move(rows)}});
    }
  return maps;
}

/// Attention or content stretched along one axis, its area kept.
Json shapes_json(const Request& request, Progress& progress) {
  Json rows = Json::array();
  for (const std::int64_t width : {80, 79, 84})
    for (const char* what : {"attention", "content"}) {
      progress.advance(1, fmt::format("shapes: {}, width {}", what, width));
      for (const double stretch : {0.25, 0.5, 1.0, 2.0, 4.0}) {
        AttentionModel model = AttentionModel::isotropic(3);
        const double y = std::sqrt(stretch), x = 1 / y;
        if (std::string_view(what) == "attention") {
          model.bandwidth.y *= y;
          model.bandwidth.x *= x;
        } else {
          for (auto& term : model.correlation) {
            term.length.y *= y;
            term.length.x *= x;
          }
        }
        const Grid grid{21, height, width};
        rows.push_back(
            {{"width", width},
             {"what", what},
             {"y_over_x", stretch},
             {"one_error", error_of(masks_of(one_dimensional, grid), model, request)},
             {"other_error", error_of(masks_of(two_dimensional, grid), model, request)}});
      }
    }
  return rows;
}

// ---- What predicts the error --------------------------------------------------------------------

std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<double> ranks;
  for (const double value : values) {
    double below = 0, equal = 0;
    for (const double other : values) {
      below += other < value ? 1 : 0;
      equal += other == value ? 1 : 0;
    }
    ranks.push_back(below + (equal - 1) / 2);
  }
  return ranks;
}

double rank_correlation(const std::vector<double>& a, const std::vector<double>& b) {
  return boost::math::statistics::correlation_coefficient(ranks(a), ranks(b));
}

/// Spearman's rank correlation and the middle 95 % of it over 1,000 redraws of the points.
Json correlation_json(const std::vector<double>& predictor, const std::vector<double>& error,
                      std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<std::size_t> draw(0, error.size() - 1);
  std::vector<double> redrawn;
  for (int i = 0; i < 1000; ++i) {
    std::vector<double> a, b;
    for (std::size_t j = 0; j < error.size(); ++j) {
      const std::size_t point = draw(random);
      a.push_back(predictor[point]);
      b.push_back(error[point]);
    }
    redrawn.push_back(rank_correlation(a, b));
  }
  std::ranges::sort(redrawn);
  return {{"rank_correlation", rank_correlation(predictor, error)},
          {"low", redrawn[25]},
          {"high", redrawn[974]}};
}

/// Over partitions of sparsity 4 on frames of every width.
Json predictors_json(const Request& request, Progress& progress) {
  const std::vector<Peer> family{one_dimensional,
                                 two_dimensional,
                                 {"rows only", "skiparse-3d", "1,4,1"},
                                 {"columns only", "skiparse-3d", "1,1,4"}};
  std::map<std::string, std::vector<double>> fixed;
  std::vector<std::vector<Mask>> masks;
  std::vector<Phases> layouts;
  for (std::int64_t width = least_width; width <= most_width; ++width)
    for (const Peer& peer : family) {
      const Grid grid{21, height, width};
      const Phases phases(pattern_of(peer), grid);
      masks.push_back(masks_of(peer, grid));
      fixed["neighbours within 1"].push_back(neighbour_coverage(phases, 1)->value());
      fixed["neighbours within 4"].push_back(neighbour_coverage(phases, 4)->value());
      fixed["isotropy"].push_back(1 / anisotropy(phases).value_or(1e9));
      fixed["shortest alias"].push_back(least_alias(pattern_of(peer), grid));
      layouts.push_back(phases);
    }
  Json rows = Json::array();
  for (const double s : table_bandwidths) {
    progress.advance(2, fmt::format("predictors at bandwidth {}", s));
    const AttentionModel model = AttentionModel::isotropic(s);
    std::vector<double> error, recall, predicted;
    for (std::size_t i = 0; i < masks.size(); ++i) {
      const auto phases = errors(masks[i], model, request);
      error.push_back(output_error(phases));
      recall.push_back((phases.front().recall.value + phases.back().recall.value) / 2);
      const double token = alias_error(*aliases(layouts[i].token), model);
      const double group = alias_error(*aliases(layouts[i].group), model);
      predicted.push_back(std::hypot(token, group) / std::sqrt(2.0));
    }
    auto predictors = fixed;
    predictors["recall"] = recall;
    predictors["alias formula"] = predicted;
    for (const auto& [name, values] : predictors) {
      Json row = correlation_json(values, error, static_cast<std::uint64_t>(request.seed) + 1);
      row["bandwidth"] = s;
      row["predictor"] = name;
      row["points"] = error.size();
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

/// The formula beside the error, phase by phase.
Json aliases_json(const Request& request, Progress& progress) {
  progress.advance(1, "aliases");
  Json rows = Json::array();
  for (const std::int64_t width : {80, 79, 78, 84})
    for (const Peer& peer : {one_dimensional, two_dimensional}) {
      const Phases phases(pattern_of(peer), {21, height, width});
      for (const Phase phase : {Phase::token, Phase::group}) {
        const auto found = *aliases(phases.of(phase));
        for (const double s : table_bandwidths) {
          const auto model = AttentionModel::isotropic(s);
          rows.push_back({{"label", peer.label},
                          {"width", width},
                          {"phase", to_string(phase)},
                          {"shortest_alias", shortest_alias(found)},
                          {"bandwidth", s},
                          {"alias_error", alias_error(found, model)},
                          {"output_error", phase_error(mask_of(phases.of(phase)), model,
                                                       sample_of(request), request.threads)
                                               .output_error.value}});
        }
      }
    }
  return rows;
}

Json run(const Request& request) {
  Progress progress(static_cast<double>(peers_at_4().size() + peers_at_8.size()) + 7 +
                    static_cast<double>(most_width - least_width + 1) + 6 +
                    2.0 * static_cast<double>(table_bandwidths.size()) + 2);
  Json document{{"experiment", "pattern-error"}, {"bandwidths", table_bandwidths}};
  document["peers"] = {peers_json(peers_at_4(), 4, request, progress),
                       peers_json(peers_at_8, 8, request, progress)};
  document["grids"] = grids_json(request, progress);
  document["widths"] = widths_json(request, progress);
  document["shapes"] = shapes_json(request, progress);
  document["coverage"] = coverage_json(progress);
  document["aliases"] = aliases_json(request, progress);
  document["predictors"] = predictors_json(request, progress);
  return document;
}

std::string places(const Json& crossovers) {
  std::string text;
  for (const auto& s : crossovers)
    text += fmt::format("{}{:.2f}", text.empty() ? "" : ", ", s.get<double>());
  return text.empty() ? "-" : text;
}

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  std::string out;
  for (const auto& set : document.at("peers")) {
    std::vector<Table::Column> columns{
        {fmt::format("near sparsity {}, {}", set.at("sparsity").dump(),
                     extents_text(set.at("grid")))},
        {"sparsity", right},
        {"reached in 2, %", right}};
    for (const auto& s : document.at("bandwidths"))
      columns.push_back({"s = " + number_text(s), right});
    Table table(columns);
    for (const auto& peer : set.at("peers")) {
      std::vector<Table::Cell> row{peer.at("label").get<std::string>(),
                                   fmt::format("{:.3f}", peer.at("sparsity").get<double>()),
                                   number_text(100 * peer.at("reached_in_two").get<double>(), 4)};
      for (const auto& point : peer.at("points"))
        row.emplace_back(fmt::format("{:.4f}", point.at("output_error").get<double>()));
      table.add(std::move(row));
    }
    out += "Output error against attention's bandwidth s, in tokens\n" + table.text(style) + '\n';
  }

  Table grids({{"grid"},
               {"", right},
               {"2-D is closer than 1-D beyond s =", right},
               {"3-D, 2 than 1-D, 8", right}});
  for (const auto& row : document.at("grids"))
    grids.add({row.at("name").get<std::string>(), extents_text(row.at("at_4").at("grid")),
               places(row.at("at_4").at("crossovers")), places(row.at("at_8").at("crossovers"))});
  out += grids.text(style) + '\n';

  Table predictors({{"bandwidth", right},
                    {"predictor"},
                    {"rank correlation with error", right},
                    {"95 % of redraws", right}});
  for (const auto& row : document.at("predictors"))
    predictors.add({number_text(row.at("bandwidth")), row.at("predictor").get<std::string>(),
                    fmt::format("{:.3f}", row.at("rank_correlation").get<double>()),
                    fmt::format("{:.3f} to {:.3f}", row.at("low").get<double>(),
                                row.at("high").get<double>())});
  return out + predictors.text(style) +
         "\nWidths, shapes and aliases are in the saved file and in --json.\n";
}

}  // namespace

Experiment pattern_error() {
  return {.name = "pattern-error",
          .summary =
              "Which pattern is closer to full attention: by bandwidth, grid and shape (minutes)",
          .run = run,
          .text = text};
}

}  // namespace ospsim
