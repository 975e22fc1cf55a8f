#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels_ref/errors.hpp"

namespace ospsim {

/// What users call a value; a type's names are an array of these.
template <class T>
using Named = std::pair<std::string_view, T>;

template <class T, std::size_t N>
std::vector<std::string_view> words_of(const Named<T> (&names)[N]) {
  std::vector<std::string_view> words;
  for (const auto& [name, value] : names) words.push_back(name);
  return words;
}

/// Throws InputError that calls the type `what` and lists the names.
template <class T, std::size_t N>
T parse_name(const Named<T> (&names)[N], std::string_view what, std::string_view text) {
  for (const auto& [name, value] : names)
    if (name == text) return value;
  throw InputError(
      fmt::format("{} '{}' is not one of {}", what, text, fmt::join(words_of(names), ", ")));
}

/// Empty if the value has no name.
template <class T, std::size_t N>
std::string_view name_of(const Named<T> (&names)[N], const T& value) {
  for (const auto& [name, named] : names)
    if (named == value) return name;
  return {};
}

}  // namespace ospsim
