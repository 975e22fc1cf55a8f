#include <fmt/format.h>

#include <stdexcept>

#include "sim/network/replay.hpp"
#include "sim/process.hpp"

namespace ospsim {

std::string run_replayer(const std::string& program, std::string_view request) {
  const ProcessOutcome outcome = run_process({program}, request);
  if (outcome.succeeded()) return outcome.output;
  if (!outcome.errors.empty())
    throw std::runtime_error(outcome.errors.substr(0, outcome.errors.find('\n')));
  throw std::runtime_error(outcome.signal != 0
                               ? fmt::format("{}: ended by signal {}", program, outcome.signal)
                               : fmt::format("{}: exit status {}", program, outcome.exit_status));
}

}  // namespace ospsim
