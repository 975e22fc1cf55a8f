// The codecs on a device: the scalar codec, one element a thread and a stride of the whole grid.
//   version 1   correct and plain; its speed has not been measured yet

#include <algorithm>
#include <type_traits>

#include "kernels_ref/cuda/buffer.hpp"
#include "kernels_ref/formats/check.hpp"
#include "kernels_ref/formats/elements.hpp"

namespace ospsim {
namespace {

constexpr int block_threads = 256;

/// Calls f(i) for every i < n, spread over the grid.
template <class F>
__device__ void for_each_index(std::int64_t n, const F& f) {
  const std::int64_t stride = std::int64_t{gridDim.x} * block_threads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * block_threads + threadIdx.x; i < n; i += stride)
    f(i);
}

template <class F>
__global__ void __launch_bounds__(block_threads) run_kernel(std::int64_t n, F f) {
  for_each_index(n, f);
}

/// The same from the host, as one kernel; waits for it.
template <class F>
void on_device(std::int64_t n, const F& f) {
  if (n == 0) return;
  const std::int64_t blocks = std::min<std::int64_t>((n + block_threads - 1) / block_threads, 8192);
  run_kernel<<<static_cast<unsigned>(blocks), block_threads>>>(n, f);
  check_cuda(cudaGetLastError());
  check_cuda(cudaDeviceSynchronize());
}

// What is done to element i, or to block i of 32.

template <class T>
struct Encode {
  Codec codec;
  float scale;
  const T* x;
  std::uint8_t* codes;

  __device__ std::uint8_t code(std::int64_t i) const {
    const std::uint64_t element = codec.first_element + static_cast<std::uint64_t>(i);
    return scale == 1 ? encode(codec, x[i], element)
                      : encode(codec, __fmul_rn(to_float(x[i]), scale), element);
  }
  __device__ void operator()(std::int64_t i) const { codes[i] = code(i); }
};

template <class T>
struct Decode {
  Format format;
  float scale;
  const std::uint8_t* codes;
  T* x;

  __device__ void put(std::uint8_t code, std::int64_t i) const {
    const float value = decode(format, code);
    narrow(scale == 1 ? value : __fdiv_rn(value, scale), x[i]);
  }
  __device__ void operator()(std::int64_t i) const { put(codes[i], i); }
};

template <class T>
struct QuantizeDequantize {
  Encode<T> encoded;
  Decode<T> decoded;
  __device__ void operator()(std::int64_t i) const { decoded.put(encoded.code(i), i); }
};

struct Found {
  unsigned largest;
  unsigned long long not_finite;
};

template <class T>
struct FindLargest {
  const T* x;
  Found* found;
  __device__ void operator()(std::int64_t i) const {
    const unsigned magnitude = float_bits(x[i]) & 0x7fffffffu;
    if (magnitude >= 0x7f800000u)
      atomicAdd(&found->not_finite, 1ull);
    else if (magnitude > found->largest)  // few are
      atomicMax(&found->largest, magnitude);
  }
};

template <class T>
struct MxEncode {
  MxCodec codec;
  std::int64_t columns, blocks_of_row;
  const T* x;
  std::uint8_t *codes, *scales;
  __device__ void operator()(std::int64_t block) const {
    const std::int64_t column = block % blocks_of_row * mx_block, rest = columns - column;
    const std::int64_t first = block / blocks_of_row * columns + column;
    scales[block] =
        mx_encode_block(codec, x + first, codes + first, rest < mx_block ? rest : mx_block);
  }
};

template <class T>
struct MxDecode {
  Format element;
  std::int64_t columns, blocks_of_row;
  const std::uint8_t *codes, *scales;
  T* x;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t block = i / columns * blocks_of_row + i % columns / mx_block;
    narrow(__fmul_rn(decode(element, codes[i]), decode(Format::e8m0, scales[block])), x[i]);
  }
};

template <class T>
struct Int8Encode {
  float scale;
  const T* x;
  std::int8_t* q;
  __device__ void operator()(std::int64_t i) const { q[i] = int8_encode(to_float(x[i]), scale); }
};

template <class T>
struct Int8Decode {
  float scale;
  const std::int8_t* q;
  T* x;
  __device__ void operator()(std::int64_t i) const {
    narrow(__fmul_rn(static_cast<float>(q[i]), scale), x[i]);
  }
};

}  // namespace

