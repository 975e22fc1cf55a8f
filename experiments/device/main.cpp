#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "experiments/device/parts.hpp"
#include "experiments/device/sizes.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/errors.hpp"

int main(int argc, char** argv) {
  CLI::App app{
      "Times ospsim's kernels and a whole model's forward pass on the CUDA device of this "
      "machine.\n"
      "Writes one JSON object a line to stdout; needs a driver, cuBLASLt and cuDNN and nothing "
      "else.\n"
      "Exit status: 0 fine, 1 a check failed, 2 unusable arguments, 3 no device or library.\n\n"
      "Example: ospsim-device memory > memory.jsonl"};
  std::string part;
  std::string names;
  for (const auto& p : ospsim::device_parts())
    names += "\n  " + std::string(p.name) + ": " + p.summary;
  bool quick = false;
  app.add_flag("--quick", quick, "Tiny sizes: whether everything works here, in seconds");
  bool list = false;
  app.add_flag("--list", list, "The names of all parts, and nothing else");
  app.add_option("PART", part, "What to time:" + names);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (list) {
    for (const auto& p : ospsim::device_parts()) std::puts(p.name);
    return 0;
  }
  try {
    const auto& chosen = ospsim::find_device_part(part);
    const auto status = ospsim::cuda_status();
    if (!status.available) throw ospsim::UnavailableError("no CUDA device: " + status.reason);
    return ospsim::run_device_part(chosen, quick ? ospsim::quick_sizes() : ospsim::paper_sizes())
               ? 0
               : 1;
  } catch (const ospsim::InputError& error) {
    std::fprintf(stderr, "ospsim-device: %s\n", error.what());
    return 2;
  } catch (const ospsim::UnavailableError& error) {
    std::fprintf(stderr, "ospsim-device: %s\n", error.what());
    return 3;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ospsim-device: %s\n", error.what());
    return 2;
  }
}
