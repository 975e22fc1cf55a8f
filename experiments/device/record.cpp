#include "experiments/device/record.hpp"

#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>

#include "build_info.hpp"
#include "experiments/median.hpp"
#include "git_state.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/cuda/library.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

using Json = nlohmann::ordered_json;

/// Of the kernel module, e.g. "580.159.04"; NVML comes with the driver.
std::string driver_release() {
  try {
    const Library nvml{"libnvidia-ml.so.1"};
    char release[96] = "";
    if (nvml.symbol<int()>("nvmlInit_v2")() == 0 &&
        nvml.symbol<int(char*, unsigned)>("nvmlSystemGetDriverVersion")(release, sizeof release) ==
            0)
      return release;
  } catch (const UnavailableError&) {
  }
  return "unknown";
}

void write(const Json& line) {
  std::cout << line.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

}  // namespace

Check check_of(std::string method, double error, double tolerance) {
  return {error <= tolerance, std::move(method), error, tolerance};
}

Check worst_of(const std::vector<Check>& checks) {
  for (const auto& check : checks)
    if (!check.passed) return check;
  return checks.back();
}

Recorder::Recorder(std::string part, bool quick) : part_(std::move(part)) {
  const CudaStatus status = cuda_status();
  write({{"part", part_},
         {"kind", "run"},
         {"quick", quick},
         {"device", status.device_name},
         {"driver", driver_release()},
         {"cuda_driver", status.driver_version},
         {"cuda_runtime", status.runtime_version},
         {"git_commit", build::git_commit},
         {"git_dirty", build::git_dirty},
         {"compiler", build::compiler},
         {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}});
}

void Recorder::ceilings(const Ceilings& ceilings) {
  ceilings_ = ceilings;
  write({{"part", part_},
         {"kind", "ceilings"},
         {"copy_gb_per_s", ceilings.copy_bytes_per_s * 1e-9},
         {"read_gb_per_s", ceilings.read_bytes_per_s * 1e-9},
         {"bf16_tflops_per_s", ceilings.bf16_flops_per_s * 1e-12},
         {"e4m3_tflops_per_s", ceilings.e4m3_flops_per_s * 1e-12},
         {"sustained_bf16_tflops_per_s", ceilings.sustained_bf16_flops_per_s * 1e-12}});
}

void Recorder::row(const Row& row) {
  Json line{{"part", part_}, {"kind", "row"}, {"name", row.name}};
  for (const auto& [name, value] : row.sizes) line[name] = value;
  bool eight_bits = false;
  for (const auto& [name, value] : row.notes) {
    line[name] = value;
    eight_bits = eight_bits || value == "e4m3";
  }
  bool passed = row.check.passed;
  if (!row.times_ms.empty()) {
    const double time_ms = median(row.times_ms);
    const auto [least, most] = std::minmax_element(row.times_ms.begin(), row.times_ms.end());
    line["repetitions"] = row.times_ms.size();
    line["time_ms"] = time_ms;
    line["time_ms_min"] = *least;
    line["time_ms_max"] = *most;
    line["formula"] = row.formula;
    line["flops"] = row.cost.flops;
    line["bytes"] = row.cost.bytes;
    const double flops_per_s = row.cost.flops / time_ms * 1e3,
                 bytes_per_s = row.cost.bytes / time_ms * 1e3;
    const double peak = eight_bits ? ceilings_.e4m3_flops_per_s : ceilings_.bf16_flops_per_s;
    line["tflops_per_s"] = flops_per_s * 1e-12;
    line["gb_per_s"] = bytes_per_s * 1e-9;
    line["fraction_of_product"] = peak > 0 ? flops_per_s / peak : 0;
    line["fraction_of_copy"] = bytes_per_s / ceilings_.copy_bytes_per_s;
    line["fraction_of_memory"] =
        bytes_per_s / std::max(ceilings_.copy_bytes_per_s, ceilings_.read_bytes_per_s);
    line["times_ms"] = row.times_ms;
  }
  for (const auto& [work, ms] : row.parts_ms) line["parts_ms"][work] = ms;
  line["check"] = passed ? "passed" : "failed";
  line["check_method"] = row.check.method;
  line["error"] = row.check.error;
  line["tolerance"] = row.check.tolerance;
  all_passed_ = all_passed_ && passed;
  write(line);
}

}  // namespace ospsim
