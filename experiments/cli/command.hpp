#pragma once

#include <string>
#include <vector>

#include "experiments/cli/request.hpp"
#include "experiments/cli/text.hpp"
#include "experiments/store/result_store.hpp"

namespace ospsim {

/// One option of a command. A name with dashes is a flag (more spellings after a comma), any other
/// the command's operand.
struct Option {
  std::string name;
  std::string value;  ///< what stands for the value in the help; empty: a switch that takes none
  std::string help;
  std::string default_value = {};
  enum class Occurs { optional, once, repeatedly } occurs = Occurs::optional;
};

/// A command is a function from a request to a JSON document and one from that document to text.
/// The frame around it adds --json, --save, --seed, --threads and --help. A document whose field
/// `holds` is false makes the program end with status 1.
struct Command {
  std::string name, summary;
  std::string example;  ///< shown at the end of the help; a line or a few
  std::vector<Option> options;
  Json (*run)(const Request&);
  std::string (*text)(const Json& document, const Style&);
  /// Where the document goes when --save does not say; empty: nowhere.
  std::string (*saves_to)(const Request&) = nullptr;
  /// For a command that prints while it still reads: called instead of `run` and `text` unless the
  /// document is asked for.
  void (*stream)(const Request&) = nullptr;
};

/// All commands, in the order of the help.
const std::vector<Command>& commands();

}  // namespace ospsim
