#include "experiments/cli/app.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <map>

#include "build_info.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

using Values = std::map<std::string, std::vector<std::string>>;

std::string first_spelling(const Option& option) {
  return option.name.substr(0, option.name.find(','));
}

std::string joined(int argc, const char* const* argv) {
  std::string line = "ospsim";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool plain =
        !word.empty() && word.find_first_of(" \t\n'\"\\|&;<>()$`*?") == std::string::npos;
    line += plain ? " " + word : fmt::format(" '{}'", word);
  }
  return line;
}

std::vector<Option> common_options() {
  return {{"--save", "FILE.h5", "store the result and where it came from"},
          {"--seed", "N", "of everything random", "0"},
          {"--threads", "N", "0 means all cores", "0"}};
}

CLI::Option* add_option(CLI::App& app, const Option& option, Values& values) {
  auto& value = values[first_spelling(option)];
  if (option.value.empty() && option.name.starts_with('-'))
    return app.add_flag_callback(
        option.name, [&value] { value = {"true"}; }, option.help);
  const bool needed = option.occurs == Option::Occurs::once;  // enforced where it is read
  auto* added =
      app.add_option(option.name, value, option.help)->expected(1)->allow_extra_args(false);
  added->type_name(needed ? option.value + " (needed)" : option.value);
  added->multi_option_policy(option.occurs == Option::Occurs::repeatedly
                                 ? CLI::MultiOptionPolicy::TakeAll
                                 : CLI::MultiOptionPolicy::Throw);
  if (!option.default_value.empty()) {
    value = {option.default_value};
    added->default_str(option.default_value);
  }
  return added;
}

}  // namespace

std::optional<Invocation> parse_command_line(int argc, const char* const* argv,
                                             const std::vector<Command>& commands) {
  CLI::App app("A research simulator and benchmark suite for sparse video-diffusion transformers.",
               "ospsim");
  app.set_version_flag("--version", fmt::format("ospsim {}", build::version));
  app.require_subcommand(0, 1);
  app.footer("\nospsim COMMAND --help shows a command's options and an example.");

  Invocation invocation;
  std::map<std::string, Values> values;
  Values common;
  constexpr const char* every = "Every command";
  for (const auto& command : commands) {
    CLI::App& sub = *app.add_subcommand(command.name, command.summary);
    sub.footer("\nExample:\n" + command.example);
    for (const auto& option : command.options) add_option(sub, option, values[command.name]);
    sub.add_flag("--json", invocation.json, "print one JSON document and nothing else")
        ->group(every);
    for (const auto& option : common_options()) add_option(sub, option, common)->group(every);
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      app.exit(error);
      return std::nullopt;
    }
    throw InputError(error.what() + std::string("; --help lists what is accepted"));
  }
  if (app.get_subcommands().empty())
    throw InputError("a command is needed; ospsim --help lists them");
  const std::string name = app.get_subcommands().front()->get_name();
  invocation.command = &*std::find_if(commands.begin(), commands.end(),
                                      [&](const auto& c) { return c.name == name; });
  std::erase_if(values[name], [](const auto& entry) { return entry.second.empty(); });
  Request& request = invocation.request = {
      .command = name, .command_line = joined(argc, argv), .values = std::move(common)};
  request.seed = request.whole("--seed", 0, std::numeric_limits<std::int64_t>::max());
  request.threads = static_cast<int>(request.whole("--threads", 0, 4096));
  if (!request.list("--save").empty()) invocation.save = request.text("--save");
  request.values = std::move(values[name]);
  for (const auto& option : invocation.command->options)
    if (app.get_subcommands().front()->get_option(first_spelling(option))->count() > 0)
      request.given.insert(first_spelling(option));
  return invocation;
}

}  // namespace ospsim
