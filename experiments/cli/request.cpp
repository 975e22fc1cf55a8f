#include "experiments/cli/request.hpp"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "experiments/store/provenance.hpp"

namespace ospsim {

const std::vector<std::string>& Request::list(const std::string& option) const {
  static const std::vector<std::string> none;
  const auto found = values.find(option);
  return found == values.end() ? none : found->second;
}

const std::string& Request::text(const std::string& option) const {
  if (list(option).empty())
    throw InputError(fmt::format("{}: is needed; {} --help says what it takes", option, command));
  return list(option).front();
}

std::int64_t Request::whole(const std::string& option, std::int64_t least,
                            std::int64_t most) const {
  const std::string& given = text(option);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), value);
  if (error != std::errc{} || end != given.data() + given.size() || value < least || value > most)
    throw InputError(
        fmt::format("{}: '{}' is not a whole number in {}..{}", option, given, least, most));
  return value;
}

double Request::number(const std::string& option, double least, double most) const {
  const std::string& given = text(option);
  double value = 0;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), value);
  if (error != std::errc{} || end != given.data() + given.size() || !(value >= least) ||
      !(value <= most))
    throw InputError(fmt::format("{}: '{}' is not a number in {}..{}", option, given, least, most));
  return value;
}

Json Request::provenance() const {
  return ospsim::provenance(command_line, command, Json(values), seed);
}

}  // namespace ospsim
