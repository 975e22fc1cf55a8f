#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ospsim {

/// How a program that we started ended.
struct ProcessOutcome {
  std::string program;
  int exit_status = 0;  ///< meaningless if `signal` is not 0
  int signal = 0;       ///< that ended it, or 0
  std::string output, errors;

  bool succeeded() const { return signal == 0 && exit_status == 0; }
  /// Of one that did not succeed, in one line: what it said first, or else how it ended.
  std::string failure() const;
};

/// Runs `command`, whose first word is a path or is looked up in PATH, with `input` on its standard
/// input and `environment` ("NAME=value") added to ours where we do not set these names, and waits
/// for it. Throws UnavailableError if it cannot be started.
ProcessOutcome run_process(const std::vector<std::string>& command, std::string_view input = {},
                           const std::vector<std::string>& environment = {});

/// What Open MPI wants to be told before it runs as root or more ranks than cores, for
/// run_process() of mpirun.
std::vector<std::string> mpi_environment();

/// Ends the program that `run_process` waits for, if there is one: asks it to, and kills it if it
/// has not ended after some seconds. For signal handlers of programs that end then.
void end_running_process() noexcept;

/// The path of a program that is built beside this one. Throws UnavailableError, saying what the
/// build lacked, if there is none.
std::string sibling_program(const std::string& name, const std::string& lacked);

}  // namespace ospsim
