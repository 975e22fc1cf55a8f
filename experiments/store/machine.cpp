#include "experiments/store/machine.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

std::int64_t memory_bytes() {
  return std::int64_t{sysconf(_SC_PHYS_PAGES)} * std::int64_t{sysconf(_SC_PAGESIZE)};
}

}  // namespace

Machine this_machine() {
  Machine machine{.cpu = "unknown",
                  .cores = static_cast<int>(std::thread::hardware_concurrency()),
                  .memory_bytes = memory_bytes()};
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const auto colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name")) machine.cpu = line.substr(colon + 2);
    if (line.starts_with("flags")) {
      machine.avx512 = line.find(" avx512f ") != std::string::npos;
      machine.amx = line.find(" amx_tile ") != std::string::npos;
      break;
    }
  }
  return machine;
}

void require_memory(double bytes, const std::string& what) {
  const auto available = static_cast<double>(memory_bytes());
  constexpr double gib = 1024.0 * 1024 * 1024;
  if (bytes > available)
    throw UnavailableError(fmt::format("{} needs {:.1f} GiB of memory; this machine has {:.1f} GiB",
                                       what, bytes / gib, available / gib));
}

}  // namespace ospsim
