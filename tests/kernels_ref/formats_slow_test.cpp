// All 2^32 float32 patterns. Codes follow the magnitude in steps, and where a step begins is known
// exactly, so a sweep compares with one code at a time.

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <mutex>

#include "kernels_ref/formats/codec_kernels.hpp"
#include "kernels_ref/formats/quantize.hpp"
#include "kernels_ref/parallel.hpp"
#include "tests/kernels_ref/formats_array_support.hpp"

namespace ospsim {
namespace {

/// Holds codes against the steps, and stops at a wrong one.
class Sweep {
 public:
  explicit Sweep(const Codec& codec) : codec_(codec), steps_(oracle::steps(codec)) {}

  /// f(first pattern, codes) fills in the codes of patterns that follow each other.
  template <class F>
  void run(const F& f) {
    parallel_for(std::int64_t{1} << (32 - chunk_bits), 0, [&](std::int64_t chunk) {
      if (wrong_) return;
      std::vector<std::uint8_t> codes(std::size_t{1} << chunk_bits);
      const auto first = static_cast<std::uint32_t>(chunk << chunk_bits);
      f(first, std::span(codes));
      compare(first, codes);
    });
    EXPECT_FALSE(wrong_) << first_wrong_;
  }

 private:
  static constexpr int chunk_bits = 16;

  void compare(std::uint32_t first, const std::vector<std::uint8_t>& codes) {
    const std::uint32_t magnitude = first & 0x7fffffffu;
    const bool negative = first >> 31 != 0;
    auto step = std::ranges::upper_bound(steps_, magnitude, {}, &oracle::Step::first) - 1;
    for (std::size_t i = 0; i < codes.size(); ++step) {
      const std::size_t end =
          step + 1 == steps_.end()
              ? codes.size()
              : std::min<std::size_t>(codes.size(), (step + 1)->first - magnitude);
      std::uint8_t expected = step->code;
      const bool unsigned_code = codec_.format == Format::hif8 && expected % 0x80 == 0;
      if (negative && !unsigned_code) expected |= 0x80;
      const auto segment = std::span(codes).subspan(i, end - i);
      i = end;
      if (std::ranges::count(segment, expected) == std::ssize(segment)) continue;
      for (const std::uint8_t& code : segment)
        if (!oracle::same(codec_.format, code, expected))
          return report(first, static_cast<std::size_t>(&code - codes.data()), code, expected);
    }
  }

  void report(std::uint32_t first, std::size_t i, std::uint8_t got, std::uint8_t expected) {
    const std::lock_guard lock(mutex_);
    wrong_ = true;
    first_wrong_ =
        same_code(codec_, first + static_cast<std::uint32_t>(i), got, expected).message();
  }

  Codec codec_;
  std::vector<oracle::Step> steps_;
  std::mutex mutex_;
  std::atomic<bool> wrong_ = false;
  std::string first_wrong_;
};

class FormatsSlow : public ::testing::TestWithParam<Codec> {};

TEST_P(FormatsSlow, ScalarCodecOnEveryFloat32) {
  const Codec codec = GetParam();
  Sweep(codec).run([&](std::uint32_t first, std::span<std::uint8_t> codes) {
    for (std::size_t i = 0; i < codes.size(); ++i)
      codes[i] = encode_bits(codec, Source::f32, first + static_cast<std::uint32_t>(i));
  });
}

TEST_P(FormatsSlow, CpuOnEveryFloat32) {
  // Without an instruction set the scalar codec runs, which is swept above.
  const Codec codec = GetParam();
  const auto sweep = [&] {
    Sweep(codec).run([&](std::uint32_t first, std::span<std::uint8_t> codes) {
      thread_local std::vector<float> x;
      x.resize(codes.size());
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = std::bit_cast<float>(first + static_cast<std::uint32_t>(i));
      encode<Backend::cpu>(codec, x, codes, 1, 1);
    });
  };
  with_each_target<Backend::cpu>(sweep, HWY_TARGETS & ~(HWY_SCALAR | HWY_EMU128));
}

std::string name_of(const ::testing::TestParamInfo<Codec>& instance) {
  std::string name = oracle::describe(instance.param);
  std::ranges::replace(name, ' ', '_');
  return name;
}

/// What the threads of the kernels compute, without the threads.
template <Way way>
void sweep_places(const Codec& codec) {
  const Quantize<float, way, std::uint8_t> kernel{.codec = codec};
  std::vector<std::uint64_t> memory(kernel.shared_bytes() / 8 + 1);
  const auto tables = kernel.tables_in(reinterpret_cast<unsigned char*>(memory.data()));
  for (int thread = 0; thread < kernel.threads; ++thread) kernel.fill(tables, thread, 1);
  Sweep(codec).run([&](std::uint32_t first, std::span<std::uint8_t> codes) {
    for (std::size_t i = 0; i < codes.size(); i += 4) {
      const std::uint32_t bits = first + static_cast<std::uint32_t>(i);
      const auto four = kernel.results(tables, {{bits, bits + 1, bits + 2, bits + 3}}, 1, 0);
      std::memcpy(&codes[i], &four, 4);
    }
  });
}

class CodecKernelsSlow : public ::testing::TestWithParam<Codec> {};

TEST_P(CodecKernelsSlow, PlacesOnEveryFloat32) {
  if (way_of(GetParam()) == Way::ties_away)
    sweep_places<Way::ties_away>(GetParam());
  else
    sweep_places<Way::ties_even>(GetParam());
}

std::vector<Codec> codecs_to_nearest() {
  auto codecs = oracle::codecs();
  std::erase_if(codecs, [](const Codec& codec) { return way_of(codec) == Way::scalar; });
  return codecs;
}
INSTANTIATE_TEST_SUITE_P(All, CodecKernelsSlow, ::testing::ValuesIn(codecs_to_nearest()), name_of);

INSTANTIATE_TEST_SUITE_P(All, FormatsSlow,
                         ::testing::Values(Codec{Format::hif8, Rounding::ta, Overflow::ieee},
                                           Codec{Format::hif8, Rounding::ta, Overflow::saturate},
                                           Codec{Format::e4m3, Rounding::rne, Overflow::ieee},
                                           Codec{Format::e4m3, Rounding::rne, Overflow::saturate},
                                           Codec{Format::e5m2, Rounding::rne, Overflow::ieee},
                                           Codec{Format::e5m2, Rounding::rne, Overflow::saturate}),
                         name_of);

}  // namespace
}  // namespace ospsim
