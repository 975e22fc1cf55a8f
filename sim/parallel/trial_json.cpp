#include "sim/parallel/trial_json.hpp"

#include <nlohmann/json.hpp>

namespace ospsim {

nlohmann::json trial_json(const Trial& trial) {
  const auto& [parallelism, sequence, ffn_dim, text_rows, schedule, seed, bytes] = trial;
  const Ratio& ratio = sequence.pattern.ratio;
  nlohmann::json kinds = nlohmann::json::array();
  for (const BlockKind kind : schedule) kinds.push_back(static_cast<int>(kind));
  return {{"strategy", to_string(parallelism.strategy)},
          {"ranks", parallelism.ranks},
          {"ssp", parallelism.ssp},
          {"ulysses", parallelism.ulysses},
          {"ring", parallelism.ring},
          {"boundary", to_string(parallelism.boundary)},
          {"grid", {sequence.grid.t, sequence.grid.h, sequence.grid.w}},
          {"pattern", sequence.pattern.spelled()},
          {"ratio", {ratio.t, ratio.y, ratio.x}},
          {"batch", sequence.batch},
          {"heads", sequence.heads},
          {"head_dim", sequence.head_dim},
          {"ffn_dim", ffn_dim},
          {"text_rows", text_rows},
          {"schedule", kinds},
          {"seed", seed},
          {"bytes_per_element", bytes}};
}

Trial trial_of(const nlohmann::json& d) {
  const auto whole = [&](const char* name) { return d.at(name).get<std::int64_t>(); };
  const auto small = [&](const char* name) { return d.at(name).get<int>(); };
  const auto text = [&](const char* name) { return d.at(name).get<std::string>(); };
  const auto grid = d.at("grid").get<std::array<std::int64_t, 3>>();
  const auto ratio = d.at("ratio").get<std::array<std::int64_t, 3>>();
  Trial trial{
      .parallelism = {.strategy = parse_strategy(text("strategy")),
                      .ranks = small("ranks"),
                      .ssp = small("ssp"),
                      .ulysses = small("ulysses"),
                      .ring = small("ring"),
                      .boundary = parse_boundary(text("boundary"))},
      .sequence = {.grid = {grid[0], grid[1], grid[2]},
                   .pattern = parse_pattern(text("pattern"), {ratio[0], ratio[1], ratio[2]}),
                   .batch = whole("batch"),
                   .heads = whole("heads"),
                   .head_dim = whole("head_dim")},
      .ffn_dim = whole("ffn_dim"),
      .text_rows = whole("text_rows"),
      .seed = d.at("seed").get<std::uint64_t>(),
      .bytes_per_element = small("bytes_per_element")};
  for (const int kind : d.at("schedule").get<std::vector<int>>())
    trial.schedule.push_back(static_cast<BlockKind>(kind));
  return trial;
}

}  // namespace ospsim
