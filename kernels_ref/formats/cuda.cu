#include "kernels_ref/cuda/launch.cuh"
#include "kernels_ref/formats/block_codec_kernels.hpp"
#include "kernels_ref/formats/check.hpp"

namespace ospsim {
namespace {

/// Runs a kernel and waits for it.
constexpr auto run = [](const auto& kernel) {
  launch(cudaStream_t{}, kernel);
  check_cuda(cudaDeviceSynchronize());
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
        with_quantize(codec, from.data(), to.data(), elements(x), {.value = scale}, run);
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
        run(Dequantize<T>{format, from.data(), to.data(), elements(x), {.value = scale}});
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
        with_quantize(codec, from.data(), to.data(), elements(x), {.value = scale}, run);
        to.copy_to(host);
      },
      y);
}

template <>
Amax amax<Backend::cuda>(Numbers x, int) {
  const DeviceAmax nothing{};
  const DeviceBuffer<DeviceAmax> found(std::span(&nothing, 1));
  std::visit(
      [&]<class T>(std::span<const T> host) {
        const DeviceBuffer<T> from(host);
        run(FindAmax<T>{from.data(), found.data(), elements(x)});
      },
      x);
  DeviceAmax result{};
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
        run(MxEncode<T>{codec, elements(x) / columns, columns, from.data(), to.data(),
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
        run(MxDecode<T>{element, elements(x) / columns, columns, from.data(), from_scales.data(),
                        to.data()});
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
        run(Int8Encode<T>{scale, from.data(), to.data(), elements(x)});
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
        run(Int8Decode<T>{scale, from.data(), to.data(), elements(x)});
        to.copy_to(host);
      },
      x);
}

}  // namespace ospsim
