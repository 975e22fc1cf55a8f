#include <csignal>
#include <stdexcept>
#include <string>

#include "sim/parallel/mpi/mpi_communicator.hpp"
#include "sim/parallel/trial.hpp"

/// A job of which rank 1 does what the argument says: dies, throws, or believes in another grid.
int main(int argc, char** argv) {
  using namespace ospsim;
  return run_as_rank(argc, argv, "faults", [&] {
    const std::string fault = argc > 1 ? argv[1] : "";
    const MpiSettings settings;
    MpiCommunicator communicator(settings);
    const bool faulty = communicator.rank() == 1;
    Sequence sequence{.grid = {2, 8, 8},
                      .pattern = parse_pattern("skiparse-2d", {2, 2, 2}),
                      .heads = 4,
                      .head_dim = 8};
    if (faulty && fault == "grid") sequence.grid = {2, 8, 12};
    const Trial trial{.parallelism = make_parallelism(Strategy::ssp, communicator.size(), {}, {},
                                                      Boundary::all_gather, sequence),
                      .sequence = sequence,
                      .ffn_dim = 16,
                      .text_rows = 3,
                      .schedule = {BlockKind::group, BlockKind::token}};
    if (faulty && fault == "die") std::raise(SIGKILL);
    if (faulty && fault == "throw") throw std::runtime_error("out of luck");
    const ParallelPlan plan = trial.plan();
    run_trial(trial, plan, communicator, 1);
  });
}
