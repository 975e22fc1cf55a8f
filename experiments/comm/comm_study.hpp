#pragma once

#include <optional>
#include <string>

#include "experiments/store/result_store.hpp"
#include "sim/model/model.hpp"
#include "sim/network/replay.hpp"
#include "sim/parallel/trial.hpp"

namespace ospsim {

enum class CommEngine { formula, mpi, simgrid };

/// What `comm` asks about one strategy.
struct CommQuestion {
  Parallelism parallelism;
  Sequence sequence;
  int bytes_per_element = 2;
  std::optional<Model> model;  ///< the whole forward pass too
  CommEngine engine = CommEngine::formula;

  // Engine mpi.
  int repetitions = 7, threads = 0;
  std::uint64_t seed = 0;

  // Engine simgrid.
  std::optional<Platform> platform;
  int replicas = 1;
  ReplaySettings::Placement placement = ReplaySettings::Placement::packed;
  ReplaySettings::AllToAll all_to_all = ReplaySettings::AllToAll::concurrent;
};

/// The fields of the answer that one strategy has of its own: `strategy`, the degrees, `per_block`,
/// `per_forward`, and what the engine adds. Throws InputError, UnavailableError.
Json answer(const CommQuestion& question);

Json traffic_json(const Traffic& traffic);

/// The block in a steady state that `per_block` speaks of, or the model's forward pass, as a trial.
Trial trial_of(const CommQuestion& question);

/// Throws UnavailableError if the lists of who holds which rows would not fit into this machine.
void require_memory_for_plan(const Trial& trial);

/// What the ranks of a trial do, without payload. Throws InputError for more parts than can be
/// simulated.
Ledger ledger_of(const Trial& trial);

/// Times of a ledger on a simulated network: `time_ms`, `closed_form_ms` and their parts.
Json simulated_json(const Ledger& ledger, const CommQuestion& question);

}  // namespace ospsim
