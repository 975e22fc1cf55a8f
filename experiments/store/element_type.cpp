#include "experiments/store/element_type.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels_ref/formats/wide_float.hpp"

namespace ospsim {
namespace {

static_assert(std::endian::native == std::endian::little);

template <class Stored>
void widen_as(bool big_endian, const std::byte* stored, std::span<float> into) {
  std::array<std::byte, sizeof(Stored)> bytes;
  for (float& value : into) {
    std::memcpy(bytes.data(), stored, bytes.size());
    stored += bytes.size();
    if (big_endian) std::ranges::reverse(bytes);
    const auto element = std::bit_cast<Stored>(bytes);
    if constexpr (std::is_same_v<Stored, double>)
      value = static_cast<float>(element);
    else
      value = to_float(element);
  }
}

}  // namespace

std::int64_t ElementType::bytes() const {
  switch (format) {
    case Format::f64:
      return 8;
    case Format::f32:
      return 4;
    default:
      return 2;
  }
}

std::string ElementType::name() const {
  switch (format) {
    case Format::f64:
      return "F64";
    case Format::f32:
      return "F32";
    case Format::f16:
      return "F16";
    default:
      return "BF16";
  }
}

std::string not_readable(std::string_view what) {
  return fmt::format("{} is not one of F64, F32, F16, BF16", what);
}

void widen(ElementType type, const std::byte* stored, std::span<float> into) {
  switch (type.format) {
    case ElementType::Format::f64:
      return widen_as<double>(type.big_endian, stored, into);
    case ElementType::Format::f32:
      return widen_as<float>(type.big_endian, stored, into);
    case ElementType::Format::f16:
      return widen_as<Float16>(type.big_endian, stored, into);
    case ElementType::Format::bf16:
      return widen_as<Bfloat16>(type.big_endian, stored, into);
  }
}

}  // namespace ospsim
