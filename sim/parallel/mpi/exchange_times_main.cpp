#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "sim/parallel/mpi/mpi_communicator.hpp"
#include "sim/parallel/mpi/zero_copy_switch.hpp"
#include "sim/parallel/trial_json.hpp"

/// One rank of an MPI job that times one sparse block's exchanges under several strategies, in
/// turns:
///   ospsim-exchange-times FOLDER REPETITIONS
/// The trial of FOLDER/trial.json names ssp; ulysses runs on the same sequence and ranks. Rank 0
/// writes FOLDER/times.json: per variant the seconds of each turn, those of the slowest rank.
///   ulysses          its four all-to-alls with packing
///   alltoall + copy  as often MPI_Alltoall of as many bytes and a copy of as many, nothing else:
///                    what ulysses costs at least
///   ssp              its all-to-all with packing
///   ssp, zero copy   the same through MPI datatypes; absent where the layout does not allow it
namespace ospsim {
namespace {

struct Variant {
  std::string name;
  std::function<void()> run;
  std::vector<double> seconds;
};

std::vector<float> distinct(std::int64_t elements, int rank) {
  std::vector<float> values(static_cast<std::size_t>(elements));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((i * 7919 + static_cast<std::size_t>(rank) * 104729) % 8388593);
  return values;
}

/// Both ways of the phase switch must leave the same values.
void require_same_switch(const Trial& trial, const ParallelPlan& plan, Communicator& communicator,
                         const ZeroCopySwitch& zero_copy) {
  ParallelModel model(plan, communicator, {4}, 1);
  const auto x = distinct(model.shard(BlockKind::group).elements(), communicator.rank());
  const auto packed = model.hand_over(BlockKind::group, BlockKind::token, 0, x);
  std::vector<float> direct(packed.size());
  zero_copy.run(x, direct);
  if (direct != packed)
    throw std::runtime_error(fmt::format("packed and zero-copy switch differ on grid {}",
                                         to_string(trial.sequence.grid)));
}

/// Whether the switch does the same to an array in both directions, and twice leaves it as it was.
bool switch_is_own_inverse(const ParallelPlan& plan, Communicator& communicator) {
  ParallelModel model(plan, communicator, {4}, 1);
  const auto x = distinct(model.shard(BlockKind::group).elements(), communicator.rank());
  const auto there = model.hand_over(BlockKind::group, BlockKind::token, 0, x);
  const auto other_way = model.hand_over(BlockKind::token, BlockKind::group, 0, x);
  return there == other_way && model.hand_over(BlockKind::group, BlockKind::token, 0, there) == x;
}

void run(const std::string& folder, int repetitions) {
  std::ifstream file(folder + "/trial.json");
  Trial trial = trial_of(nlohmann::json::parse(file));
  MpiSettings settings;
  MpiCommunicator communicator(settings);
  const ParallelPlan ssp_plan = trial.plan();
  Trial ulysses = trial;
  ulysses.parallelism = make_parallelism(Strategy::ulysses, trial.parallelism.ranks, {}, {},
                                         trial.parallelism.boundary, trial.sequence);
  const ParallelPlan ulysses_plan = ulysses.plan();

  TrialExchanges by_ulysses(ulysses, ulysses_plan, communicator);
  TrialExchanges by_ssp(trial, ssp_plan, communicator);
  const auto zero_copy =
      ZeroCopySwitch::make(trial.sequence, Phase::group, Phase::token, MPI_COMM_WORLD);
  const auto rank = static_cast<std::size_t>(communicator.rank());
  std::vector<float> padded_in(
      static_cast<std::size_t>(ssp_plan.hidden_in(BlockKind::group)[rank].elements()), 1.0f);
  std::vector<float> padded_out(padded_in.size());

  const std::int64_t shard = ulysses_plan.hidden_in(BlockKind::full)[rank].elements();
  const std::int64_t part = shard / communicator.size();
  std::vector<float> in(static_cast<std::size_t>(shard), 1.0f), out(in), copy(in);
  const auto bare = [&] {
    for (int i = 0; i < 4; ++i) {
      std::copy(in.begin(), in.end(), copy.begin());
      MPI_Alltoall(copy.data(), static_cast<int>(part), MPI_FLOAT, out.data(),
                   static_cast<int>(part), MPI_FLOAT, MPI_COMM_WORLD);
    }
  };

  std::vector<Variant> variants{{"ulysses", [&] { by_ulysses.run(); }, {}},
                                {"alltoall + copy", bare, {}},
                                {"ssp", [&] { by_ssp.run(); }, {}}};
  if (zero_copy) {
    require_same_switch(trial, ssp_plan, communicator, *zero_copy);
    variants.push_back({"ssp, zero copy", [&] { zero_copy->run(padded_in, padded_out); }, {}});
  }
  int own_inverse = switch_is_own_inverse(ssp_plan, communicator) ? 1 : 0;
  MPI_Allreduce(MPI_IN_PLACE, &own_inverse, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  for (Variant& variant : variants) variant.run();
  settings.checks_sizes = false;
  for (int i = 0; i < repetitions; ++i)
    for (Variant& variant : variants) {
      MPI_Barrier(MPI_COMM_WORLD);
      const double start = MPI_Wtime();
      variant.run();
      double own = MPI_Wtime() - start, slowest = 0;
      MPI_Reduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
      variant.seconds.push_back(slowest);
    }
  if (communicator.rank() != 0) return;
  nlohmann::json document{{"switch_is_own_inverse", own_inverse != 0},
                          {"variants", nlohmann::json::array()}};
  for (const Variant& variant : variants)
    document["variants"].push_back({{"name", variant.name}, {"seconds", variant.seconds}});
  std::ofstream(folder + "/times.json") << document;
}

}  // namespace
}  // namespace ospsim

int main(int argc, char** argv) {
  return ospsim::run_as_rank(argc, argv, "ospsim-exchange-times", [&] {
    if (argc != 3) throw std::runtime_error("FOLDER REPETITIONS are needed");
    ospsim::run(argv[1], std::stoi(argv[2]));
  });
}
