#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels_ref/errors.hpp"

namespace ospsim {

/// What users call the values of a type.
template <class T>
using Names = std::vector<std::pair<std::string_view, T>>;

/// Throws InputError that calls the type `what` and lists the names.
template <class T>
T parse_name(const Names<T>& names, std::string_view what, std::string_view text) {
  std::vector<std::string_view> accepted;
  for (const auto& [name, value] : names) {
    if (name == text) return value;
    accepted.push_back(name);
  }
  throw InputError(fmt::format("{} '{}' is not one of {}", what, text, fmt::join(accepted, ", ")));
}

/// Empty if the value has no name.
template <class T>
std::string name_of(const Names<T>& names, const T& value) {
  for (const auto& [name, named] : names)
    if (named == value) return std::string(name);
  return {};
}

}  // namespace ospsim
