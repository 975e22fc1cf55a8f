#include <fmt/format.h>

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

Json run(const Request& request) {
  return experiment_of(request).run(request);
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
