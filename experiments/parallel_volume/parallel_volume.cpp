#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "analysis/communication.hpp"
#include "experiments/comm/comm_study.hpp"
#include "experiments/experiment.hpp"

/// Bytes against ranks for every strategy, of one sparse block and of one forward pass, at the
/// paper's two resolutions.
namespace ospsim {
namespace {

constexpr int bf16_bytes = 2;
constexpr int most_ranks = 40;  // the model's heads

Sequence sequence_of(const Grid& grid, const Model& model) {
  return {.grid = grid, .pattern = model.pattern, .heads = model.heads, .head_dim = model.head_dim};
}

/// Every strategy on every number of ranks on which it runs.
Json block_rows(const Grid& grid) {
  const Sequence sequence = sequence_of(grid, find_model("osp-next-14b"));
  Json rows = Json::array();
  for (const Strategy strategy : all_strategies())
    for (int ranks = 1; ranks <= most_ranks; ++ranks) try {
        const Parallelism p =
            make_parallelism(strategy, ranks, {}, {}, Boundary::all_gather, sequence);
        Json row{{"strategy", to_string(strategy)}, {"ranks", ranks}};
        row.update(traffic_json(
            block_traffic(p, sequence, BlockKind::token, Direction::forward, bf16_bytes)));
        rows.push_back(std::move(row));
      } catch (const InputError&) {  // not on so many ranks
      }
  return rows;
}

/// The dense model under ulysses, and the sparse one under as much ssp as fits, either boundary.
Json forward_rows(const Grid& grid) {
  struct Contender {
    const char* model;
    Strategy strategy;
    Boundary boundary;
  };
  const Contender contenders[] = {{"wan2.1-14b", Strategy::ulysses, Boundary::all_gather},
                                  {"osp-next-14b", Strategy::ssp_ulysses, Boundary::all_gather},
                                  {"osp-next-14b", Strategy::ssp_ulysses, Boundary::reshard}};
  Json rows = Json::array();
  for (const auto& [name, strategy, boundary] : contenders)
    for (int ranks = 1; ranks <= most_ranks; ++ranks) try {
        const Model model = find_model(name);
        const Sequence sequence = sequence_of(grid, find_model("osp-next-14b"));
        const Parallelism p = make_parallelism(strategy, ranks, {}, {}, boundary, sequence);
        const ForwardTraffic forward = forward_traffic(p, model, grid, 1, bf16_bytes);
        Json row{{"model", name},
                 {"strategy", to_string(strategy)},
                 {"boundary", to_string(boundary)},
                 {"ranks", ranks},
                 {"ssp_ranks", p.ssp},
                 {"ulysses_ranks", p.ulysses}};
        row.update(traffic_json(forward.total));
        for (const auto& [label, traffic] : forward.breakdown)
          row["parts"][label] = traffic.sent_bytes_per_rank;
        rows.push_back(std::move(row));
      } catch (const InputError&) {
      }
  return rows;
}

Json run(const Request&) {
  Json document{{"experiment", "parallel-volume"}, {"bytes_per_element", bf16_bytes}};
  for (const char* resolution : {"720p", "768p"}) {
    const Grid grid = grid_of_video(resolution, 81);
    document[resolution] = {{"grid", {grid.t, grid.h, grid.w}},
                            {"block", block_rows(grid)},
                            {"forward", forward_rows(grid)}};
  }
  return document;
}

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  Table table({{"resolution"},
               {"ranks", right},
               {"Wan2.1, MB", right},
               {"OSP-Next, MB", right},
               {"saved, %", right},
               {"with reshard, MB", right},
               {"saved, %", right}});
  for (const char* resolution : {"720p", "768p"})
    for (const int ranks : {2, 4, 8, 16, 32, 40}) {
      std::vector<double> sent;
      for (const Json& row : document.at(resolution).at("forward"))
        if (row.at("ranks") == ranks)
          sent.push_back(row.at("sent_bytes_per_rank").get<double>() / 1e6);
      if (sent.size() != 3) continue;
      const auto saved = [&](double ours) {
        return fmt::format("{:.1f}", 100 * (1 - ours / sent[0]));
      };
      table.add({resolution, std::to_string(ranks), fmt::format("{:.0f}", sent[0]),
                 fmt::format("{:.0f}", sent[1]), saved(sent[1]), fmt::format("{:.0f}", sent[2]),
                 saved(sent[2])});
    }
  return "One forward pass, bf16, what the busiest rank sends; SSP and, beyond four ranks, "
         "Ulysses\n\n" +
         table.text(style);
}

}  // namespace

Experiment parallel_volume() {
  return {.name = "parallel-volume",
          .summary = "Bytes against ranks for every strategy, per block and per forward pass",
          .run = run,
          .text = text};
}

}  // namespace ospsim
