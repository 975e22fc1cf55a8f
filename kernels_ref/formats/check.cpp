#include "kernels_ref/formats/check.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

void check_elements(const char* operation, const char* array, MutableNumbers tensor,
                    std::int64_t expected) {
  std::visit([&](auto span) { SizeCheck(operation).has(array, span, expected); }, tensor);
}

std::int64_t rows_of_mx(Format element, std::int64_t count, std::int64_t columns) {
  if (element != Format::e4m3 && element != Format::e5m2)
    throw InputError(fmt::format("MXFP8 has elements of e4m3 or e5m2, not {}", to_string(element)));
  if (columns < 1 || count % columns != 0)
    throw std::invalid_argument(
        fmt::format("MXFP8: {} elements are no whole rows of {} columns", count, columns));
  return count / columns;
}

}  // namespace

void check_encode(const Codec& codec, Numbers x, std::span<std::uint8_t> codes) {
  check_codec(codec);
  SizeCheck("encode").has("codes", codes, elements(x));
}

void check_decode(Format format, std::span<const std::uint8_t> codes, MutableNumbers x) {
  if (format == Format::e8m0 && std::holds_alternative<std::span<Float16>>(x))
    throw InputError("e8m0 does not fit float16");
  check_elements("decode", "x", x, static_cast<std::int64_t>(codes.size()));
}

void check_quantize_dequantize(const Codec& codec, Numbers x, MutableNumbers y) {
  check_codec(codec);
  if (x.index() != y.index())
    throw std::invalid_argument("quantize_dequantize: x and y are of different types");
  check_decode(codec.format, {}, std::visit([](auto s) { return MutableNumbers(s.first(0)); }, y));
  check_elements("quantize_dequantize", "y", y, elements(x));
}

void check_mx_encode(const MxCodec& codec, std::int64_t columns, Numbers x,
                     std::span<std::uint8_t> codes, std::span<std::uint8_t> scales) {
  const std::int64_t rows = rows_of_mx(codec.element, elements(x), columns);
  SizeCheck("mx_encode")
      .has("codes", codes, rows * columns)
      .has("scales", scales, mx_scale_count(rows, columns));
}

void check_mx_decode(Format element, std::int64_t columns, std::span<const std::uint8_t> codes,
                     std::span<const std::uint8_t> scales, MutableNumbers x) {
  const std::int64_t rows = rows_of_mx(element, static_cast<std::int64_t>(codes.size()), columns);
  SizeCheck("mx_decode").has("scales", scales, mx_scale_count(rows, columns));
  check_elements("mx_decode", "x", x, rows * columns);
}

void check_int8_encode(Numbers x, std::span<std::int8_t> q) {
  SizeCheck("int8_encode").has("q", q, elements(x));
}

void check_int8_decode(std::span<const std::int8_t> q, MutableNumbers x) {
  check_elements("int8_decode", "x", x, static_cast<std::int64_t>(q.size()));
}

}  // namespace ospsim
