#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kernels_ref/errors.hpp"

namespace ospsim {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Runs f; any exception but an InputError of one line is a finding.
template <class F>
void only_input_errors(const F& f) {
  try {
    f();
  } catch (const InputError& error) {
    if (std::string_view(error.what()).empty()) std::abort();
  }
}

inline void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace ospsim
