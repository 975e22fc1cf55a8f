#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "experiments/commands/commands.hpp"

namespace ospsim {
namespace {

Json run(const Request& request) {
  return load_result(request.text("FILE"));
}

std::string text(const Json& stored, const Style& style) {
  const Json& provenance = stored.at("provenance");
  std::vector<std::pair<std::string, std::string>> lines;
  for (const auto& [name, value] : provenance.items()) lines.emplace_back(name, number_text(value));
  const std::string from = '\n' + facts(lines);
  for (const auto& command : commands())
    if (command.name == provenance.value("command", "") && command.name != "show")
      return command.text(stored.at("document"), style) + from;
  return stored.at("document").dump(2) + '\n' + from;
}

}  // namespace

Command show_command() {
  return {
      .name = "show",
      .summary = "A stored result and where it came from",
      .example = "  ospsim show results/attention-time.h5",
      .options = {{"FILE", "", "a file written by --save or --record", {}, Option::Occurs::once}},
      .run = run,
      .text = text};
}

}  // namespace ospsim
