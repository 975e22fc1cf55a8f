#pragma once

#include <cstddef>
#include <cstdint>

namespace ospsim {

/// A count or number of ours as an index of a standard container.
constexpr std::size_t index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

}  // namespace ospsim
