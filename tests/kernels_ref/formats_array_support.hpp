#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/formats/codec.hpp"
#include "tests/kernels_ref/formats_support.hpp"

namespace ospsim {

template <class T>
constexpr Source source_of = std::is_same_v<T, float>      ? Source::f32
                             : std::is_same_v<T, Bfloat16> ? Source::bf16
                                                           : Source::f16;

template <class T>
T from_bits(std::uint32_t bits) {
  if constexpr (std::is_same_v<T, float>)
    return std::bit_cast<float>(bits);
  else
    return T{static_cast<std::uint16_t>(bits)};
}
template <class T>
std::uint32_t pattern(T x) {
  if constexpr (std::is_same_v<T, float>)
    return std::bit_cast<std::uint32_t>(x);
  else
    return x.bits;
}

/// To the nearest T, ties to even. x must be a float32 where T is not float.
template <class T>
T rounded_to(double x) {
  if constexpr (std::is_same_v<T, float>)
    return static_cast<float>(x);
  else
    return T{std::is_same_v<T, Bfloat16> ? oracle::bf16_of(x) : oracle::f16_of(x)};
}

/// float32 division, by way of double, which rounds the same.
inline float divided(float a, float b) {
  return static_cast<float>(static_cast<double>(a) / static_cast<double>(b));
}
inline float times(float a, float b) {
  return static_cast<float>(static_cast<double>(a) * static_cast<double>(b));
}

/// Equal bit by bit, or both NaN; the index of the first that is not, or -1.
template <class T>
std::int64_t first_difference(std::span<const T> a, std::span<const T> b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (pattern(a[i]) == pattern(b[i])) continue;
    if (!std::isnan(to_float(a[i])) || !std::isnan(to_float(b[i])))
      return static_cast<std::int64_t>(i);
  }
  return -1;
}

template <class T>
::testing::AssertionResult same_numbers(const std::vector<T>& got, const std::vector<T>& expected) {
  if (got.size() != expected.size()) return ::testing::AssertionFailure() << "sizes differ";
  const auto i = static_cast<std::size_t>(first_difference<T>(got, expected));
  if (i == static_cast<std::size_t>(-1)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "element " << i << " is " << Hex{pattern(got[i]), 8}
                                       << ", not " << Hex{pattern(expected[i]), 8};
}

/// A tensor in MXFP8, and what it is to be by the standard and the choices of mxfp8.hpp. The last
/// row may be shorter.
struct MxTensor {
  std::vector<std::uint8_t> codes, scales;
};

template <class T>
MxTensor expected_mx(const MxCodec& codec, std::size_t columns, std::span<const T> x) {
  MxTensor result;
  const Codec element{codec.element, Rounding::rne, Overflow::saturate};
  for (; !x.empty(); x = x.subspan(std::min(columns, x.size()))) {
    const auto row = x.first(std::min(columns, x.size()));
    for (std::size_t first = 0; first < row.size(); first += 32) {
      const auto block = row.subspan(first, std::min<std::size_t>(32, row.size() - first));
      double amax = 0;
      for (const T value : block)
        if (const auto v = static_cast<double>(to_float(value)); std::isfinite(v))
          amax = std::max(amax, std::abs(v));
      const double scale = amax == 0 ? 0x1p-127 : oracle::mx_scale(codec, amax);
      result.scales.push_back(static_cast<std::uint8_t>(std::ilogb(scale) + 127));
      for (const T value : block)
        result.codes.push_back(
            oracle::encode(element, static_cast<double>(to_float(value)) / scale));
    }
  }
  return result;
}

/// All patterns of 16 bits; or the boundaries of the formats and random patterns of 32.
template <class T>
std::vector<T> test_inputs() {
  std::vector<T> x;
  if constexpr (std::is_same_v<T, float>) {
    for (const Format format : {Format::hif8, Format::e4m3, Format::e5m2, Format::e8m0})
      for (const std::uint32_t bits : float_boundaries(format)) x.push_back(from_bits<T>(bits));
    for (const std::uint32_t bits : random_patterns(30011)) {
      x.push_back(from_bits<T>(bits));
      const std::uint32_t exponent = 127 - 25 + (bits >> 23 & 0xff) * 43 / 256;
      x.push_back(from_bits<T>((bits & 0x807fffffu) | exponent << 23));
    }
  } else {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) x.push_back(from_bits<T>(bits));
  }
  return x;
}

/// A span somewhere inside a larger buffer, whose other elements must keep what they held.
template <class T>
class Guarded {
 public:
  Guarded(std::size_t size, std::size_t offset)
      : buffer_(size + offset + 2 * guard, poison()), first_(guard + offset), size_(size) {}
  std::span<T> span() { return std::span(buffer_).subspan(first_, size_); }
  bool intact() const {
    for (std::size_t i = 0; i < buffer_.size(); ++i)
      if ((i < first_ || i >= first_ + size_) && !(buffer_[i] == poison())) return false;
    return true;
  }

 private:
  static constexpr std::size_t guard = 80;
  static T poison() {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(0x5a);
    else
      return from_bits<T>(0x5a5a);
  }
  std::vector<T> buffer_;
  std::size_t first_, size_;
};

/// Calls f() once, or on the cpu back end once with each instruction set that is compiled and that
/// this machine has (EMU128 stands for none of them); not at all once the test has failed.
template <Backend B, class F>
void with_each_target(const F& f, std::int64_t targets = HWY_TARGETS | HWY_EMU128) {
  if (::testing::Test::HasFatalFailure()) return;
  if constexpr (B == Backend::cpu) {
    for (std::int64_t left = hwy::SupportedTargets() & targets; left != 0; left &= left - 1) {
      const std::int64_t target = left & -left;
      hwy::SetSupportedTargetsForTest(target);
      SCOPED_TRACE(hwy::TargetName(target));
      f();
    }
    hwy::SetSupportedTargetsForTest(0);
  } else {
    f();
  }
}

/// One back end and one element type, for typed tests.
template <Backend B, class T>
struct Case {
  static constexpr Backend backend = B;
  using Type = T;
};

template <class C>
class OnBackend : public ::testing::Test {
 protected:
  void SetUp() override {
    if constexpr (C::backend == Backend::cuda)
      if (const CudaStatus status = cuda_status(); !status.available) GTEST_SKIP() << status.reason;
  }
};

struct CaseName {
  template <class C>
  static std::string GetName(int) {
    constexpr const char* backends[] = {"Naive", "Cpu", "Cuda"};
    constexpr const char* types[] = {"Float", "Bfloat16", "Float16"};
    return std::string(backends[static_cast<int>(C::backend)]) +
           types[static_cast<int>(source_of<typename C::Type>)];
  }
};

// The device's cases are a program of their own, so that they are skipped as one.
#ifdef OSPSIM_TEST_ON_DEVICE
using Cases = ::testing::Types<Case<Backend::cuda, float>, Case<Backend::cuda, Bfloat16>,
                               Case<Backend::cuda, Float16>>;
#else
using Cases = ::testing::Types<Case<Backend::naive, float>, Case<Backend::naive, Bfloat16>,
                               Case<Backend::naive, Float16>, Case<Backend::cpu, float>,
                               Case<Backend::cpu, Bfloat16>, Case<Backend::cpu, Float16>>;
#endif

}  // namespace ospsim
