#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>
#include <utility>
#include <vector>

#include "kernels_ref/errors.hpp"

namespace ospsim {

/// What users call a value; a type's names are an array of these.
template <class T>
using Named = std::pair<std::string_view, T>;

/// Throws InputError that calls the type `what` and lists the names.
template <class T, std::size_t N>
T parse_name(const Named<T> (&names)[N], std::string_view what, std::string_view text) {
  std::vector<std::string_view> accepted;
  for (const auto& [name, value] : names) {
    if (name == text) return value;
    accepted.push_back(name);
  }
  throw InputError(fmt::format("{} '{}' is not one of {}", what, text, fmt::join(accepted, ", ")));
}

/// Empty if the value has no name.
template <class T, std::size_t N>
std::string_view name_of(const Named<T> (&names)[N], const T& value) {
  for (const auto& [name, named] : names)
    if (named == value) return name;
  return {};
}

}  // namespace ospsim
