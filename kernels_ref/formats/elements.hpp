#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "kernels_ref/formats/codec.hpp"
#include "kernels_ref/formats/int8.hpp"
#include "kernels_ref/formats/mxfp8.hpp"
#include "kernels_ref/formats/quantize.hpp"

/// One element after the other by the scalar codec: the naive back end, and what the fast ones
/// leave over at the ends of a tensor or have no faster way for.
namespace ospsim {

OSPSIM_HOST_DEVICE inline void narrow(float value, float& to) {
  to = value;
}
OSPSIM_HOST_DEVICE inline void narrow(float value, Bfloat16& to) {
  to = to_bfloat16(value);
}
OSPSIM_HOST_DEVICE inline void narrow(float value, Float16& to) {
  to = to_float16(value);
}

template <class T>
void encode_elements(const Codec& codec, std::span<const T> x, std::span<std::uint8_t> codes,
                     float scale) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::uint64_t element = codec.first_element + i;
    codes[i] =
        scale == 1 ? encode(codec, x[i], element) : encode(codec, to_float(x[i]) * scale, element);
  }
}

template <class T>
void decode_elements(Format format, std::span<const std::uint8_t> codes, std::span<T> x,
                     float scale) {
  for (std::size_t i = 0; i < x.size(); ++i)
    narrow(scale == 1 ? decode(format, codes[i]) : decode(format, codes[i]) / scale, x[i]);
}

template <class T>
Amax amax_of_elements(std::span<const T> x) {
  std::uint32_t largest = 0;
  std::int64_t not_finite = 0;
  for (const T value : x) {
    const std::uint32_t magnitude = float_bits(value) & 0x7fffffffu;
    if (magnitude < 0x7f800000u)
      largest = std::max(largest, magnitude);
    else
      ++not_finite;
  }
  return {std::bit_cast<float>(largest), not_finite};
}

template <class T>
void int8_encode_elements(std::span<const T> x, float scale, std::span<std::int8_t> q) {
  for (std::size_t i = 0; i < x.size(); ++i) q[i] = int8_encode(to_float(x[i]), scale);
}

template <class T>
void int8_decode_elements(std::span<const std::int8_t> q, float scale, std::span<T> x) {
  for (std::size_t i = 0; i < x.size(); ++i) narrow(static_cast<float>(q[i]) * scale, x[i]);
}

/// f(block, index of its first element, elements) for every block of a matrix of whole rows.
template <class F>
void for_each_mx_block(std::int64_t elements, std::int64_t columns, const F& f) {
  std::size_t block = 0;
  for (std::int64_t row = 0; row < elements; row += columns)
    for (std::int64_t first = 0; first < columns; first += mx_block)
      f(block++, static_cast<std::size_t>(row + first),
        static_cast<std::size_t>(std::min(mx_block, columns - first)));
}

/// The scale of a block of n; fills its codes.
template <class T>
OSPSIM_HOST_DEVICE std::uint8_t mx_encode_block(const MxCodec& codec, const T* x,
                                                std::uint8_t* codes, std::int64_t n) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t magnitude = float_bits(x[i]) & 0x7fffffffu;
    if (magnitude < 0x7f800000u && magnitude > largest) largest = magnitude;
  }
  const std::uint8_t scale = mx_scale_code(codec, std::bit_cast<float>(largest));
  // 1 / X: no rule makes X so large that this is subnormal.
  const float reciprocal = decode(Format::e8m0, static_cast<std::uint8_t>(254 - scale));
  const Codec element{
      .format = codec.element, .rounding = Rounding::rne, .overflow = Overflow::saturate};
  for (std::int64_t i = 0; i < n; ++i) codes[i] = encode(element, to_float(x[i]) * reciprocal);
  return scale;
}

}  // namespace ospsim
