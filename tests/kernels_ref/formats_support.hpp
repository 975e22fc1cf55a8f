#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <iomanip>
#include <random>
#include <vector>

#include "kernels_ref/formats/wide_float.hpp"
#include "tests/kernels_ref/formats_oracle.hpp"

namespace ospsim {

struct Hex {
  std::uint32_t value;
  int digits = 2;
  friend std::ostream& operator<<(std::ostream& out, Hex hex) {
    const auto flags = out.flags();
    out << "0x" << std::hex << std::setfill('0') << std::setw(hex.digits) << hex.value;
    out.flags(flags);
    return out;
  }
};

inline void PrintTo(const Codec& codec, std::ostream* out) {
  *out << oracle::describe(codec);
}

inline ::testing::AssertionResult same_code(const Codec& codec, std::uint32_t bits,
                                            std::uint8_t got, std::uint8_t expected) {
  if (oracle::same(codec.format, got, expected)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << oracle::describe(codec) << ": " << Hex{bits, 8}
                                       << " became " << Hex{got} << ", not " << Hex{expected};
}

/// Where the codes change in float32: the values, the midpoints of neighbours and the one after the
/// largest, each with its neighbours up to two steps away, and with both signs.
inline std::vector<std::uint32_t> float_boundaries(Format format) {
  std::vector<std::uint32_t> result;
  const auto add = [&](double value) {
    if (value >= std::ldexp(1, 128)) value = INFINITY;
    const auto bits =
        static_cast<std::int64_t>(std::bit_cast<std::uint32_t>(static_cast<float>(value)));
    for (std::int64_t b = std::max<std::int64_t>(bits - 2, 0); b <= bits + 2; ++b)
      for (const std::uint32_t sign : {0u, 0x80000000u})
        result.push_back(static_cast<std::uint32_t>(b) | sign);
  };
  const auto ladder = oracle::ladder(format);
  for (std::size_t i = 0; i < ladder.size(); ++i) {
    add(ladder[i]);
    if (i + 1 < ladder.size()) add((ladder[i] + ladder[i + 1]) / 2);
  }
  for (const double value : {0.0, std::ldexp(1, -126), std::ldexp(1, 127), HUGE_VAL}) add(value);
  return result;
}

inline std::vector<std::uint32_t> random_patterns(std::size_t count, std::uint64_t seed = 1) {
  std::mt19937_64 generator(seed);
  std::vector<std::uint32_t> result(count);
  for (auto& bits : result) bits = static_cast<std::uint32_t>(generator());
  return result;
}

inline constexpr Source sources[] = {Source::f32, Source::bf16, Source::f16};

}  // namespace ospsim
