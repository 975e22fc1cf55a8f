// Rates of the 8-bit codecs on one core beside the copy bandwidth of the same core in the same run,
// on tensors far larger than the caches, and beside a scalar codec that everybody has: the host
// path of NVIDIA's cuda_fp8.h. Codes are checked against naive in this process before anything is
// timed.
//
//   formats_benchmark --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "kernels_ref/cpu/copy_bandwidth.hpp"
#include "kernels_ref/formats/int8.hpp"
#include "kernels_ref/formats/mxfp8.hpp"
#include "kernels_ref/formats/quantize.hpp"

#ifdef OSPSIM_HAVE_CUDA_FP8
#include <cuda_fp8.h>
#endif

namespace ospsim {
namespace {

constexpr int one_core = 1;
constexpr std::size_t elements = std::size_t{64} << 20;
constexpr std::int64_t columns = 4096;

void report(benchmark::State& state, Cost cost, std::size_t count = elements) {
  static const double copy = copy_bytes_per_second(one_core);
  using benchmark::Counter;
  state.counters["elements/s"] =
      Counter(static_cast<double>(count), Counter::kIsIterationInvariantRate);
  state.counters["bytes/s"] = Counter(cost.bytes, Counter::kIsIterationInvariantRate);
  state.counters["of_copy"] = Counter(cost.bytes / copy, Counter::kIsIterationInvariantRate);
  state.counters["copy_bytes/s"] = Counter(copy);
}

Codec codec_of(Format format) {
  return {.format = format, .rounding = default_rounding(format)};
}

/// Standard normal numbers, and room for what becomes of them.
template <class T>
struct Tensor {
  std::vector<T> x, y;
  std::vector<std::uint8_t> codes, scales;

