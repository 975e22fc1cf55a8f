#include "experiments/comm/comm_study.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "analysis/communication.hpp"
#include "analysis/network_time.hpp"
#include "experiments/cli/request.hpp"
#include "experiments/comm/mpi_engine.hpp"
#include "experiments/median.hpp"
#include "experiments/store/machine.hpp"
#include "kernels_ref/errors.hpp"
#include "sim/process.hpp"

namespace ospsim {
namespace {

BlockKind kind_of_block(const Sequence& sequence) {
  return sequence.pattern.digits(Phase::token).empty() ? BlockKind::full : BlockKind::token;
}

Json forward_json(const CommQuestion& question) {
  const ForwardTraffic forward =
      forward_traffic(question.parallelism, *question.model, question.sequence.grid,
                      question.sequence.batch, question.bytes_per_element);
  Json json = traffic_json(forward.total);
  json["breakdown"] = Json::array();
  for (const TrafficPart& part : forward.breakdown) {
    Json row{{"part", part.label}};
    row.update(traffic_json(part.traffic));
    json["breakdown"].push_back(std::move(row));
  }
  return json;
}

/// Adds what real processes measured. The answer holds if all countings agree with the formula.
void measure(const CommQuestion& question, const Traffic& formula, Json& json) {
  const Trial trial = trial_of(question);
  const MpiRun run = run_with_mpi(trial, question.repetitions, question.threads);
  const Traffic tensors{run.ledger.collectives - run.norm.collectives,
                        run.ledger.steps - run.norm.steps,
                        run.ledger.sent_bytes_per_rank - run.norm.sent_bytes_per_rank};
  json["measured"] = traffic_json(tensors);
  json["time_ms"] = 1e3 * median(run.exchange_seconds);
  json["max_abs_difference"] = run.max_abs_difference;
  json["relative_l2"] = run.relative_l2;
  json["counts"] = {
      {"formula_sent_bytes_per_rank", formula.sent_bytes_per_rank},
      {"ledger_sent_bytes_per_rank", tensors.sent_bytes_per_rank},
      {"mpi_calls_sent_bytes_per_rank",
       run.calls.sent_bytes_per_rank - run.norm.sent_bytes_per_rank},
      {"wire_sent_bytes_per_rank", run.wire_sent_bytes_per_rank - run.norm.sent_bytes_per_rank}};
  const bool agree = run.counts_agree && tensors == formula;
  json["counts_agree"] = agree;
  if (!agree) json["holds"] = false;
}

ReplayResult replay(const Ledger& ledger, const ReplaySettings& settings) {
  static const std::string program = sibling_program(
      "ospsim-replay", "no SimGrid (libsimgrid-dev) was found when this build was configured");
  const std::string request =
      naming("--platform", [&] { return replay_request(ledger, settings); });
  return parse_replay(run_replayer(program, request));
}

}  // namespace

Json traffic_json(const Traffic& traffic) {
  return {{"collectives", traffic.collectives},
          {"steps", traffic.steps},
          {"sent_bytes_per_rank", traffic.sent_bytes_per_rank}};
}

Trial trial_of(const CommQuestion& question) {
  Trial trial{.parallelism = question.parallelism,
              .sequence = question.sequence,
              // Wan2.1-14B's proportion, 13824 to 5120.
              .ffn_dim = std::max<std::int64_t>(question.parallelism.ranks,
                                                question.sequence.dim() * 27 / 10),
              .text_rows = 512,
              .seed = question.seed,
              .bytes_per_element = question.bytes_per_element};
  if (question.model) {
    trial.text_rows = question.model->text_tokens;
    trial.schedule = block_schedule(*question.model);
    trial.schedule.insert(trial.schedule.begin(), trial.schedule.front());
    return trial;
  }
  const BlockKind kind = kind_of_block(question.sequence);
  trial.schedule = {kind == BlockKind::full ? BlockKind::full : BlockKind::group, kind};
  return trial;
}

void require_memory_for_plan(const Trial& trial) {
  const Layout layout(trial.sequence.pattern, trial.sequence.grid, Phase::token);
  const double rows =
      static_cast<double>(layout.padded_tokens()) * static_cast<double>(trial.sequence.batch);
  // Three lists of rows, and as much again while they are exchanged.
  require_memory(64 * rows, fmt::format("sharing out {:.0f} rows", rows));
}

Ledger ledger_of(const Trial& trial) {
  // Every rank's every part becomes a flow, which the simulator and its request hold.
  constexpr std::int64_t most_parts = 20'000'000;
  const std::int64_t ranks = trial.parallelism.ranks;
  const std::int64_t steps = std::max<std::int64_t>(trial.parallelism.ring - 1, 6);
  if (ranks * steps * std::ssize(trial.schedule) > most_parts)
    throw InputError(
        fmt::format("--ranks: {} ranks exchange too many parts to be simulated", ranks));
  require_memory_for_plan(trial);
  const ParallelPlan plan = trial.plan();
  return run_without_payload(trial.parallelism.ranks, [&](Communicator& communicator) {
    run_trial(trial, plan, communicator, 1);
  });
}

Json simulated_json(const Ledger& ledger, const CommQuestion& question) {
  ReplaySettings settings{.platform = question.platform.value(),
                          .replicas = question.replicas,
                          .placement = question.placement,
                          .all_to_all = question.all_to_all,
                          .with_computation = false,
                          .with_packing = false};
  const ReplayResult alone = replay(ledger, settings);
  Json json{{"time_ms", 1e3 * alone.time_s},
            {"closed_form_ms", 1e3 * network_seconds(ledger, settings)}};
  settings.with_latency = false;
  const ReplayResult wire = replay(ledger, settings);
  settings.with_latency = settings.with_computation = settings.with_packing = true;
  const ReplayResult all = replay(ledger, settings);

  json["wire_ms"] = 1e3 * wire.time_s;
  json["latency_ms"] = 1e3 * (alone.time_s - wire.time_s);
  json["packing_ms"] = 1e3 * all.packing.max_s;
  json["computation_ms"] = 1e3 * all.computation.max_s;
  json["with_computation_ms"] = 1e3 * all.time_s;
  json["exposed_ms"] = 1e3 * (all.time_s - all.computation.max_s);
  json["exchanges"] = Json::array();
  for (const auto& [label, time] : alone.exchanges)
    json["exchanges"].push_back(
        {{"label", label}, {"mean_ms", 1e3 * time.mean_s}, {"max_ms", 1e3 * time.max_s}});
  json["platform"] = settings.platform.name;
  json["replicas"] = question.replicas;
  json["devices"] = alone.devices;
  json["nodes"] = alone.nodes;
  json["flows"] = alone.flows;
  return json;
}

Json answer(const CommQuestion& question) {
  const Parallelism& parallelism = question.parallelism;
  const Sequence& sequence = question.sequence;
  const int bytes_per_element = question.bytes_per_element;
  const BlockKind kind = kind_of_block(sequence);
  const auto block = [&](Direction direction) {
    return block_traffic(parallelism, sequence, kind, direction, bytes_per_element);
  };
  Json json{{"strategy", to_string(parallelism.strategy)},
            {"ssp_ranks", parallelism.ssp},
            {"ulysses_ranks", parallelism.ulysses},
            {"ring_ranks", parallelism.ring},
            {"per_block", traffic_json(block(Direction::forward))},
            {"per_block_backward", traffic_json(block(Direction::backward))}};
  if (parallelism.strategy == Strategy::megatron_sp)
    json["norm_per_block"] = traffic_json(norm_traffic(parallelism, sequence));
  Traffic asked = block(Direction::forward);
  if (question.model) {
    json["per_forward"] = forward_json(question);
    asked = forward_traffic(parallelism, *question.model, sequence.grid, sequence.batch,
                            bytes_per_element)
                .total;
  }
  if (question.engine == CommEngine::mpi) measure(question, asked, json);
  if (question.engine == CommEngine::simgrid)
    json["simulated"] = simulated_json(ledger_of(trial_of(question)), question);
  return json;
}

}  // namespace ospsim
