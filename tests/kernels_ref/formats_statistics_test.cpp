// What rounding does on average: stochastic rounding's odds, and bias and noise in closed form.

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "kernels_ref/formats/codec.hpp"
#include "tests/kernels_ref/formats_support.hpp"

namespace ospsim {
namespace {

// ---- Stochastic rounding -----------------------------------------------------------------------

constexpr Codec stochastic(Format format, Overflow overflow = Overflow::ieee,
                           std::uint64_t seed = 1) {
  return {format, Rounding::stochastic, overflow, seed};
}

constexpr Format float_formats[] = {Format::hif8, Format::e4m3, Format::e5m2};

TEST(Stochastic, ChoosesBetweenTheTwoNeighbours) {
  for (const Format format : float_formats)
    for (const Overflow overflow : {Overflow::ieee, Overflow::saturate}) {
      const Codec codec = stochastic(format, overflow);
      std::uint64_t element = 0;
      const auto check = [&](Source source, std::uint32_t bits) {
        const double x = oracle::value_of(source, bits);
        if (!std::isfinite(x)) return true;
        const auto [down, up, fraction] = oracle::neighbours(codec, x);
        const std::uint8_t code = encode_bits(codec, source, bits, element++);
        return code == down || (code == up && fraction > 0);
      };
      for (const std::uint32_t bits : float_boundaries(format))
        for (int draw = 0; draw < 8; ++draw)
          ASSERT_TRUE(check(Source::f32, bits)) << oracle::describe(codec) << Hex{bits, 8};
      for (const std::uint32_t bits : random_patterns(200000))
        ASSERT_TRUE(check(Source::f32, bits)) << oracle::describe(codec) << Hex{bits, 8};
      for (const Source source : {Source::bf16, Source::f16})
        for (std::uint32_t bits = 0; bits < 0x10000; ++bits)
          ASSERT_TRUE(check(source, bits)) << oracle::describe(codec) << Hex{bits, 4};
    }
}

TEST(Stochastic, SpecialsDoNotDependOnTheDraw) {
  for (const Format format : float_formats)
    for (const Overflow overflow : {Overflow::ieee, Overflow::saturate}) {
      const Codec codec = stochastic(format, overflow);
      const Codec nearest{format, Rounding::rne, overflow};
      for (const std::uint32_t bits : {0u, 0x80000000u, 0x7f800000u, 0xff800000u, 0x7fc00000u,
                                       0x7f7fffffu, 0xff7fffffu, 0x48000000u, 0xc8000000u})
        for (std::uint64_t element = 0; element < 1000; ++element)
          ASSERT_TRUE(same_code(codec, bits, encode_bits(codec, Source::f32, bits, element),
                                oracle::encode(nearest, Source::f32, bits)));
    }
}

TEST(Stochastic, RoundsUpAsOftenAsTheDiscardedFractionSays) {
  constexpr int draws = 40000;
  for (const Format format : float_formats)
    for (const std::uint64_t seed : {0ull, 1ull, 0x9e3779b97f4a7c15ull})
      for (const float x : {1.03f, 1.0625f, 1.9999f, -5.3f, 17.1f, -300.7f, 0x1.8p-3f, 0x1.1p-9f,
                            0x1.8p-10f, -0x1.3p-15f, 0x1.23p-17f, 0x1p-20f, 0x1p-24f, 430.0f}) {
        const Codec codec = stochastic(format, Overflow::saturate, seed);
        const auto [down, up, p] = oracle::neighbours(codec, static_cast<double>(x));
        int ups = 0;
        for (std::uint64_t element = 0; element < draws; ++element)
          ups += encode(codec, x, element) != down;
        if (up == down) {
          EXPECT_EQ(ups, 0);
          continue;
        }
        const double four_errors = 4 * std::sqrt(p * (1 - p) / draws);
        EXPECT_NEAR(static_cast<double>(ups) / draws, p, four_errors)
            << oracle::describe(codec) << " " << x << " seed " << seed;
      }
}

TEST(Stochastic, SaturatesAtTheTop) {
  struct Top {
    Format format;
    float x;  // halfway past the largest number
    std::uint8_t largest, overflowed;
  };
  for (const auto& [format, x, largest_code, overflowed] :
       {Top{Format::hif8, 40960, 0x6e, 0x6f}, Top{Format::e4m3, 464, 0x7e, 0x7f},
        Top{Format::e5m2, 61440, 0x7b, 0x7c}}) {
    int overflows = 0;
    for (std::uint64_t element = 0; element < 10000; ++element) {
      EXPECT_EQ(encode(stochastic(format, Overflow::saturate), x, element), largest_code);
      EXPECT_EQ(encode(stochastic(format, Overflow::saturate), -x, element), largest_code | 0x80);
      overflows += encode(stochastic(format), x, element) == overflowed;
    }
    EXPECT_NEAR(overflows, 5000, 200);
  }
}

TEST(Stochastic, TheDrawDependsOnSeedAndElementOnly) {
  // One draw rounds up exactly the numbers whose discarded fraction exceeds it, in every format and
  // binade: so the fractions n / 64 that go up are those above one threshold, the same everywhere.
  const auto first_up = [](Format format, std::uint64_t seed, std::uint64_t element, float unit,
                           float low) {
    int n = 1;
    while (n < 64) {
      const float x = low + unit * static_cast<float>(n) / 64;
      const Codec codec = stochastic(format, Overflow::ieee, seed);
      if (encode(codec, x, element) != encode(codec, low, element)) break;
      ++n;
    }
    return n;
  };
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    for (std::uint64_t element = 0; element < 200; ++element) {
      const int expected = first_up(Format::hif8, seed, element, 0.125f, 1.0f);
      EXPECT_EQ(first_up(Format::hif8, seed, element, -16.0f, -64.0f), expected);
      EXPECT_EQ(first_up(Format::hif8, seed, element, 0x1p-22f, 0.0f), expected);
      EXPECT_EQ(first_up(Format::e4m3, seed, element, 32.0f, 256.0f), expected);
      EXPECT_EQ(first_up(Format::e5m2, seed, element, 0x1p-16f, 0x1p-16f), expected);
    }
}

TEST(Stochastic, DrawsOfNeighboursAndOfOtherSeedsAreIndependent) {
  constexpr std::uint64_t draws = 40000;
  const auto up = [](std::uint64_t seed, std::uint64_t element) {
    return encode(stochastic(Format::hif8, Overflow::ieee, seed), 1.0625f, element) != 0x08;
  };
  // Two independent draws agree half of the time.
  const double four_errors = 4 * std::sqrt(0.25 * draws);
  for (const std::uint64_t lag : {1ull, 2ull, 3ull, 32ull, 128ull, 1ull << 32}) {
    int agree = 0, agree_across_seeds = 0;
    for (std::uint64_t element = 0; element < draws; ++element) {
      agree += up(7, element) == up(7, element + lag);
      agree_across_seeds += up(7, element) == up(7 + lag, element);
    }
    EXPECT_NEAR(agree, draws / 2, four_errors) << lag;
    EXPECT_NEAR(agree_across_seeds, draws / 2, four_errors) << lag;
  }
}

// ---- Bias and noise ----------------------------------------------------------------------------

constexpr Codec ta{Format::hif8, Rounding::ta};

double rounded(const Codec& codec, float x) {
  return static_cast<double>(decode(codec.format, encode(codec, x)));
}

/// Calls f(E, w) for the exponents of HiF8 below its overflow.
template <class F>
void for_each_binade(const F& f) {
  for (int e = -22; e <= 14; ++e) f(e, e < -15 ? 0 : std::abs(e) > 7 ? 1 : std::abs(e) > 3 ? 2 : 3);
}

TEST(Hif8Statistics, BiasOfBfloat16IsExactlyAPowerOfTwoOfTheLastPlace) {
  for_each_binade([](int e, int w) {
    double away = 0, even = 0;
    for (std::uint32_t fraction = 0; fraction < 128; ++fraction) {
      const Bfloat16 x{
          static_cast<std::uint16_t>(static_cast<std::uint32_t>(e + 127) << 7 | fraction)};
      const double value = static_cast<double>(to_float(x)), ulp = std::ldexp(1, e - w);
      const Codec rne{Format::hif8, Rounding::rne};
      away += (static_cast<double>(decode(Format::hif8, encode(ta, x))) - value) / ulp;
      even += (static_cast<double>(decode(Format::hif8, encode(rne, x))) - value) / ulp;
    }
    EXPECT_EQ(away / 128, std::ldexp(1, w - 8)) << e;  // 1/32, 1/64, 1/128, 1/256
    // Ties to even leave none, but for binades of a single number, where one tie decides.
    EXPECT_EQ(even / 128, w > 0 ? 0 : (e % 2 == 0 ? 1 : -1) * std::ldexp(1, -8)) << e;
  });
}

TEST(Hif8Statistics, LargestRelativeErrorOfABinade) {
  for_each_binade([](int e, int w) {
    const double denominator = (2 << w) + 1;  // 17, 9, 5, 3
    double worst = 0;
    for (std::uint32_t fraction = 0; fraction < 1024; ++fraction) {
      const double x = std::ldexp(1 + fraction / 1024.0, e);
      const double error = std::abs(rounded(ta, static_cast<float>(x)) - x) / x;
      EXPECT_LE(error * denominator, 1 + 1e-15);
      worst = std::max(worst, error);
    }
    EXPECT_DOUBLE_EQ(worst, 1 / denominator) << e;
  });
}

TEST(Hif8Statistics, NoiseOfAUniformBinade) {
  // At the middles of n equal parts of every spacing the mean squared error of rounding is
  // (1 - 1/n^2) / 12 of the spacing squared, and so on for the power of the signal: both exact.
  for_each_binade([](int e, int w) {
    const int points = 4096, n = points >> w;
    double noise = 0, power = 0;
    for (int i = 0; i < points; ++i) {
      const double x = std::ldexp(1 + (i + 0.5) / points, e);
      const double error = rounded(ta, static_cast<float>(x)) - x;
      noise += error * error;
      power += x * x;
    }
    const double noise_of_points = 1 - 1.0 / n / n;
    const double power_of_points = 1 - 1.0 / (28.0 * points * points);
    const double ratio = noise / noise_of_points / (power / power_of_points);
    EXPECT_NEAR(ratio * 28 * std::pow(4, w), 1, 1e-12) << e;
    constexpr double published_db[] = {14.47, 20.49, 26.51, 32.53};
    EXPECT_NEAR(-10 * std::log10(ratio), published_db[w], 0.005);
  });
}

TEST(FormatsStatistics, GaussianSignalToNoiseRatio) {
  const auto sqnr_db = [](const Codec& codec) {
    constexpr double step = 0x1p-16;
    double noise = 0, power = 0;
    for (double x = step / 2; x < 8; x += step) {
      const double density = std::exp(-x * x / 2);
      const double error = rounded(codec, static_cast<float>(x)) - x;
      noise += error * error * density;
      power += x * x * density;
    }
    return 10 * std::log10(power / noise);
  };
  EXPECT_NEAR(sqnr_db(ta), 31.516, 0.001);
  EXPECT_NEAR(sqnr_db({Format::e4m3, Rounding::rne}), 31.521, 0.001);
  EXPECT_NEAR(sqnr_db({Format::e5m2, Rounding::rne}), 25.543, 0.001);
}

}  // namespace
}  // namespace ospsim
