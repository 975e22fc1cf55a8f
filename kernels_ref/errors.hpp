#pragma once

#include <stdexcept>

namespace ospsim {

/// The caller's argument or file cannot be used. The message is one line that names the culprit and
/// says what would be accepted. The command line turns it into exit status 2.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// This machine or this build lacks something (no CUDA device, a back end that is not compiled).
/// The command line turns it into exit status 3.
struct UnavailableError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace ospsim
