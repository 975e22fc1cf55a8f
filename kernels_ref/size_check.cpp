#include "kernels_ref/size_check.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace ospsim {

void SizeCheck::require(std::string_view array, std::size_t actual, std::int64_t expected) const {
  if (expected < 0 || actual != static_cast<std::size_t>(expected))
    throw std::invalid_argument(
        fmt::format("{}: {} has {} elements, expected {}", operation_, array, actual, expected));
}

}  // namespace ospsim
