#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "build_info.hpp"
#include "experiments/commands/commands.hpp"
#include "experiments/store/machine.hpp"
#include "git_state.hpp"
#include "kernels_ref/cuda/device.hpp"

namespace ospsim {
namespace {

Json feature(bool built, bool available, const std::string& reason) {
  return {{"built", built}, {"available", available}, {"reason", reason}};
}

Json not_used(const std::string& more = "") {
  return feature(false, false, "no command uses it yet" + more);
}

Json run(const Request&) {
  const Machine machine = this_machine();
  const CudaStatus cuda = cuda_status();
  const std::string device = cuda.available ? "finds " + cuda.device_name : "says: " + cuda.reason;
  const std::string mpi = build::mpi_version;
  Json document;
  document["features"] = {
      {"cuda", not_used(cuda.built ? "; the CUDA runtime is compiled in and " + device
                                   : "; " + cuda.reason)},
      {"mpi",
       not_used(mpi.empty()
                    ? "; no MPI was found when this build was configured"
                    : fmt::format("; MPI {} was found when this build was configured", mpi))},
      {"hdf5", feature(true, true, "")},
      {"simgrid", not_used()},
      {"torch", not_used()},
      {"avx512", feature(true, machine.avx512, machine.avx512 ? "" : "this CPU does not have it")},
      {"amx", not_used(machine.amx ? "; this CPU has it" : "; this CPU does not have it")}};
  document["cpu"] = machine.cpu;
  document["cpu_cores"] = machine.cores;
  document["memory_bytes"] = machine.memory_bytes;
  document["gpu"] = cuda.available ? Json(cuda.device_name) : Json();
  document["version"] = build::version;
  document["git_commit"] = build::git_commit;
  document["git_dirty"] = build::git_dirty;
  document["compiler"] = build::compiler;
  document["compiler_flags"] = build::compiler_flags;
  return document;
}

std::string text(const Json& document, const Style& style) {
  const auto yes_no = [](const Json& value) {
    return value.get<bool>() ? Table::Cell("yes", Colour::green) : Table::Cell("no", Colour::dim);
  };
  Table features({{"feature"}, {"built"}, {"available"}, {"why not", Table::Align::left, true}});
  for (const auto& [name, state] : document.at("features").items())
    features.add({name, yes_no(state.at("built")), yes_no(state.at("available")),
                  state.at("reason").get<std::string>()});
  const auto commit = document.at("git_commit").get<std::string>();
  return features.text(style) + '\n' +
         facts(
             {{"ospsim", fmt::format("{}, commit {}{}", document.at("version").get<std::string>(),
                                     commit.substr(0, 12),
                                     document.at("git_dirty").get<bool>() ? " with changes" : "")},
              {"compiler", fmt::format("{} {}", document.at("compiler").get<std::string>(),
                                       document.at("compiler_flags").get<std::string>())},
              {"cpu", fmt::format("{}, {} cores", document.at("cpu").get<std::string>(),
                                  document.at("cpu_cores").dump())},
              {"memory",
               fmt::format("{:.1f} GiB", document.at("memory_bytes").get<double>() / (1 << 30))},
              {"gpu", number_text(document.at("gpu"))}});
}

}  // namespace

Command doctor_command() {
  return {.name = "doctor",
          .summary = "What this build and this machine offer, and what is off",
          .example = "  ospsim doctor",
          .options = {},
          .run = run,
          .text = text};
}

}  // namespace ospsim
