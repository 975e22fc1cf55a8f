#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/store/result_store.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {

/// What the user asked of a command. Options are read by the name of their first spelling; defaults
/// are filled in. What cannot be used throws InputError, and the message starts with the option's
/// name.
class Request {
 public:
  std::string command, command_line;
  std::int64_t seed = 0;
  int threads = 0;  ///< 0: all cores
  std::map<std::string, std::vector<std::string>> values;
  std::set<std::string> given;  ///< the options that stand on the command line

  bool has(const std::string& option) const { return values.contains(option); }
  /// Throws, saying `why`, if one of these was given: it would mean nothing.
  void refuse(std::initializer_list<const char*> options, const std::string& why) const;
  const std::vector<std::string>& list(const std::string& option) const;
  /// Throws if the option was not given and has no default.
  const std::string& text(const std::string& option) const;
  /// What stands between commas.
  std::vector<std::string> words(const std::string& option) const;
  std::int64_t whole(const std::string& option, std::int64_t least, std::int64_t most) const;
  /// A number in least..most; "inf" where that is infinite.
  double number(const std::string& option, double least, double most) const;
  /// `count` such numbers between commas, or one that stands for all.
  std::vector<double> numbers(const std::string& option, std::size_t count, double least,
                              double most) const;

  /// What the result depends on, for its provenance.
  Json provenance() const;
};

/// Runs f; an InputError it throws gets `option` in front.
template <class F>
decltype(auto) naming(const std::string& option, const F& f) {
  try {
    return f();
  } catch (const InputError& error) {
    throw InputError(option + ": " + error.what());
  }
}

}  // namespace ospsim
