#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "sim/parallel/mpi/mpi_communicator.hpp"
#include "sim/parallel/trial_json.hpp"

/// One rank of an MPI job, started by `ospsim comm --engine mpi`:
///   ospsim-rank FOLDER REPETITIONS payload|control
/// runs the trial of FOLDER/trial.json, then its exchanges alone REPETITIONS times, and writes
/// FOLDER/rank-N.json and, with payload, FOLDER/rank-N.f32, its rows of the output. With `control`
/// all is done but moving payload, so that what MPI sends then is not ours.
namespace ospsim {
namespace {

nlohmann::json traffic_json(const Traffic& traffic) {
  return {{"collectives", traffic.collectives},
          {"steps", traffic.steps},
          {"sent_bytes", traffic.sent_bytes_per_rank}};
}

nlohmann::json report(Communicator& communicator, const Ledger& trial, const MpiCalls& calls,
                      const std::vector<double>& seconds) {
  std::vector<std::int64_t> sent(static_cast<std::size_t>(communicator.size()));
  for (const Event& event : communicator.trace())
    if (const auto* exchange = std::get_if<Exchange>(&event))
      for (const auto& part : exchange->sent)
        sent[static_cast<std::size_t>(part.peer)] += part.bytes;
  return {{"ledger", traffic_json(traffic(trial))},
          {"norm", traffic_json(traffic(trial, "norm"))},
          {"calls",
           {{"collectives", calls.collectives},
            {"steps", calls.collectives + calls.shifts},
            {"sent_bytes", calls.sent_bytes}}},
          {"sent_to_rank", sent},
          {"exchange_seconds", seconds}};
}

void run(const std::string& folder, int repetitions, bool payload) {
  std::ifstream file(folder + "/trial.json");
  const Trial trial = trial_of(nlohmann::json::parse(file));
  MpiSettings settings{.carries_payload = payload};
  MpiCommunicator communicator(settings);
  const ParallelPlan plan = trial.plan();

  const std::vector<float> y = run_trial(trial, plan, communicator, 1);
  const Ledger of_trial{{communicator.trace()}};
  const MpiCalls calls = mpi_calls();

  settings.checks_sizes = false;  // the same exchanges as those just made
  TrialExchanges exchanges(trial, plan, communicator);
  exchanges.run();
  std::vector<double> seconds;
  for (int i = 0; i < repetitions; ++i) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    exchanges.run();
    seconds.push_back(MPI_Wtime() - start);
  }

  const std::string name = fmt::format("{}/rank-{}", folder, communicator.rank());
  std::ofstream(name + ".json") << report(communicator, of_trial, calls, seconds);
  std::ofstream(name + ".f32", std::ios::binary)
      .write(reinterpret_cast<const char*>(y.data()),
             static_cast<std::streamsize>(y.size() * sizeof(float)));
}

}  // namespace
}  // namespace ospsim

int main(int argc, char** argv) {
  return ospsim::run_as_rank(argc, argv, "ospsim-rank", [&] {
    if (argc != 4) throw std::runtime_error("FOLDER REPETITIONS payload|control are needed");
    ospsim::run(argv[1], std::stoi(argv[2]), std::string(argv[3]) == "payload");
  });
}