template <>
void encode<Backend::cuda>(const Codec& codec, Numbers x, std::span<std::uint8_t> codes,
                           float scale, int) {
  check_encode(codec, x, codes);
  std::visit(
      [&]<class T>(std::span<const T> host) {
        const DeviceBuffer<T> from(host);
        const DeviceBuffer<std::uint8_t> to(codes.size());
        on_device(elements(x), Encode<T>{codec, scale, from.data(), to.data()});
        to.copy_to(codes);
      },
      x);
}

template <>
void decode<Backend::cuda>(Format format, std::span<const std::uint8_t> codes, MutableNumbers x,
                           float scale, int) {
  check_decode(format, codes, x);
  std::visit(
      [&]<class T>(std::span<T> host) {
        const DeviceBuffer<std::uint8_t> from(codes);
        const DeviceBuffer<T> to(host.size());
        on_device(elements(x), Decode<T>{format, scale, from.data(), to.data()});
        to.copy_to(host);
      },
      x);
}

template <>
void quantize_dequantize<Backend::cuda>(const Codec& codec, Numbers x, MutableNumbers y,
                                        float scale, int) {
  check_quantize_dequantize(codec, x, y);
  std::visit(
      [&]<class T>(std::span<T> host) {
        const DeviceBuffer<T> from(std::get<std::span<const T>>(x)), to(host.size());
        on_device(elements(x), QuantizeDequantize<T>{{codec, scale, from.data(), nullptr},
                                                     {codec.format, scale, nullptr, to.data()}});
        to.copy_to(host);
      },
      y);
}

template <>
Amax amax<Backend::cuda>(Numbers x, int) {
  const Found nothing{};
  const DeviceBuffer<Found> found(std::span(&nothing, 1));
  std::visit(
      [&]<class T>(std::span<const T> host) {
        const DeviceBuffer<T> from(host);
        on_device(elements(x), FindLargest<T>{from.data(), found.data()});
      },
      x);
  Found result{};
  found.copy_to(std::span(&result, 1));
  return {std::bit_cast<float>(result.largest), static_cast<std::int64_t>(result.not_finite)};
}

template <>
void mx_encode<Backend::cuda>(const MxCodec& codec, std::int64_t columns, Numbers x,
                              std::span<std::uint8_t> codes, std::span<std::uint8_t> scales, int) {
  check_mx_encode(codec, columns, x, codes, scales);
  std::visit(
      [&]<class T>(std::span<const T> host) {
        const DeviceBuffer<T> from(host);
        const DeviceBuffer<std::uint8_t> to(codes.size()), to_scales(scales.size());
        on_device(static_cast<std::int64_t>(scales.size()),
                  MxEncode<T>{codec, columns, mx_scale_count(1, columns), from.data(), to.data(),
                              to_scales.data()});
        to.copy_to(codes);
        to_scales.copy_to(scales);
      },
      x);
}

template <>
void mx_decode<Backend::cuda>(Format element, std::int64_t columns,
                              std::span<const std::uint8_t> codes,
                              std::span<const std::uint8_t> scales, MutableNumbers x, int) {
  check_mx_decode(element, columns, codes, scales, x);
  std::visit(
      [&]<class T>(std::span<T> host) {
        const DeviceBuffer<std::uint8_t> from(codes), from_scales(scales);
        const DeviceBuffer<T> to(host.size());
        on_device(elements(x), MxDecode<T>{element, columns, mx_scale_count(1, columns),
                                           from.data(), from_scales.data(), to.data()});
        to.copy_to(host);
      },
      x);
}

template <>
void int8_encode<Backend::cuda>(Numbers x, float scale, std::span<std::int8_t> q, int) {
  check_int8_encode(x, q);
  std::visit(
      [&]<class T>(std::span<const T> host) {
        const DeviceBuffer<T> from(host);
        const DeviceBuffer<std::int8_t> to(q.size());
        on_device(elements(x), Int8Encode<T>{scale, from.data(), to.data()});
        to.copy_to(q);
      },
      x);
}

template <>
void int8_decode<Backend::cuda>(std::span<const std::int8_t> q, float scale, MutableNumbers x,
                                int) {
  check_int8_decode(q, x);
  std::visit(
      [&]<class T>(std::span<T> host) {
        const DeviceBuffer<std::int8_t> from(q);
        const DeviceBuffer<T> to(host.size());
        on_device(elements(x), Int8Decode<T>{scale, from.data(), to.data()});
        to.copy_to(host);
      },
      x);
}

}  // namespace ospsim
