#include <cstring>
#include <functional>
#include <numeric>

#include "experiments/device/measure.cuh"
#include "kernels_ref/formats/quantize.hpp"

/// The 8-bit codecs: their speed on a hidden state of a 768P video, held against the copy
/// bandwidth; and every float32 there is, encoded on the device and on the host, bit by bit.
namespace ospsim {
namespace {

/// x[i] = the float32 with the bits first + i.
struct CountBits {
  static constexpr int threads = 256;
  float* x;
  std::int64_t size;
  std::uint32_t first;
  std::int64_t blocks() const { return size / threads; }
  std::size_t shared_bytes() const { return 0; }
  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t i = lane.block() * threads + lane.thread();
    x[i] = std::bit_cast<float>(first + static_cast<std::uint32_t>(i));
  }
};

struct NamedCodec {
  const char* name;
  Codec codec;
};
constexpr Codec codec(Format format, Rounding rounding, Overflow overflow) {
  return {.format = format, .rounding = rounding, .overflow = overflow};
}

void compare_all_floats(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const NamedCodec codecs[] = {
      {"hif8, ta, ieee", codec(Format::hif8, Rounding::ta, Overflow::ieee)},
      {"hif8, ta, saturate", codec(Format::hif8, Rounding::ta, Overflow::saturate)},
      {"hif8, rne, saturate", codec(Format::hif8, Rounding::rne, Overflow::saturate)},
      {"hif8, hybrid, ieee", codec(Format::hif8, Rounding::hybrid, Overflow::ieee)},
      {"e4m3, rne, ieee", codec(Format::e4m3, Rounding::rne, Overflow::ieee)},
      {"e4m3, rne, saturate", codec(Format::e4m3, Rounding::rne, Overflow::saturate)},
      {"e5m2, rne, ieee", codec(Format::e5m2, Rounding::rne, Overflow::ieee)},
      {"e5m2, rne, saturate", codec(Format::e5m2, Rounding::rne, Overflow::saturate)}};
  const std::int64_t chunk = sizes.float_patterns / 16, all = std::int64_t{1} << 32;
  const auto x = on.array<float>(chunk);
  auto codes = on.array<std::uint8_t>(chunk);
  std::vector<float> host(index(chunk));
  std::vector<std::uint8_t> expected(index(chunk)), got(index(chunk));
  std::vector<std::int64_t> wrong(std::size(codecs));
  for (std::int64_t first = 0; first < all; first += all / 16) {
    launch(on.stream(), CountBits{x.data(), chunk, static_cast<std::uint32_t>(first)});
    on.wait();
    x.copy_to(host);
    for (std::size_t c = 0; c < std::size(codecs); ++c) {
      poison(on, codes);
      with_quantize(codecs[c].codec, x.data(), codes.data(), chunk, TensorScale{},
                    [&](const auto& kernel) { launch(on.stream(), kernel); });
      encode<Backend::cpu>(codecs[c].codec, std::span<const float>(host), expected);
      on.wait();
      codes.copy_to(got);
      if (std::memcmp(got.data(), expected.data(), got.size()) == 0) continue;
      wrong[c] += std::inner_product(got.begin(), got.end(), expected.begin(), std::int64_t{0},
                                     std::plus<>{}, std::not_equal_to<>{});
    }
  }
  for (std::size_t c = 0; c < std::size(codecs); ++c)
    recorder.row(
        {.name = "every float32",
         .sizes = {{"elements", sizes.float_patterns}},
         .notes = {{"codec", codecs[c].name}},
         .check = check_of("codes that differ from the host's", static_cast<double>(wrong[c]), 0)});
}

/// What a kernel made of numbers that repeat: the first `period` against the cpu back end, the
/// others against those before them.
template <class T, class Result>
Check check_all(CudaExecutor& on, const Codec& c, float scale, const T* x, const Result* got,
                std::int64_t elements, std::int64_t period) {
  const std::int64_t compared = std::min(elements, period);
  const auto from = download(on, x, compared);
  const auto to = download(on, got, compared);
  std::vector<Result> expected(index(compared));
  if constexpr (std::is_same_v<Result, std::uint8_t>)
    encode<Backend::cpu>(c, std::span<const T>(from), expected, scale);
  else
    quantize_dequantize<Backend::cpu>(c, std::span<const T>(from), std::span<T>(expected), scale);
  double wrong =
      differences(on, ComparePeriods<Result>{.x = got, .size = elements, .period = period});
  for (std::size_t i = 0; i < to.size(); ++i)
    wrong += std::memcmp(&to[i], &expected[i], sizeof(Result)) != 0;
  return check_of("elements that differ from the cpu back end's, or from the same earlier on",
                  wrong, 0);
}

template <class T>
void record_speed(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes,
                  const char* type) {
  const std::int64_t elements = sizes.codec_elements;
  DeviceBuffer<T> x = on.array<T>(elements), y = on.array<T>(elements);
  {
    // Normal numbers in T, by way of the host for a part that repeats.
    std::vector<T> part(index(sizes.codec_period));
    for (std::size_t i = 0; i < part.size(); ++i) narrow(FillNormal::number(5, i), part[i]);
    for (std::int64_t at = 0; at < elements; at += std::ssize(part))
      check_cuda(cudaMemcpyAsync(x.data() + at, part.data(),
                                 std::min(part.size(), index(elements - at)) * sizeof(T),
                                 cudaMemcpyHostToDevice, on.stream()));
    on.wait();
  }
  auto codes = on.array<std::uint8_t>(elements);
  const auto found = on.array<DeviceAmax>(1);
  const auto find = [&] {
    check_cuda(cudaMemsetAsync(found.data(), 0, sizeof(DeviceAmax), on.stream()));
    launch(on.stream(), FindAmax<T>{x.data(), found.data(), elements});
  };
  const auto row = [&](const std::string& name, const std::string& what, Cost cost,
                       const std::string& formula, const Check& check, const auto& start) {
    recorder.row({.name = name,
                  .sizes = {{"elements", elements}},
                  .notes = {{"codec", what}, {"type", type}},
                  .cost = cost,
                  .formula = formula,
                  .times_ms = measure_ms(on, sizes, start),
                  .check = check});
  };
  find();
  const Amax exact = amax<Backend::cpu>(std::span<const T>(download(on, x.data(), elements)));
  const DeviceAmax got = download(on, found.data(), 1)[0];
  row("amax", "none", FindAmax<T>{nullptr, nullptr, elements}.cost(), "elements of x",
      check_of("difference from the cpu back end's",
               std::abs(exact.amax - std::bit_cast<float>(got.largest)) +
                   static_cast<double>(got.not_finite),
               0),
      find);

  for (const auto& [name, c] :
       {NamedCodec{"hif8, ta", codec(Format::hif8, Rounding::ta, Overflow::saturate)},
        NamedCodec{"hif8, hybrid", codec(Format::hif8, Rounding::hybrid, Overflow::saturate)},
        NamedCodec{"e4m3, rne", codec(Format::e4m3, Rounding::rne, Overflow::saturate)},
        NamedCodec{"e5m2, rne", codec(Format::e5m2, Rounding::rne, Overflow::saturate)}}) {
    const float scale = 3.1f;
    const auto start = [&](auto* to, const TensorScale& s) {
      with_quantize(c, x.data(), to, elements, s,
                    [&](const auto& kernel) { launch(on.stream(), kernel); });
    };
    poison(on, codes);
    start(codes.data(), {scale});
    row("encode", name, encode_cost(elements, sizeof(T)), "x read, codes written",
        check_all(on, c, scale, x.data(), codes.data(), elements, sizes.codec_period),
        [&] { start(codes.data(), {scale}); });

    const Dequantize<T> decoding{c.format, codes.data(), y.data(), elements, {scale}};
    poison(on, y);
    launch(on.stream(), decoding);
    row("decode", name, decode_cost(elements, sizeof(T)), "codes read, x written",
        check_all(on, c, scale, x.data(), y.data(), elements, sizes.codec_period),
        [&] { launch(on.stream(), decoding); });

    poison(on, y);
    start(y.data(), {scale});
    row("quantize-dequantize", name, quantize_dequantize_cost(elements, sizeof(T)),
        "x read, y written",
        check_all(on, c, scale, x.data(), y.data(), elements, sizes.codec_period),
        [&] { start(y.data(), {scale}); });

    const Quantization recipe = paper_forward();
    const auto current = [&] {
      find();
      start(y.data(), {.amax = found.data(), .recipe = recipe});
    };
    poison(on, y);
    current();
    row("current scaling: amax, quantize-dequantize", name,
        amax_cost(elements, sizeof(T)) + quantize_dequantize_cost(elements, sizeof(T)),
        "x read twice, y written",
        check_all(on, c, scale_of(recipe, exact.amax), x.data(), y.data(), elements,
                  sizes.codec_period),
        current);
  }
}

}  // namespace

void record_codecs(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  record_speed<Bfloat16>(on, recorder, sizes, "bf16");
  record_speed<float>(on, recorder, sizes, "f32");
  compare_all_floats(on, recorder, sizes);
}

}  // namespace ospsim
