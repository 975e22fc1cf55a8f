#pragma once

#include <optional>
#include <vector>

#include "experiments/cli/command.hpp"

namespace ospsim {

/// What one call of the program is to do.
struct Invocation {
  const Command* command = nullptr;
  Request request;
  bool json = false;
  std::string save;  ///< where the document goes; empty: nowhere
};

/// Reads the command line. Nothing if it asked for help or the version, which are then printed.
/// Throws InputError.
std::optional<Invocation> parse_command_line(int argc, const char* const* argv,
                                             const std::vector<Command>& commands);

}  // namespace ospsim
