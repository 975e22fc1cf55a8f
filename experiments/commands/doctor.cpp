#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "build_info.hpp"
#include "experiments/commands/commands.hpp"
#include "experiments/store/machine.hpp"
#include "git_state.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/cuda/library.hpp"
#include "kernels_ref/errors.hpp"
#include "sim/process.hpp"

namespace ospsim {
namespace {

Json feature(bool built, bool available, const std::string& reason) {
  return {{"built", built}, {"available", available}, {"reason", reason}};
}

Json not_used(const std::string& more = "") {
  return feature(false, false, "no command uses it yet" + more);
}

/// A program that is built beside this one, if what it needs was found.
std::string lack_of(const std::string& program) {
  try {
    sibling_program(program, "what it needs was not found when this build was configured");
    return "";
  } catch (const UnavailableError& error) {
    return error.what();
  }
}

Json mpi_feature() {
  if (const auto lack = lack_of("ospsim-rank"); !lack.empty())
    return feature(false, false, lack + " (libopenmpi-dev)");
  try {
    const bool runs = run_process({"mpirun", "--version"}).succeeded();
    return feature(true, runs, runs ? "" : "mpirun --version fails");
  } catch (const UnavailableError& error) {
    return feature(true, false, error.what());
  }
}

Json simgrid_feature() {
  const auto lack = lack_of("ospsim-replay");
  return feature(lack.empty(), lack.empty(),
                 lack.empty() ? lack : lack + " (libsimgrid-dev, libboost-dev)");
}

/// A library that is opened when it is first used.
Json library_feature(const CudaStatus& cuda, std::initializer_list<const char*> sonames) {
  if (!cuda.built) return feature(false, false, cuda.reason);
  try {
    const Library library{sonames};
    return feature(true, true, "");
  } catch (const UnavailableError& error) {
    return feature(true, false, error.what());
  }
}

Json run(const Request&) {
  const Machine machine = this_machine();
  const CudaStatus cuda = cuda_status();
  Json document;
  document["features"] = {
      {"cuda", feature(cuda.built, cuda.available, cuda.reason)},
      {"cublaslt", library_feature(cuda, cublaslt_sonames)},
      {"cudnn", library_feature(cuda, cudnn_sonames)},
      {"mpi", mpi_feature()},
      {"hdf5", feature(true, true, "")},
      {"simgrid", simgrid_feature()},
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
