#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>

#include "experiments/cli/progress.hpp"
#include "experiments/comm/comm_study.hpp"
#include "experiments/experiment.hpp"

/// How long the exchanges of one 768P forward pass take on networks nobody here owns, and how much
/// of it computing does not hide: the dense model under ulysses against the sparse one under
/// ulysses, under ssp as the paper does it, and with a reshard at the boundaries; ring beside.
namespace ospsim {
namespace {

using Placement = ReplaySettings::Placement;

struct Contender {
  const char *label, *model;
  Strategy strategy;
  Boundary boundary;
};
constexpr Contender contenders[] = {
    {"dense, ulysses", "wan2.1-14b", Strategy::ulysses, Boundary::all_gather},
    {"sparse, ulysses", "osp-next-14b", Strategy::ulysses, Boundary::all_gather},
    {"sparse, ssp", "osp-next-14b", Strategy::ssp_ulysses, Boundary::all_gather},
    {"sparse, ssp, reshard", "osp-next-14b", Strategy::ssp_ulysses, Boundary::reshard},
    {"dense, ring", "wan2.1-14b", Strategy::ring, Boundary::all_gather},
    {"sparse, ring", "osp-next-14b", Strategy::ring, Boundary::all_gather}};
constexpr auto without_ring = std::span(contenders).first<4>();

/// A cluster and how groups of ranks lie on it.
struct Setting {
  const char* platform;
  Placement placement;
  int replicas;
};

Json row_of(const Setting& setting, int ranks, const Contender& contender) {
  const Model model = find_model(contender.model);
  CommQuestion question{.parallelism = {},
                        .sequence = {.grid = grid_of_video("768p", 81),
                                     .pattern = find_model("osp-next-14b").pattern,
                                     .heads = model.heads,
                                     .head_dim = model.head_dim},
                        .bytes_per_element = 2,
                        .model = model,
                        .engine = CommEngine::simgrid,
                        .platform = load_platform(setting.platform),
                        .replicas = setting.replicas,
                        .placement = setting.placement};
  question.parallelism =
      make_parallelism(contender.strategy, ranks, {}, {}, contender.boundary, question.sequence);
  Json row{{"platform", setting.platform},
           {"placement", to_string(setting.placement)},
           {"ranks", ranks},
           {"contender", contender.label}};
  const Ledger ledger = ledger_of(trial_of(question));
  row["sent_bytes_per_rank"] = traffic(ledger).sent_bytes_per_rank;
  row.update(simulated_json(ledger, question));
  row.erase("exchanges");
  return row;
}

Json rows_of(const std::vector<std::pair<Setting, int>>& cells, std::span<const Contender> asked) {
  Progress progress(static_cast<double>(cells.size() * asked.size()));
  Json rows = Json::array();
  for (const auto& [setting, ranks] : cells)
    for (const Contender& contender : asked) {
      progress.advance(0, fmt::format("{}, {} ranks", setting.platform, ranks));
      rows.push_back(row_of(setting, ranks, contender));
      progress.advance(1, setting.platform);
    }
  return rows;
}

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  Table table({{"platform"},
               {"placement"},
               {"devices", right},
               {"ranks", right},
               {"contender"},
               {"sent/rank, GB", right},
               {"time, ms", right},
               {"closed form", right},
               {"computing, ms", right},
               {"pass, ms", right},
               {"exposed, %", right}});
  for (const Json& row : document.at("rows")) {
    const auto ms = [&](const char* name) { return row.at(name).get<double>(); };
    table.add({row.at("platform").get<std::string>(), row.at("placement").get<std::string>(),
               row.at("devices").dump(), row.at("ranks").dump(),
               row.at("contender").get<std::string>(),
               fmt::format("{:.2f}", ms("sent_bytes_per_rank") / 1e9),
               fmt::format("{:.1f}", ms("time_ms")), fmt::format("{:.1f}", ms("closed_form_ms")),
               fmt::format("{:.0f}", ms("computation_ms")),
               fmt::format("{:.0f}", ms("with_computation_ms")),
               fmt::format("{:.1f}", 100 * ms("exposed_ms") / ms("with_computation_ms"))});
  }
  return "One 768P forward pass, bf16; simulated, computing modelled\n\n" + table.text(style);
}

/// One group of ranks where it fits into nodes; else each of its ranks in another node, and as many
/// groups side by side as fill them.
Json run_time(const Request&) {
  std::vector<std::pair<Setting, int>> cells;
  for (const char* platform : {"h200-nvlink", "pcie", "ascend-910c"})
    for (const int ranks : {2, 4, 8}) cells.push_back({{platform, Placement::packed, 1}, ranks});
  for (const int ranks : {16, 32}) cells.push_back({{"h200-ndr", Placement::packed, 1}, ranks});
  for (const char* platform : {"h200-ndr", "h200-ndr-1nic"})
    for (const int ranks : {2, 4, 8}) cells.push_back({{platform, Placement::strided, 8}, ranks});
  return {{"experiment", "parallel-time"}, {"rows", rows_of(cells, contenders)}};
}

/// 1,024 devices, all groups in flight, on networks that groups compete for.
Json run_scale(const Request&) {
  std::vector<std::pair<Setting, int>> cells;
  for (const char* platform : {"h200-fat-tree-2to1", "h200-fat-tree-4to1"})
    for (const Placement placement : {Placement::packed, Placement::strided})
      for (const int ranks : {4, 8}) cells.push_back({{platform, placement, 1024 / ranks}, ranks});
  return {{"experiment", "parallel-scale"}, {"rows", rows_of(cells, without_ring)}};
}

}  // namespace

Experiment parallel_time() {
  return {.name = "parallel-time",
          .summary = "Simulated time of a forward pass's exchanges against the network",
          .run = run_time,
          .text = text};
}

Experiment parallel_scale() {
  return {.name = "parallel-scale",
          .summary = "The same on 1,024 devices, all groups in flight; takes long",
          .run = run_scale,
          .text = text};
}

}  // namespace ospsim
