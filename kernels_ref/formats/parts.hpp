#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ospsim {

/// Elements of one thread's task: large against what starting it costs, small against a tensor.
inline constexpr std::int64_t task = std::int64_t{1} << 18;

template <class T>
std::span<T> part(std::span<T> whole, std::int64_t first, std::int64_t last) {
  return whole.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
}

}  // namespace ospsim
