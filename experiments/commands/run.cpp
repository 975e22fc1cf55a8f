#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "experiments/commands/commands.hpp"
#include "experiments/experiment.hpp"
#include "experiments/store/tree.hpp"

namespace ospsim {
namespace {

const Experiment& experiment_of(const Request& request) {
  const std::string& name = request.text("NAME");
  return naming("NAME", [&]() -> const Experiment& { return find_experiment(name); });
}

constexpr const char* of_some[] = {"--grid", "--from"};

Json run(const Request& request) {
  const Experiment& experiment = experiment_of(request);
  for (const char* option : of_some)
    if (request.has(option) &&
        std::ranges::find(experiment.options, option) == experiment.options.end())
      throw InputError(fmt::format("{}: {} takes none", option, experiment.name));
  if (request.has("--grid") && request.has("--record"))
    throw InputError(
        "--record: the result of record is of the experiment's own grid; leave out --grid");
  return experiment.run(request);
}

std::string text(const Json& document, const Style& style) {
  return find_experiment(document.at("experiment").get<std::string>()).text(document, style);
}

std::string saves_to(const Request& request) {
  return result_path(experiment_of(request).name, request.has("--record"));
}

}  // namespace

Command run_command() {
  return {.name = "run",
          .summary = "An experiment: the data of one figure or table",
          .example =
              "  ospsim run figure1\n"
              "  ospsim run attention-time --record",
          .options = {{"NAME", "", "ospsim list experiments names them", {}, Option::Occurs::once},
                      {"--grid", "TxHxW", "attention-time: another grid than 21x48x80"},
                      {"--from", "FOLDER",
                       "device-time: what ospsim-device wrote elsewhere, files *.jsonl"},
                      {"--record", "",
                       "keep it as the result of record, results/NAME.h5, instead of in "
                       "results/scratch/"}},
          .run = run,
          .text = text,
          .saves_to = saves_to};
}

}  // namespace ospsim
