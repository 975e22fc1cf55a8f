#include "experiments/cli/request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "experiments/store/provenance.hpp"

namespace ospsim {

const std::vector<std::string>& Request::list(const std::string& option) const {
  static const std::vector<std::string> none;
  const auto found = values.find(option);
  return found == values.end() ? none : found->second;
}

void Request::refuse(std::initializer_list<const char*> options, const std::string& why) const {
  for (const char* option : options)
    if (given.contains(option)) throw InputError(fmt::format("{}: {}", option, why));
}

const std::string& Request::text(const std::string& option) const {
  if (list(option).empty())
    throw InputError(fmt::format("{}: is needed; {} --help says what it takes", option, command));
  return list(option).front();
}

std::vector<std::string> Request::words(const std::string& option) const {
  const std::string& said = text(option);
  std::vector<std::string> words;
  for (std::size_t from = 0; from <= said.size();) {
    const std::size_t comma = std::min(said.find(',', from), said.size());
    words.push_back(said.substr(from, comma - from));
    from = comma + 1;
  }
  return words;
}

std::int64_t Request::whole(const std::string& option, std::int64_t least,
                            std::int64_t most) const {
  const std::string& said = text(option);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(said.data(), said.data() + said.size(), value);
  if (error != std::errc{} || end != said.data() + said.size() || value < least || value > most)
    throw InputError(
        fmt::format("{}: '{}' is not a whole number in {}..{}", option, said, least, most));
  return value;
}

namespace {

double number_of(const std::string& option, const std::string& text, double least, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least) ||
      !(value <= most))
    throw InputError(fmt::format("{}: '{}' is not a number in {}..{}", option, text, least, most));
  return value;
}

}  // namespace

double Request::number(const std::string& option, double least, double most) const {
  return number_of(option, text(option), least, most);
}

std::vector<double> Request::numbers(const std::string& option, std::size_t count, double least,
                                     double most) const {
  std::vector<double> all;
  for (const auto& word : words(option)) all.push_back(number_of(option, word, least, most));
  if (all.size() == 1) all.assign(count, all.front());
  if (all.size() != count)
    throw InputError(
        fmt::format("{}: '{}' is not one number or {} of them", option, text(option), count));
  return all;
}

Json Request::provenance() const {
  return ospsim::provenance(command_line, command, Json(values), seed);
}

}  // namespace ospsim
