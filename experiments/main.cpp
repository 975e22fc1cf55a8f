#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "experiments/cli/app.hpp"
#include "experiments/cli/command.hpp"
#include "experiments/store/part_file.hpp"
#include "kernels_ref/errors.hpp"

namespace {

using namespace ospsim;

enum ExitStatus { fine = 0, does_not_hold = 1, unusable = 2, unavailable = 3 };

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw InputError("standard output: cannot be written");
}

/// The result may not take the place of what the command reads or writes besides.
void refuse_named_twice(const Request& request, const std::string& save) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path place = fs::weakly_canonical(save, ignored);
  for (const auto& [option, values] : request.values)
    for (const std::string& value : values)
      for (const std::string& file : {value, value.substr(0, value.rfind(':'))})
        if (fs::equivalent(file, save, ignored) ||
            (option == "--output" && fs::weakly_canonical(file, ignored) == place))
          throw InputError(fmt::format("--save: {} is {}'s file; name another", save, option));
}

int run(int argc, char** argv) {
  const auto invocation = parse_command_line(argc, argv, commands());
  if (!invocation) return fine;
  const Command& command = *invocation->command;
  const Request& request = invocation->request;
  std::string save = invocation->save;
  if (save.empty() && command.saves_to != nullptr) save = command.saves_to(request);
  if (!save.empty()) {
    refuse_named_twice(request, save);
    naming("--save", [&] { require_writable(save); });
  }
  if (command.stream != nullptr && save.empty() && !invocation->json) {
    command.stream(request);
    return fine;
  }
  const Json document = command.run(request);
  if (!save.empty()) naming("--save", [&] { save_result(document, request.provenance(), save); });
  print(invocation->json ? json_text(document, 2) + '\n'
                         : command.text(document, style_of_stdout()));
  return document.value("holds", true) ? fine : does_not_hold;
}

int complain(std::string message, ExitStatus status) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "ospsim: %s\n", message.c_str());
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  handle_interrupts();
  try {
    return run(argc, argv);
  } catch (const InputError& error) {
    return complain(error.what(), unusable);
  } catch (const UnavailableError& error) {
    return complain(error.what(), unavailable);
  } catch (const std::bad_alloc&) {
    return complain("needs more memory than this machine has", unavailable);
  } catch (const std::length_error&) {
    return complain("needs more memory than this machine has", unavailable);
  } catch (const std::exception& error) {
    return complain(error.what(), unusable);
  }
}
