#include <algorithm>
#include <cmath>

#include "kernels_ref/formats/check.hpp"
#include "kernels_ref/formats/elements.hpp"

namespace ospsim {

template <>
void encode<Backend::naive>(const Codec& codec, Numbers x, std::span<std::uint8_t> codes,
                            float scale, int) {
  check_encode(codec, x, codes);
  std::visit([&](auto from) { encode_elements(codec, from, codes, scale); }, x);
}

template <>
void decode<Backend::naive>(Format format, std::span<const std::uint8_t> codes, MutableNumbers x,
                            float scale, int) {
  check_decode(format, codes, x);
  std::visit([&](auto to) { decode_elements(format, codes, to, scale); }, x);
}

template <>
void quantize_dequantize<Backend::naive>(const Codec& codec, Numbers x, MutableNumbers y,
                                         float scale, int) {
  check_quantize_dequantize(codec, x, y);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(elements(x)));
  encode<Backend::naive>(codec, x, codes, scale);
  decode<Backend::naive>(codec.format, codes, y, scale);
}

template <>
Amax amax<Backend::naive>(Numbers x, int) {
  Amax found;
  std::visit([&](auto from) { found = amax_of_elements(from); }, x);
  return found;
}

template <>
void mx_encode<Backend::naive>(const MxCodec& codec, std::int64_t columns, Numbers x,
                               std::span<std::uint8_t> codes, std::span<std::uint8_t> scales, int) {
  check_mx_encode(codec, columns, x, codes, scales);
  for_each_mx_block(elements(x), columns, [&](std::size_t block, std::size_t first, std::size_t n) {
    std::visit(
        [&](auto from) {
          scales[block] =
              mx_encode_block(codec, &from[first], &codes[first], static_cast<std::int64_t>(n));
        },
        x);
  });
}

template <>
void mx_decode<Backend::naive>(Format element, std::int64_t columns,
                               std::span<const std::uint8_t> codes,
                               std::span<const std::uint8_t> scales, MutableNumbers x, int) {
  check_mx_decode(element, columns, codes, scales, x);
  for_each_mx_block(elements(x), columns, [&](std::size_t block, std::size_t first, std::size_t n) {
    const float scale = decode(Format::e8m0, scales[block]);
    std::visit(
        [&](auto to) {
          for (std::size_t i = first; i < first + n; ++i)
            narrow(decode(element, codes[i]) * scale, to[i]);
        },
        x);
  });
}

template <>
void int8_encode<Backend::naive>(Numbers x, float scale, std::span<std::int8_t> q, int) {
  check_int8_encode(x, q);
  std::visit([&](auto from) { int8_encode_elements(from, scale, q); }, x);
}

template <>
void int8_decode<Backend::naive>(std::span<const std::int8_t> q, float scale, MutableNumbers x,
                                 int) {
  check_int8_decode(q, x);
  std::visit([&](auto to) { int8_decode_elements(q, scale, to); }, x);
}

}  // namespace ospsim
