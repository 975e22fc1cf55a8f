#pragma once

#include <string>
#include <vector>

#include "experiments/cli/request.hpp"
#include "experiments/cli/text.hpp"

namespace ospsim {

/// One figure or table: a function that makes its data and one that prints them.
struct Experiment {
  std::string name, summary;
  Json (*run)(const Request&);
  std::string (*text)(const Json& document, const Style&);
  std::string needs = {};                 ///< "CUDA device", or nothing that every machine has not
  std::vector<std::string> options = {};  ///< of `run`, that it takes beside those all take
};

Experiment figure1();
Experiment attention_time();
Experiment format_error();
Experiment pattern_error();
Experiment pattern_error_tensors();
Experiment sequence_parallel();
Experiment parallel_volume();
Experiment parallel_time();
Experiment parallel_scale();
Experiment device_time();

const std::vector<Experiment>& experiments();
/// Throws InputError.
const Experiment& find_experiment(const std::string& name);

}  // namespace ospsim
