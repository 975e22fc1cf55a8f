#include "experiments/claims/methods.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels_ref/errors.hpp"

namespace ospsim {

const Json& Arguments::at(const std::string& name) {
  read_.insert(name);
  const auto found = object_.find(name);
  if (found == object_.end()) throw InputError(fmt::format("its method needs '{}'", name));
  return *found;
}

std::string Arguments::text(const std::string& name) {
  const Json& value = at(name);
  if (!value.is_string()) throw InputError(fmt::format("its method's '{}' is not a text", name));
  return value.get<std::string>();
}

std::int64_t Arguments::whole(const std::string& name, std::int64_t least) {
  const Json& value = at(name);
  if (!value.is_number_integer() || value.get<std::int64_t>() < least ||
      value.get<std::int64_t>() > 1'000'000)
    throw InputError(
        fmt::format("its method's '{}' is not a whole number in {}..1000000", name, least));
  return value.get<std::int64_t>();
}

std::vector<std::string> Arguments::texts(const std::string& name) {
  const Json& value = at(name);
  if (!value.is_array() || value.empty() ||
      !std::all_of(value.begin(), value.end(), [](const Json& v) { return v.is_string(); }))
    throw InputError(fmt::format("its method's '{}' is not a list of texts", name));
  return value.get<std::vector<std::string>>();
}

std::string Arguments::claim_id(const std::string& name) {
  const std::string id = text(name);
  refer_to(id);
  return id;
}

void Arguments::all_read() const {
  for (const auto& [name, unused] : object_.items())
    if (!read_.contains(name)) throw InputError(fmt::format("its method takes no '{}'", name));
}

Pattern pattern_of(Arguments& a) {
  return parse_pattern(a.text("pattern"), parse_ratio(a.text("ratio")));
}

Method make_method(const std::string& name, Arguments& arguments) {
  for (const auto* methods :
       {&pattern_methods(), &recall_methods(), &model_methods(), &format_methods(), &comm_methods(),
        &device_methods(), &table_methods()})
    if (const auto found = methods->find(name); found != methods->end())
      return found->second(arguments);
  throw InputError(fmt::format("its method '{}' is unknown", name));
}

}  // namespace ospsim
