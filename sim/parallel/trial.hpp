#pragma once

#include <cstdint>
#include <vector>

#include "sim/parallel/parallel_model.hpp"

namespace ospsim {

/// A run that every engine can execute and whose result one rank can compute: made-up weights, text
/// and inputs, each element a function of the seed and its own place, so that a rank makes its part
/// without being sent any.
struct Trial {
  Parallelism parallelism;
  Sequence sequence;
  std::int64_t ffn_dim = 0, text_rows = 0;
  /// The kind of block that the input comes from, then the blocks. {group, token} is one sparse
  /// block in a steady state: the phase switch before it is part of the run.
  std::vector<BlockKind> schedule;
  std::uint64_t seed = 0;
  int bytes_per_element = 4;  ///< on the wire; with 2 the input is representable in bf16

  ParallelPlan plan() const { return {parallelism, sequence, ffn_dim, text_rows}; }
};

/// Runs the trial's blocks on one rank of `communicator` and returns its rows of the output, in
/// shard(schedule.back()); nothing without payload.
std::vector<float> run_trial(const Trial& trial, const ParallelPlan& plan,
                             Communicator& communicator, int threads);

/// The exchanges of the trial's blocks alone, on buffers that are not looked at: for timing.
class TrialExchanges {
 public:
  /// `plan` and `communicator` are named, not copied.
  TrialExchanges(const Trial& trial, const ParallelPlan& plan, Communicator& communicator);
  void run();

 private:
  std::vector<BlockKind> schedule_;
  ParallelModel model_;
  std::vector<std::vector<float>> x_;  ///< by place in the schedule
};

/// What one rank computes, without any exchange: rows [batch * tokens, dim] in (t, y, x) order,
/// samples outermost.
std::vector<float> one_rank_output(const Trial& trial, const RowNumbers& numbers, int threads);

}  // namespace ospsim
