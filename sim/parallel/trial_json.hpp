#pragma once

#include <nlohmann/json_fwd.hpp>

#include "sim/parallel/trial.hpp"

namespace ospsim {

/// How a trial reaches the ranks of an MPI job. `trial_of` throws nlohmann::json::exception or
/// InputError on a document that `trial_json` did not make.
nlohmann::json trial_json(const Trial& trial);
Trial trial_of(const nlohmann::json& document);

}  // namespace ospsim
