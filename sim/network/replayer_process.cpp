#include <stdexcept>

#include "sim/network/replay.hpp"
#include "sim/process.hpp"

namespace ospsim {

std::string run_replayer(const std::string& program, std::string_view request) {
  const ProcessOutcome outcome = run_process({program}, request);
  if (outcome.succeeded()) return outcome.output;
  throw std::runtime_error(outcome.failure());
}

}  // namespace ospsim
