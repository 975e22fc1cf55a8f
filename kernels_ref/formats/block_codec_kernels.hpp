#pragma once

#include "kernels_ref/formats/codec_kernels.hpp"
#include "kernels_ref/formats/int8.hpp"
#include "kernels_ref/formats/mxfp8.hpp"

// MXFP8 and INT8 on a device.
//   version 1  a block of 32, or a number, to a thread. Not measured
namespace ospsim {

/// mx_encode() of formats/mxfp8.hpp.
template <class T>
struct MxEncode {
  static constexpr int threads = 256;

  MxCodec codec;
  std::int64_t rows = 0, columns = 0;
  const T* x = nullptr;
  std::uint8_t *codes = nullptr, *scales = nullptr;

  std::int64_t blocks() const {
    return codec_detail::blocks_of(mx_scale_count(rows, columns), threads);
  }
  std::size_t shared_bytes() const { return 0; }
  Cost cost() const {
    return {.bytes = static_cast<double>(rows * columns) * (sizeof(T) + 1) +
                     static_cast<double>(mx_scale_count(rows, columns))};
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t of_row = (columns + mx_block - 1) / mx_block;
    const std::int64_t block = lane.block() * threads + lane.thread();
    if (block >= rows * of_row) return;
    const std::int64_t column = block % of_row * mx_block, rest = columns - column;
    const std::int64_t first = block / of_row * columns + column;
    scales[block] =
        mx_encode_block(codec, x + first, codes + first, rest < mx_block ? rest : mx_block);
  }
};

/// mx_decode().
template <class T>
struct MxDecode {
  static constexpr int threads = 256;

  Format element = Format::e4m3;
  std::int64_t rows = 0, columns = 0;
  const std::uint8_t *codes = nullptr, *scales = nullptr;
  T* x = nullptr;

  std::int64_t blocks() const { return codec_detail::blocks_of(rows * columns, threads); }
  std::size_t shared_bytes() const { return 0; }
  Cost cost() const {
    return {.bytes = static_cast<double>(rows * columns) * (sizeof(T) + 1) +
                     static_cast<double>(mx_scale_count(rows, columns))};
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t i = lane.block() * threads + lane.thread();
    if (i >= rows * columns) return;
    const std::int64_t of_row = (columns + mx_block - 1) / mx_block;
    const std::int64_t block = i / columns * of_row + i % columns / mx_block;
    narrow(decode(element, codes[i]) * decode(Format::e8m0, scales[block]), x[i]);
  }
};

/// int8_encode() of formats/int8.hpp.
template <class T>
struct Int8Encode {
  static constexpr int threads = 256;

  float scale = 1;
  const T* x = nullptr;
  std::int8_t* q = nullptr;
  std::int64_t n = 0;

  std::int64_t blocks() const { return codec_detail::blocks_of(n, threads); }
  std::size_t shared_bytes() const { return 0; }
  Cost cost() const { return {.bytes = static_cast<double>(n) * (sizeof(T) + 1)}; }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t i = lane.block() * threads + lane.thread();
    if (i < n) q[i] = int8_encode(to_float(x[i]), scale);
  }
};

/// int8_decode().
template <class T>
struct Int8Decode {
  static constexpr int threads = 256;

  float scale = 1;
  const std::int8_t* q = nullptr;
  T* x = nullptr;
  std::int64_t n = 0;

  std::int64_t blocks() const { return codec_detail::blocks_of(n, threads); }
  std::size_t shared_bytes() const { return 0; }
  Cost cost() const { return {.bytes = static_cast<double>(n) * (sizeof(T) + 1)}; }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t i = lane.block() * threads + lane.thread();
    if (i < n) narrow(static_cast<float>(q[i]) * scale, x[i]);
  }
};

}  // namespace ospsim
