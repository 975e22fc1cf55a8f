#include "experiments/store/provenance.hpp"

#include <H5public.h>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "build_info.hpp"
#include "experiments/store/machine.hpp"
#include "git_state.hpp"
#include "kernels_ref/cuda/device.hpp"

namespace ospsim {

std::string fingerprint(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

Json provenance(const std::string& command_line, const std::string& command, const Json& options,
                std::int64_t seed) {
  const Json configuration{{"command", command}, {"options", options}, {"seed", seed}};
  const std::string configuration_text = json_text(configuration);
  const Machine machine = this_machine();
  const CudaStatus cuda = cuda_status();
  const auto or_none = [](const std::string& text) { return text.empty() ? "none" : text; };
  return {{"schema_version", schema_version},
          {"ospsim_version", build::version},
          {"git_commit", build::git_commit},
          {"git_dirty", build::git_dirty},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
          {"command_line", command_line},
          {"command", command},
          {"configuration", configuration_text},
          {"fingerprint", fingerprint(configuration_text)},
          {"seed", seed},
          {"compiler", build::compiler},
          {"compiler_flags", build::compiler_flags},
          {"cpu", machine.cpu},
          {"cpu_cores", machine.cores},
          {"memory_bytes", machine.memory_bytes},
          {"gpu", or_none(cuda.device_name)},
          {"cuda_driver", or_none(cuda.driver_version)},
          {"cuda_runtime", or_none(cuda.runtime_version)},
          {"fmt_version", build::fmt_version},
          {"hdf5_version", H5_VERS_INFO},
          {"nlohmann_json_version", build::nlohmann_json_version},
          {"cli11_version", build::cli11_version},
          {"highway_version", build::highway_version},
          {"mpi_version", or_none(build::mpi_version)}};
}

}  // namespace ospsim
