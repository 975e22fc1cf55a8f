#pragma once

#include <cstdint>
#include <string>

namespace ospsim {

struct Machine {
  std::string cpu;  ///< model name; "unknown" where the system does not say
  int cores = 0;    ///< that this process may use
  std::int64_t memory_bytes = 0;
  bool avx512 = false, amx = false;
};

Machine this_machine();

/// Throws UnavailableError if `bytes` exceed the memory of this machine. `what` needs them.
void require_memory(double bytes, const std::string& what);

}  // namespace ospsim
