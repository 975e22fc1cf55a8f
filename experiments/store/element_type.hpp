#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ospsim {

/// How a file stores floating-point numbers.
struct ElementType {
  enum class Format { f64, f32, f16, bf16 };
  Format format = Format::f32;
  bool big_endian = false;

  std::int64_t bytes() const;
  std::string name() const;  ///< "F64", "F32", "F16" or "BF16"
  friend bool operator==(const ElementType&, const ElementType&) = default;
};

/// "WHAT is not one of F64, F32, F16, BF16", the reason why a tensor is skipped.
std::string not_readable(std::string_view what);

/// Fills `into` from as many elements at `stored`, at any alignment. Exact, except that float64 is
/// rounded to the nearest float32, ties to even.
void widen(ElementType type, const std::byte* stored, std::span<float> into);

}  // namespace ospsim
