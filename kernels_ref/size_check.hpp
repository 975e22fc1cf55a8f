#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ospsim {

/// Checks the arrays of one call of an operation. Throws std::invalid_argument that names the
/// array.
class SizeCheck {
 public:
  explicit SizeCheck(std::string_view operation) : operation_(operation) {}

  template <class T>
  SizeCheck& has(std::string_view array, std::span<T> data, std::int64_t elements) {
    require(array, data.size(), elements);
    return *this;
  }
  template <class T>
  SizeCheck& has_or_empty(std::string_view array, std::span<T> data, std::int64_t elements) {
    return data.empty() ? *this : has(array, data, elements);
  }

 private:
  void require(std::string_view array, std::size_t actual, std::int64_t expected) const;

  std::string_view operation_;
};

}  // namespace ospsim
