#include "experiments/comm/mpi_engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

#include "experiments/store/machine.hpp"
#include "experiments/store/part_file.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "sim/parallel/trial_json.hpp"
#include "sim/process.hpp"

namespace ospsim {
namespace {

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw UnavailableError(fmt::format("{}: the MPI job did not write it", path));
  return nlohmann::json::parse(file);
}

/// What a failed job said that tells why: our ranks' own message, else the reason mpirun gives.
std::string reason(const ProcessOutcome& outcome) {
  std::istringstream lines(outcome.errors);
  std::string first, line;
  while (std::getline(lines, line)) {
    if (line.starts_with("ospsim-")) return line.substr(line.find(": ") + 2);
    if (line.find("exited on signal") != std::string::npos || line.find("noticed that") == 0)
      return line;
    if (first.empty() && line.find_first_not_of("- ") != std::string::npos) first = line;
  }
  return first.empty() ? outcome.failure() : first;
}

void mpirun(int ranks, const std::vector<std::string>& options,
            const std::vector<std::string>& program) {
  std::vector<std::string> command{"mpirun", "-np", std::to_string(ranks)};
  command.insert(command.end(), options.begin(), options.end());
  command.insert(command.end(), program.begin(), program.end());
  const auto outcome = run_process(command, {}, mpi_environment());
  if (!outcome.succeeded()) throw UnavailableError(fmt::format("mpirun: {}", reason(outcome)));
}

std::string rank_program(const std::string& name) {
  return sibling_program(name, "no MPI was found when this build was configured");
}

/// Bytes from each rank to each, [ranks, ranks], that Open MPI's monitoring component wrote down.
std::vector<std::int64_t> monitored_bytes(const ScratchFolder& folder, std::string_view prefix,
                                          int ranks) {
  std::vector<std::int64_t> bytes(index(std::int64_t{ranks} * ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    const std::string path = folder / fmt::format("{}.{}.prof", prefix, rank);
    std::ifstream file(path);
    if (!file)
      throw UnavailableError(fmt::format("{}: this MPI library writes no monitoring dump", path));
    std::string line;
    while (std::getline(file, line)) {
      // E: sent point to point; I: sent by the library inside a collective.
      if (!line.starts_with("E\t") && !line.starts_with("I\t")) continue;
      std::istringstream fields(line.substr(2));
      std::int64_t from = 0, to = 0, sent = 0;
      fields >> from >> to >> sent;
      bytes[index(from * ranks + to)] += sent;
    }
  }
  return bytes;
}

std::vector<std::string> monitoring(const ScratchFolder& folder, std::string_view prefix) {
  return {"--mca", "pml_monitoring_enable",        "2",
          "--mca", "pml_monitoring_enable_output", "3",
          "--mca", "pml_monitoring_filename",      folder / prefix};
}

/// The slowest rank of each repetition.
std::vector<double> slowest(const std::vector<nlohmann::json>& reports) {
  std::vector<double> seconds;
  for (const auto& report : reports) {
    const auto own = report.at("exchange_seconds").get<std::vector<double>>();
    seconds.resize(own.size());
    for (std::size_t i = 0; i < own.size(); ++i) seconds[i] = std::max(seconds[i], own[i]);
  }
  return seconds;
}

Traffic largest(const std::vector<nlohmann::json>& reports, const char* counting) {
  Traffic traffic;
  for (const auto& report : reports) {
    const auto& own = report.at(counting);
    traffic.collectives = std::max(traffic.collectives, own.at("collectives").get<std::int64_t>());
    traffic.steps = std::max(traffic.steps, own.at("steps").get<std::int64_t>());
    traffic.sent_bytes_per_rank =
        std::max(traffic.sent_bytes_per_rank, own.at("sent_bytes").get<std::int64_t>());
  }
  return traffic;
}

/// Compares every valid row of every rank's output with that of one rank.
void compare(const Trial& trial, const ParallelPlan& plan, const ScratchFolder& folder, int threads,
             MpiRun& run) {
  const std::vector<float> whole = one_rank_output(trial, plan.numbers, threads);
  const std::int64_t dim = trial.sequence.dim();
  double error = 0, norm = 0;
  for (int rank = 0; rank < trial.parallelism.ranks; ++rank) {
    const Shard& shard = plan.hidden_in(trial.schedule.back())[index(rank)];
    std::vector<float> y(index(shard.elements()));
    std::ifstream file(folder / fmt::format("rank-{}.f32", rank), std::ios::binary);
    if (!file.read(reinterpret_cast<char*>(y.data()),
                   static_cast<std::streamsize>(y.size() * sizeof(float))))
      throw UnavailableError(fmt::format("rank {} wrote no output", rank));
    for (std::size_t i = 0; i < shard.rows.size(); ++i) {
      const auto token = plan.numbers.token(shard.rows[i]);
      if (!token) continue;
      const std::int64_t row =
          plan.numbers.sample(shard.rows[i]) * trial.sequence.grid.tokens() + *token;
      for (std::int64_t c = 0; c < dim; ++c) {
        const double ours = y[i * index(dim) + index(c)], wanted = whole[index(row * dim + c)];
        run.max_abs_difference = std::max(run.max_abs_difference, std::fabs(ours - wanted));
        error += (ours - wanted) * (ours - wanted);
        norm += wanted * wanted;
      }
    }
  }
  run.relative_l2 = std::sqrt(error / norm);
}

void write_trial(const Trial& trial, const ScratchFolder& folder) {
  std::ofstream(folder / "trial.json") << trial_json(trial);
}

}  // namespace

MpiRun run_with_mpi(const Trial& trial, int repetitions, int threads) {
  const std::string program = rank_program("ospsim-rank");
  // The activations of a block, which the ranks hold together and then one rank alone.
  const Layout layout(trial.sequence.pattern, trial.sequence.grid, Phase::token);
  const double dim = static_cast<double>(trial.sequence.dim());
  const double hidden_bytes = 4.0 * static_cast<double>(layout.padded_tokens()) *
                              static_cast<double>(trial.sequence.batch) * dim;
  require_memory(hidden_bytes * (28 + 2 * static_cast<double>(trial.ffn_dim) / dim),
                 fmt::format("a block of {} tokens and width {}", layout.padded_tokens(), dim));
  const ParallelPlan plan = trial.plan();

  const ScratchFolder folder;
  write_trial(trial, folder);
  const int ranks = trial.parallelism.ranks;
  for (const char* mode : {"control", "payload"})
    mpirun(ranks, monitoring(folder, mode),
           {program, folder.path(), std::to_string(repetitions), mode});

  std::vector<nlohmann::json> reports;
  for (int rank = 0; rank < ranks; ++rank)
    reports.push_back(read_json(folder / fmt::format("rank-{}.json", rank)));
  MpiRun run{.ledger = largest(reports, "ledger"),
             .calls = largest(reports, "calls"),
             .norm = largest(reports, "norm"),
             .exchange_seconds = slowest(reports)};

  const auto control = monitored_bytes(folder, "control", ranks);
  const auto all = monitored_bytes(folder, "payload", ranks);
  run.counts_agree = true;
  for (int from = 0; from < ranks; ++from) {
    const auto& report = reports[index(from)];
    const auto sent = report.at("sent_to_rank").get<std::vector<std::int64_t>>();
    run.counts_agree = run.counts_agree && report.at("ledger") == report.at("calls");
    std::int64_t on_wire = 0;
    for (int to = 0; to < ranks; ++to) {
      const auto pair = index(std::int64_t{from} * ranks + to);
      run.counts_agree = run.counts_agree && all[pair] - control[pair] == sent[index(to)];
      on_wire += all[pair] - control[pair];
    }
    // The job ran the exchanges once for the result, once to warm up, then to be timed.
    run.wire_sent_bytes_per_rank =
        std::max(run.wire_sent_bytes_per_rank, on_wire / (repetitions + 2));
  }
  compare(trial, plan, folder, threads, run);
  return run;
}

ExchangeTimes exchange_times_with_mpi(const Trial& ssp, int repetitions) {
  const ScratchFolder folder;
  write_trial(ssp, folder);
  mpirun(ssp.parallelism.ranks, {},
         {rank_program("ospsim-exchange-times"), folder.path(), std::to_string(repetitions)});
  const auto document = read_json(folder / "times.json");
  ExchangeTimes times{.switch_is_own_inverse = document.at("switch_is_own_inverse").get<bool>()};
  for (const auto& variant : document.at("variants"))
    times.seconds.emplace_back(variant.at("name").get<std::string>(),
                               variant.at("seconds").get<std::vector<double>>());
  return times;
}

}  // namespace ospsim
