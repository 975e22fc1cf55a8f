#include "experiments/experiment.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ospsim {

const std::vector<Experiment>& experiments() {
  static const std::vector<Experiment> all{
      figure1(),           attention_time(),        format_error(),
      pattern_error(),     pattern_error_tensors(), parallel_volume(),
      sequence_parallel(), parallel_time(),         parallel_scale(),
      device_time()};
  return all;
}

const Experiment& find_experiment(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& experiment : experiments()) {
    if (experiment.name == name) return experiment;
    names.push_back(experiment.name);
  }
  throw InputError(fmt::format("experiment '{}' is not one of {}", name, fmt::join(names, ", ")));
}

}  // namespace ospsim