  Tensor() : x(elements), y(elements), codes(elements), scales(elements / mx_block) {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    constexpr std::size_t drawn = 1 << 20;
    for (std::size_t i = 0; i < drawn; ++i) {
      if constexpr (std::is_same_v<T, float>)
        x[i] = normal(random);
      else
        x[i] = to_bfloat16(normal(random));
    }
    for (std::size_t i = drawn; i < elements; i += drawn) std::copy_n(x.begin(), drawn, &x[i]);
    encode<Backend::cpu>(codec_of(Format::hif8), x, codes);
  }
  static Tensor& get() {
    static Tensor tensor;
    return tensor;
  }
};

template <class T>
void copying(benchmark::State& state) {
  auto& tensor = Tensor<T>::get();
  for (auto _ : state) std::memcpy(tensor.y.data(), tensor.x.data(), elements * sizeof(T));
  report(state, {.bytes = 2.0 * sizeof(T) * elements});
}

template <class T, Format format>
void encoding(benchmark::State& state) {
  auto& tensor = Tensor<T>::get();
  for (auto _ : state) encode<Backend::cpu>(codec_of(format), tensor.x, tensor.codes, 1, one_core);
  report(state, encode_cost(elements, sizeof(T)));
}

template <class T, Format format>
void decoding(benchmark::State& state) {
  auto& tensor = Tensor<T>::get();
  for (auto _ : state) decode<Backend::cpu>(format, tensor.codes, tensor.y, 1, one_core);
  report(state, decode_cost(elements, sizeof(T)));
}

/// With a scale that is no power of two.
template <class T, Format format>
void quantizing(benchmark::State& state) {
  auto& tensor = Tensor<T>::get();
  for (auto _ : state)
    quantize_dequantize<Backend::cpu>(codec_of(format), tensor.x, tensor.y, 2.7f, one_core);
  report(state, quantize_dequantize_cost(elements, sizeof(T)));
}

template <class T, Format format>
void mx_encoding(benchmark::State& state) {
  auto& tensor = Tensor<T>::get();
  for (auto _ : state)
    mx_encode<Backend::cpu>({.element = format}, columns, tensor.x, tensor.codes, tensor.scales,
                            one_core);
  report(state, mx_encode_cost(elements / columns, columns, sizeof(T)));
}

void int8_encoding(benchmark::State& state) {
  auto& tensor = Tensor<float>::get();
  const std::span codes(reinterpret_cast<std::int8_t*>(tensor.codes.data()), elements);
  for (auto _ : state) int8_encode<Backend::cpu>(tensor.x, 0.04f, codes, one_core);
  report(state, encode_cost(elements, 4));
}

template <class T>
void finding_amax(benchmark::State& state) {
  const auto& tensor = Tensor<T>::get();
  for (auto _ : state) benchmark::DoNotOptimize(amax<Backend::cpu>(tensor.x, one_core));
  report(state, amax_cost(elements, sizeof(T)));
}

// ---- One element after the other ---------------------------------------------------------------

constexpr std::size_t few = elements / 16;

template <Format format>
void scalar_encoding(benchmark::State& state) {
  auto& tensor = Tensor<float>::get();
  const Codec codec = codec_of(format);
  for (auto _ : state)
    for (std::size_t i = 0; i < few; ++i) tensor.codes[i] = encode(codec, tensor.x[i]);
  report(state, encode_cost(few, 4), few);
}

#ifdef OSPSIM_HAVE_CUDA_FP8
template <__nv_fp8_interpretation_t format>
void nvidia_scalar_encoding(benchmark::State& state) {
  auto& tensor = Tensor<float>::get();
  for (auto _ : state)
    for (std::size_t i = 0; i < few; ++i)
      tensor.codes[i] = __nv_cvt_float_to_fp8(tensor.x[i], __NV_NOSAT, format);
  report(state, encode_cost(few, 4), few);
}
#endif

#define OSPSIM_CODEC_BENCHMARK(...) \
  BENCHMARK_TEMPLATE(__VA_ARGS__)->Unit(benchmark::kMillisecond)->UseRealTime()

OSPSIM_CODEC_BENCHMARK(copying, float);
OSPSIM_CODEC_BENCHMARK(copying, Bfloat16);
OSPSIM_CODEC_BENCHMARK(encoding, float, Format::hif8);
OSPSIM_CODEC_BENCHMARK(encoding, float, Format::e4m3);
OSPSIM_CODEC_BENCHMARK(encoding, float, Format::e5m2);
OSPSIM_CODEC_BENCHMARK(encoding, Bfloat16, Format::hif8);
OSPSIM_CODEC_BENCHMARK(encoding, Bfloat16, Format::e4m3);
OSPSIM_CODEC_BENCHMARK(encoding, Bfloat16, Format::e5m2);
OSPSIM_CODEC_BENCHMARK(decoding, float, Format::hif8);
OSPSIM_CODEC_BENCHMARK(decoding, float, Format::e4m3);
OSPSIM_CODEC_BENCHMARK(decoding, float, Format::e5m2);
OSPSIM_CODEC_BENCHMARK(decoding, Bfloat16, Format::hif8);
OSPSIM_CODEC_BENCHMARK(decoding, Bfloat16, Format::e4m3);
OSPSIM_CODEC_BENCHMARK(decoding, Bfloat16, Format::e5m2);
OSPSIM_CODEC_BENCHMARK(quantizing, float, Format::hif8);
OSPSIM_CODEC_BENCHMARK(quantizing, Bfloat16, Format::hif8);
OSPSIM_CODEC_BENCHMARK(mx_encoding, float, Format::e4m3);
OSPSIM_CODEC_BENCHMARK(mx_encoding, float, Format::e5m2);
OSPSIM_CODEC_BENCHMARK(mx_encoding, Bfloat16, Format::e4m3);
OSPSIM_CODEC_BENCHMARK(mx_encoding, Bfloat16, Format::e5m2);
BENCHMARK(int8_encoding)->Unit(benchmark::kMillisecond)->UseRealTime();
OSPSIM_CODEC_BENCHMARK(finding_amax, float);
OSPSIM_CODEC_BENCHMARK(finding_amax, Bfloat16);
OSPSIM_CODEC_BENCHMARK(scalar_encoding, Format::hif8);
OSPSIM_CODEC_BENCHMARK(scalar_encoding, Format::e4m3);
#ifdef OSPSIM_HAVE_CUDA_FP8
OSPSIM_CODEC_BENCHMARK(nvidia_scalar_encoding, __NV_E4M3);
OSPSIM_CODEC_BENCHMARK(nvidia_scalar_encoding, __NV_E5M2);
#endif

template <class T>
bool codes_are_right(Format format) {
  const std::span<const T> x = std::span(Tensor<T>::get().x).first(1 << 20);
  std::vector<std::uint8_t> fast(x.size()), exact(x.size());
  encode<Backend::cpu>(codec_of(format), x, fast);
  encode<Backend::naive>(codec_of(format), x, exact);
  return fast == exact;
}

}  // namespace
}  // namespace ospsim

int main(int argc, char** argv) {
  using namespace ospsim;
  for (const Format format : {Format::hif8, Format::e4m3, Format::e5m2})
    if (!codes_are_right<float>(format) || !codes_are_right<Bfloat16>(format)) {
      fmt::print(stderr, "the codes of {} are wrong; nothing is timed\n", to_string(format));
      return EXIT_FAILURE;
    }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return EXIT_FAILURE;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
