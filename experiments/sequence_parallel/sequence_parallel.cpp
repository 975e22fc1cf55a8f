#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "experiments/cli/progress.hpp"
#include "experiments/comm/comm_study.hpp"
#include "experiments/comm/mpi_engine.hpp"
#include "experiments/experiment.hpp"
#include "experiments/median.hpp"
#include "experiments/pattern_json.hpp"

/// Every strategy on real processes: three counts of what it moves, its output against one rank's,
/// and the wall time of one sparse block's exchanges, ssp beside ulysses.
namespace ospsim {
namespace {

struct Case {
  Grid grid;
  std::int64_t ratio, batch;
  std::vector<int> ranks;
  std::vector<Strategy> strategies;
};

/// One grid of whole units and a ragged one for all strategies; other ratios and a batch for those
/// that depend on them.
std::vector<Case> cases() {
  const std::vector<Strategy> by_subsequence{Strategy::ssp, Strategy::ssp_ulysses,
                                             Strategy::gather};
  return {{{3, 8, 16}, 2, 1, {1, 2, 4, 8}, all_strategies()},
          {{3, 9, 14}, 2, 1, {2, 4, 8}, all_strategies()},
          {{2, 8, 12}, 2, 2, {2, 4, 8}, by_subsequence},
          {{2, 11, 18}, 3, 1, {3, 6, 8}, by_subsequence},
          {{1, 16, 33}, 4, 1, {2, 4, 8}, by_subsequence}};
}

Sequence sequence_of(const Case& c) {
  return {.grid = c.grid,
          .pattern = parse_pattern("skiparse-2d", {c.ratio, c.ratio, c.ratio}),
          .batch = c.batch,
          .heads = 8,
          .head_dim = 16};
}

Json runs_json(const Request& request) {
  std::vector<CommQuestion> questions;
  for (const Case& c : cases())
    for (const Strategy strategy : c.strategies)
      for (const int ranks : c.ranks) try {
          const Sequence sequence = sequence_of(c);
          // Left to itself usp is all ulysses here.
          std::optional<int> ulysses;
          if (strategy == Strategy::usp && ranks >= 4) ulysses = 2;
          questions.push_back({.parallelism = make_parallelism(strategy, ranks, ulysses, {},
                                                               Boundary::all_gather, sequence),
                               .sequence = sequence,
                               .bytes_per_element = 4,
                               .model = {},
                               .engine = CommEngine::mpi,
                               .repetitions = 1,
                               .threads = request.threads,
                               .seed = static_cast<std::uint64_t>(request.seed),
                               .platform = {}});
        } catch (const InputError&) {  // this strategy does not run on so many ranks
        }
  Progress progress(static_cast<double>(questions.size()));
  progress.advance(0, "real processes");
  Json rows = Json::array();
  for (const CommQuestion& question : questions) {
    const Sequence& sequence = question.sequence;
    Json row = pattern_fields(sequence.grid, sequence.pattern);
    row["batch"] = sequence.batch;
    row["ranks"] = question.parallelism.ranks;
    row.update(answer(question));
    rows.push_back(std::move(row));
    progress.advance(1, "real processes");
  }
  return rows;
}

/// The shape for which a bar was set: 768P at a width that four processes hold on a small machine.
Json exchange_times_json() {
  constexpr int ranks = 4, repetitions = 21;
  const Sequence sequence{.grid = {21, 48, 80},
                          .pattern = parse_pattern("skiparse-2d", {2, 2, 2}),
                          .heads = 20,
                          .head_dim = 32};
  const Trial trial{
      .parallelism = make_parallelism(Strategy::ssp, ranks, {}, {}, Boundary::all_gather, sequence),
      .sequence = sequence,
      .ffn_dim = sequence.dim(),
      .text_rows = 1,
      .schedule = {BlockKind::group, BlockKind::token}};
  const ExchangeTimes times = exchange_times_with_mpi(trial, repetitions);
  Json seconds, medians;
  for (const auto& [name, values] : times.seconds) {
    seconds[name] = values;
    medians[name] = 1e3 * median(values);
  }
  return {{"grid", {21, 48, 80}},
          {"hidden", sequence.dim()},
          {"ranks", ranks},
          {"bytes_per_element", 4},
          {"repetitions", repetitions},
          {"seconds", seconds},
          {"median_ms", medians},
          {"switch_is_own_inverse", times.switch_is_own_inverse}};
}

Json run(const Request& request) {
  Json document{{"experiment", "sequence-parallel"}};
  document["runs"] = runs_json(request);
  document["exchange_times"] = exchange_times_json();
  document["holds"] = std::all_of(document["runs"].begin(), document["runs"].end(),
                                  [](const Json& row) { return row.value("holds", true); });
  return document;
}

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  Table runs({{"strategy"},
              {"ranks", right},
              {"grid"},
              {"ratio", right},
              {"batch", right},
              {"steps", right},
              {"sent/rank, B", right},
              {"counts agree"},
              {"max difference", right},
              {"relative L2", right}});
  for (const Json& row : document.at("runs"))
    runs.add({row.at("strategy").get<std::string>(), row.at("ranks").dump(),
              extents_text(row.at("grid")), row.at("ratio").dump(), row.at("batch").dump(),
              row.at("measured").at("steps").dump(),
              row.at("measured").at("sent_bytes_per_rank").dump(),
              row.at("counts_agree").get<bool>() ? "yes" : "NO",
              number_text(row.at("max_abs_difference"), 2), number_text(row.at("relative_l2"), 2)});
  const Json& times = document.at("exchange_times");
  Table exchanges({{"one sparse block's exchanges"}, {"median, ms", right}, {"of ulysses", right}});
  const double ulysses = times.at("median_ms").at("ulysses").get<double>();
  for (const auto& [name, ms] : times.at("median_ms").items())
    exchanges.add({name, number_text(ms), fmt::format("{:.3f}", ms.get<double>() / ulysses)});
  return runs.text(style) +
         fmt::format(
             "\nEach on real processes; sent by formula, ledger, MPI calls and on the "
             "wire.\n\n{} tokens, width {}, float32, {} processes, in turns:\n\n",
             extents_text(times.at("grid")), times.at("hidden").dump(), times.at("ranks").dump()) +
         exchanges.text(style);
}

}  // namespace

Experiment sequence_parallel() {
  return {
      .name = "sequence-parallel",
      .summary = "Parallel strategies on real processes: bytes by three counts, output, wall time",
      .run = run,
      .text = text};
}

}  // namespace ospsim
