#pragma once

#include <variant>

#include "kernels_ref/formats/int8.hpp"
#include "kernels_ref/formats/mxfp8.hpp"
#include "kernels_ref/formats/quantize.hpp"
#include "kernels_ref/size_check.hpp"

/// What every back end refuses before it starts.
namespace ospsim {

template <class... Spans>
std::int64_t elements(const std::variant<Spans...>& tensor) {
  return std::visit([](auto span) { return static_cast<std::int64_t>(span.size()); }, tensor);
}

void check_encode(const Codec& codec, Numbers x, std::span<std::uint8_t> codes);
void check_decode(Format format, std::span<const std::uint8_t> codes, MutableNumbers x);
void check_quantize_dequantize(const Codec& codec, Numbers x, MutableNumbers y);
void check_mx_encode(const MxCodec& codec, std::int64_t columns, Numbers x,
                     std::span<std::uint8_t> codes, std::span<std::uint8_t> scales);
void check_mx_decode(Format element, std::int64_t columns, std::span<const std::uint8_t> codes,
                     std::span<const std::uint8_t> scales, MutableNumbers x);
void check_int8_encode(Numbers x, std::span<std::int8_t> q);
void check_int8_decode(std::span<const std::int8_t> q, MutableNumbers x);

}  // namespace ospsim
