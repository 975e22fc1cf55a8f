#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/parallel/trial.hpp"

namespace ospsim {

/// A trial run on real processes by Open MPI.
struct MpiRun {
  /// Three countings of what the trial's exchanges moved, each the largest rank's: our ledger, the
  /// arguments of our MPI calls (PMPI), and what the library sent (its monitoring component,
  /// control traffic taken off; it counts no steps).
  Traffic ledger, calls;
  Traffic norm;  ///< the part of `ledger` that adds up sums of squares under megatron-sp
  std::int64_t wire_sent_bytes_per_rank = 0;
  /// Whether the three agree: ledger and calls for every rank, ledger and wire for every pair of
  /// ranks, over all that the job sent.
  bool counts_agree = false;
  /// Of the exchanges alone: the slowest rank of each repetition.
  std::vector<double> exchange_seconds;
  double max_abs_difference = 0;  ///< of the output to what one rank computes
  double relative_l2 = 0;
};

/// Starts mpirun, which must be on the PATH. Throws UnavailableError where MPI is missing or the
/// job dies, with what the rank said, and where a block would not fit into this machine.
MpiRun run_with_mpi(const Trial& trial, int repetitions, int threads);

/// What ospsim-exchange-times measures: seconds of one sparse block's exchanges by variant, in
/// turns, and whether the phase switch is one map in both directions.
struct ExchangeTimes {
  std::vector<std::pair<std::string, std::vector<double>>> seconds;
  bool switch_is_own_inverse = false;
};
ExchangeTimes exchange_times_with_mpi(const Trial& ssp, int repetitions);

}  // namespace ospsim
