#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "analysis/distribution.hpp"
#include "analysis/downstream_error.hpp"
#include "analysis/quantization_error.hpp"
#include "analysis/quantization_study.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/codec.hpp"
#include "kernels_ref/formats/scaling.hpp"

namespace ospsim {
namespace {

using Floats = std::vector<float>;
using Codes = std::vector<std::uint8_t>;
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinite = std::numeric_limits<float>::infinity();

double expected(const char* format, const std::string& distribution, double scale = 1) {
  return expected_sqnr_db(parse_number_format(format), scale, parse_distribution(distribution))
      .value();
}
double decibels(double signal_over_noise) {
  return 10 * std::log10(signal_over_noise);
}

Quantization recipe(const char* format, const char* scaling) {
  return default_quantization(parse_number_format(format), parse_scaling(scaling));
}

Floats drawn(const std::string& distribution, std::uint64_t seed, std::size_t size,
             std::int64_t columns = 1024, int threads = 1) {
  Floats x(size);
  sample(parse_distribution(distribution), seed, columns, 0, x, threads);
  return x;
}

// ---- The closed form ---------------------------------------------------------------------------

TEST(ClosedForm, StandardNormalData) {
  EXPECT_NEAR(expected("hif8", "normal:0,1"), 31.516, 1e-3);
  EXPECT_NEAR(expected("e4m3", "normal:0,1"), 31.521, 1e-3);
  EXPECT_NEAR(expected("e5m2", "normal:0,1"), 25.543, 1e-3);
}

TEST(ClosedForm, UniformWithinABinade) {
  // h^2 / 12 of noise for a spacing h = 2^(e-w), 7/3 4^e of signal.
  const auto check = [](const char* format, int e, int fraction_bits, double printed) {
    const double sqnr_db = expected(format, "binade:" + std::to_string(e));
    EXPECT_NEAR(sqnr_db, decibels(28 * std::exp2(2 * fraction_bits)), 1e-9) << format << ' ' << e;
    EXPECT_NEAR(sqnr_db, printed, .005);
  };
  for (const int e : {-3, -1, 0, 2, 3}) check("hif8", e, 3, 32.53);
  for (const int e : {-7, -4, 4, 7}) check("hif8", e, 2, 26.51);
  for (const int e : {-15, -8, 8, 14}) check("hif8", e, 1, 20.49);
  for (const int e : {-22, -19, -16}) check("hif8", e, 0, 14.47);
  for (const int e : {-6, 0, 7}) check("e4m3", e, 3, 32.53);
  for (const int e : {-14, 0, 14}) check("e5m2", e, 2, 26.51);
  EXPECT_NEAR(expected("hif8", "binade:2", 64), decibels(28 * 4), 1e-9);  // exponent 8
  EXPECT_NEAR(expected("hif8", "binade:30", 0x1p-30), decibels(28 * 64), 1e-9);
}

TEST(ClosedForm, Int8OfUniformData) {
  EXPECT_NEAR(expected("int8", "uniform:-127.5,127.5"), decibels(127.5 * 127.5 / 3 * 12), 1e-9);
  EXPECT_NEAR(expected("int8", "uniform:-1,1", 1 / 127.5), decibels(127.5 * 127.5 * 4), 1e-9);
}

TEST(ClosedForm, OfScaledDataIsThatOfDataWhichNeedNoScale) {
  for (const char* format : {"hif8", "e4m3", "e5m2"}) {
    EXPECT_NEAR(expected(format, "normal:0,12.5", .08), expected(format, "normal:0,1"), 1e-9);
    EXPECT_NEAR(expected(format, "laplace:0,.5", 6), expected(format, "laplace:0,3"), 1e-9);
  }
  EXPECT_NEAR(expected("int8", "normal:0,2", .05), expected("int8", "normal:0,40"), 1e-9);
}

TEST(ClosedForm, Hif8BeatsE4m3OnlyByRange) {
  const auto gain = [](double log2_sigma) {
    const Distribution normal{Distribution::Kind::normal, {0, std::exp2(log2_sigma)}};
    return *expected_sqnr_db(NumberFormat::hif8, 1, normal) -
           *expected_sqnr_db(NumberFormat::e4m3, 1, normal);
  };
  const auto crossing = [&](double worse, double better) {
    EXPECT_LT(gain(worse), 0);
    EXPECT_GT(gain(better), 0);
    for (int i = 0; i < 40; ++i) {
      const double middle = (worse + better) / 2;
      (gain(middle) < 0 ? worse : better) = middle;
    }
    return worse;
  };
  EXPECT_NEAR(crossing(-5, -8), -6.7, .05);
  EXPECT_NEAR(crossing(6, 9), 7.7, .05);
}

TEST(ClosedForm, IsMissingWhereThereIsNone) {
  for (const char* format : {"mxfp8-e4m3", "mxfp8-e5m2"})
    EXPECT_FALSE(
        expected_sqnr_db(parse_number_format(format), 1, parse_distribution("normal:0,1")));
  for (const char* distribution : {"student-t", "lognormal", "outliers"}) {
    EXPECT_FALSE(expected_sqnr_db(NumberFormat::hif8, 1, parse_distribution(distribution)));
    EXPECT_FALSE(partial_moments(parse_distribution(distribution), 0, 1));
  }
}

// ---- Partial moments against numerical integration ---------------------------------------------

struct Density {
  const char* distribution;
  std::function<double(double)> p;
  std::vector<double> breaks;  ///< where it begins, ends, jumps or bends
};

const std::vector<Density>& densities() {
  const auto normal = [](double mean, double sigma) {
    return [=](double t) {
      const double z = (t - mean) / sigma;
      return std::exp(-z * z / 2) / (sigma * std::sqrt(2 * M_PI));
    };
  };
  const auto within = [](double low, double high, double p) {
    return [=](double t) { return t >= low && t < high ? p : 0; };
  };
  static const std::vector<Density> all{
      {"normal:0,1", normal(0, 1), {-40, 0, 40}},
      {"normal:3,0.5", normal(3, .5), {-17, 3, 23}},
      {"laplace:-1,2", [](double t) { return std::exp(-std::abs(t + 1) / 2) / 4; }, {-90, -1, 90}},
      {"uniform:-1,3", within(-1, 3, .25), {-1, 3}},
      {"binade:-2",
       [=](double t) { return within(.25, .5, 2)(std::abs(t)); },
       {-.5, -.25, .25, .5}}};
  return all;
}

/// Simpson's rule between the breaks; the integrand is evaluated just inside of them.
double integral(const std::function<double(double)>& f, std::vector<double> breaks, double from,
                double to) {
  from = std::max(from, breaks.front());
  to = std::min(to, breaks.back());
  if (!(from < to)) return 0;
  std::erase_if(breaks, [&](double at) { return at <= from || at >= to; });
  breaks.insert(breaks.begin(), from);
  breaks.push_back(to);
  double sum = 0;
  constexpr int steps = 4000;
  for (std::size_t i = 0; i + 1 < breaks.size(); ++i) {
    const double a = std::nextafter(breaks[i], infinity), b = std::nextafter(breaks[i + 1], -1e9);
    const double h = (b - a) / steps;
    for (int s = 0; s <= steps; ++s)
      sum += f(std::min(a + s * h, b)) * h / 3 * (s == 0 || s == steps ? 1 : s % 2 == 1 ? 4 : 2);
  }
  return sum;
}

TEST(PartialMoments, AreThoseOfNumericalIntegration) {
  const std::vector<std::pair<double, double>> intervals{{-infinity, infinity},
                                                         {-infinity, -1},
                                                         {.1, infinity},
                                                         {2, 3},
                                                         {-.4, .3},
                                                         {-4, -2.5},
                                                         {7, 8},
                                                         {-9, -8},
                                                         {.45, .47}};
  for (const auto& [distribution, p, breaks] : densities())
    for (const auto& [from, to] : intervals) {
      const Moments m = partial_moments(parse_distribution(distribution), from, to).value();
      const auto check = [&](double value, double power) {
        const double reference =
            integral([&](double t) { return p(t) * std::pow(t, power); }, breaks, from, to);
        EXPECT_NEAR(value, reference, 1e-8 * std::abs(reference) + 1e-15)
            << distribution << ' ' << from << ' ' << to << " t^" << power;
      };
      check(m.probability, 0);
      check(m.mean, 1);
      check(m.square, 2);
    }
}

TEST(PartialMoments, OfPartsAddUp) {
  for (const auto& [distribution, p, breaks] : densities()) {
    const Distribution d = parse_distribution(distribution);
    Moments sum;
    double from = -infinity;
    for (const double to : {-2., -.3, 0., .3, 1., 5., infinity}) {
      sum = sum + *partial_moments(d, from, to);
      from = to;
    }
    const Moments whole = *partial_moments(d, -infinity, infinity);
    EXPECT_NEAR(sum.probability, 1, 1e-14) << distribution;
    EXPECT_NEAR(whole.probability, 1, 1e-14) << distribution;
    EXPECT_NEAR(sum.mean, whole.mean, 1e-13) << distribution;
    EXPECT_NEAR(sum.square, whole.square, 1e-12) << distribution;
  }
}

// ---- Distributions -----------------------------------------------------------------------------

TEST(Distributions, AreParsedWithTheirDefaults) {
  const std::vector<std::pair<const char*, const char*>> spelled{
      {"normal", "normal:0,1"},
      {"normal:2", "normal:2,1"},
      {"normal:-0.5,1e-3", "normal:-0.5,0.001"},
      {"laplace", "laplace:0,1"},
      {"student-t:3", "student-t:3,1"},
      {"student-t", "student-t:4,1"},
      {"uniform", "uniform:-1,1"},
      {"uniform:0", "uniform:0,1"},
      {"binade", "binade:0"},
      {"binade:-126", "binade:-126"},
      {"lognormal", "lognormal:0,1"},
      {"outliers", "outliers:1,128,30"},
      {"outliers:2,64", "outliers:2,64,30"}};
  for (const auto& [text, whole] : spelled) {
    EXPECT_EQ(to_string(parse_distribution(text)), whole) << text;
    EXPECT_EQ(to_string(parse_distribution(whole)), whole);
  }
}

TEST(Distributions, RefusalsAreOfOneLine) {
  for (const char* text : {"",
                           "gauss",
                           "Normal",
                           "normal ",
                           "normal:",
                           "normal:a",
                           "normal:1,",
                           "normal:,1",
                           "normal:0,1,2",
                           "normal:0,1,",
                           "normal:0,0",
                           "normal:0,-1",
                           "normal:nan",
                           "normal:inf,1",
                           "normal:1e31",
                           "normal:1 ",
                           "uniform:1,-1",
                           "uniform:1",
                           "uniform:1,1",
                           "binade:127",
                           "binade:1,2",
                           "binade:0.5",
                           "outliers:1,2.5",
                           "student-t:0",
                           "lognormal:0,-1",
                           "outliers:1,0",
                           "normal:0;1"}) {
    const std::string word = text;
    try {
      ADD_FAILURE() << word << " is taken for " << to_string(parse_distribution(word));
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()), "") << word;
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << word;
    }
  }
}

const std::vector<std::string> all_kinds{"normal:1,2",      "laplace:0,1",   "student-t:3,1",
                                         "uniform:-2,5",    "binade:3",      "lognormal:0,2",
                                         "outliers:1,7,30", "outliers:1,128"};

TEST(Sample, DependsOnSeedAndIndexAlone) {
  constexpr std::size_t size = 3 * 8192 + 11;
  for (const auto& kind : all_kinds) {
    const Floats whole = drawn(kind, 5, size, 100);
    EXPECT_EQ(drawn(kind, 5, size, 100, 2), whole) << kind;
    EXPECT_EQ(drawn(kind, 5, size, 100, 7), whole) << kind;
    EXPECT_NE(drawn(kind, 6, size, 100), whole) << kind;
    EXPECT_NE(drawn(kind, 5 + (std::uint64_t{1} << 32), size, 100), whole) << kind;
    Floats pieces(size);
    std::size_t first = 0;
    for (const std::size_t last : {1ul, 100ul, 8191ul, 8192ul, 8193ul, 20000ul, size}) {
      sample(parse_distribution(kind), 5, 100, static_cast<std::int64_t>(first),
             std::span(pieces).subspan(first, last - first), 2);
      first = last;
    }
    EXPECT_EQ(pieces, whole) << kind;
    // No piece repeats another.
    EXPECT_FALSE(std::equal(whole.begin(), whole.begin() + 8192, whole.begin() + 8192)) << kind;
  }
  sample(parse_distribution("normal"), 5, 100, 12345, {}, 2);
}

TEST(Sample, FallsWhereItsDensitySays) {
  constexpr std::size_t size = 100000;
  for (const auto& [distribution, p, breaks] : densities()) {
    const Floats x = drawn(distribution, 17, size);
    for (const auto& [from, to] : std::vector<std::pair<double, double>>{
             {-infinity, 0}, {-1, -.3}, {.25, .375}, {.4, 1}, {1, infinity}}) {
      const double share = integral(p, breaks, from, to);
      const auto count =
          std::count_if(x.begin(), x.end(), [&](float v) { return v >= from && v < to; });
      EXPECT_NEAR(static_cast<double>(count) / size, share,
                  4 * std::sqrt(share * (1 - share) / size) + 1e-12)
          << distribution << ' ' << from << ' ' << to;
    }
  }
}

TEST(Sample, OtherKindsHaveTheirMoments) {
  constexpr std::size_t size = 100000;
  const auto mean_square = [&](const Floats& x, const auto& f) {
    double sum = 0;
    for (const float v : x) sum += std::pow(f(v), 2) / static_cast<double>(x.size());
    return sum;
  };
  const auto itself = [](double v) { return v; };
  // Variance v / (v - 2) of Student's t, here 1.25 times 4.
  EXPECT_NEAR(mean_square(drawn("student-t:10,2", 3, size), itself), 5, .1);
  const Floats skewed = drawn("lognormal:1,0.5", 3, size);
  EXPECT_NEAR(mean_square(skewed, [](double v) { return std::log(std::abs(v)) - 1; }), .25, .01);
  EXPECT_NEAR(static_cast<double>(
                  std::count_if(skewed.begin(), skewed.end(), [](float v) { return v < 0; })),
              size / 2., 4 * std::sqrt(size / 4.));
}

TEST(Sample, OutliersFillOneColumnInN) {
  // Columns 0, 4 and 8 of rows of 10, in every row.
  const Floats x = drawn("outliers:2,4,1000", 9, 10 * 3000, 10);
  for (std::size_t column = 0; column < 10; ++column) {
    double square = 0;
    for (std::size_t i = column; i < x.size(); i += 10) square += x[i] * x[i] / 3000.;
    const double sigma = column % 4 == 0 ? 2000 : 2;
    EXPECT_NEAR(std::sqrt(square), sigma, .07 * sigma) << column;
  }
}

// ---- Sampled against closed form ---------------------------------------------------------------

/// What saturating Q(x s) / s makes of x, one element after another; for int8 s is d.
QuantizationError error_of(NumberFormat number, float scale, const Floats& x,
                           Overflow overflow = Overflow::saturate) {
  QuantizationError error(number);
  const Format format = number == NumberFormat::hif8   ? Format::hif8
                        : number == NumberFormat::e4m3 ? Format::e4m3
                                                       : Format::e5m2;
  const Codec codec{.format = format, .rounding = default_rounding(format), .overflow = overflow};
  Floats y;
  Codes codes;
  for (const float v : x) {
    if (number == NumberFormat::int8) {
      const auto q = static_cast<std::int8_t>(
          std::isnan(v) ? 0 : std::clamp(std::nearbyint(v / scale), -127.0f, 127.0f));
      codes.push_back(static_cast<std::uint8_t>(q));
      y.push_back(static_cast<float>(q) * scale);
    } else {
      codes.push_back(encode(codec, v * scale));
      y.push_back(decode(format, codes.back()) / scale);
    }
  }
  error.add(x, y, codes);
  return error;
}

TEST(SampledSqnr, IsTheClosedFormWithinThreeStandardErrors) {
  const auto check = [](const char* format, const std::string& distribution, float scale) {
    const auto error = error_of(parse_number_format(format), scale, drawn(distribution, 4, 40000));
    EXPECT_GT(error.sqnr_db_standard_error(), 0);
    EXPECT_LT(error.sqnr_db_standard_error(), .2) << format << ' ' << distribution << ' ' << scale;
    EXPECT_NEAR(error.sqnr_db(), expected(format, distribution, scale),
                3 * error.sqnr_db_standard_error())
        << format << ' ' << distribution << ' ' << scale;
  };
  for (const char* format : {"hif8", "e4m3", "e5m2"}) {
    for (const char* distribution : {"normal:0,1", "normal:0,0.01", "normal:0,100", "normal:2,0.5",
                                     "laplace:0,1", "laplace:0,0.02", "laplace:1,5", "uniform:-1,1",
                                     "uniform:3,90", "binade:0", "binade:5", "binade:-5"})
      for (const float scale : {1.0f, 3.7f, .125f}) check(format, distribution, scale);
  }
  // A few clipped elements would make up all the noise, and say little of how much there is.
  for (const char* distribution : {"normal:0,1", "uniform:-1,1", "uniform:0,9", "binade:0"})
    for (const float d : {.125f, .05f}) check("int8", distribution, d);
  check("int8", "laplace:0,1", .125f);
}

TEST(SampledSqnr, StandardErrorIsTheSpreadOverSeeds) {
  constexpr int seeds = 200;
  const auto check = [](const char* format, const char* distribution, float scale) {
    double sum = 0, squares = 0, claimed = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      const auto error =
          error_of(parse_number_format(format), scale, drawn(distribution, seed, 2000));
      sum += error.sqnr_db();
      squares += std::pow(error.sqnr_db(), 2);
      claimed += error.sqnr_db_standard_error() / seeds;
    }
    const double spread = std::sqrt((squares - sum * sum / seeds) / (seeds - 1));
    EXPECT_NEAR(claimed / spread, 1, .2) << format << ' ' << distribution;
  };
  check("hif8", "normal:0,1", 1);
  check("hif8", "laplace:0,1", 1);
  check("e4m3", "uniform:-1,1", 1);
  check("e5m2", "normal:0,1", 1);
  check("int8", "normal:0,1", .05f);
}

// ---- Error statistics of hand-sized tensors ----------------------------------------------------

TEST(QuantizationErrors, OfAFewNumbers) {
  const float below = std::nextafter(40960.0f, 0.0f);
  const Floats x{0,     0x1p-24f, 0x1p-23f, 32768,   below,       40960,
                 65536, -40960,   infinite, 0x1.1p0, not_a_number};
  const Floats y{0, 0, 0x1p-22f, 32768, 32768, 32768, 32768, -32768, 32768, 0x1.2p0f, not_a_number};
  const Codes codes{0x00, 0x00, 0x01, 0x6e, 0x6e, 0x6e, 0x6e, 0xee, 0x6e, 0x09, 0x80};
  QuantizationError error(NumberFormat::hif8);
  error.add(x, y, codes);
  EXPECT_EQ(error.max_abs_error(), 32768);
  EXPECT_EQ(error.max_relative_error(), 1);
  EXPECT_EQ(error.underflow_fraction(), 1. / 8);
  EXPECT_EQ(error.overflow_fraction(), 3. / 9);
  EXPECT_EQ(error.nan_count(), 1);
  EXPECT_EQ(error.codes_used(), 6);
  EXPECT_EQ(error.codes()[0x6e], 5);
  EXPECT_EQ(error.codes()[0x80], 1);
  double entropy = 0;
  for (const double count : {2., 1., 5., 1., 1., 1.}) entropy += count / 11 * std::log2(11 / count);
  EXPECT_NEAR(error.code_entropy_bits(), entropy, 1e-14);
}

TEST(QuantizationErrors, RelativeErrorAndDecibels) {
  QuantizationError error(NumberFormat::hif8);
  error.add(Floats{3, 4, 0}, Floats{3, 4.5f, 0}, Codes{1, 2, 0});
  EXPECT_DOUBLE_EQ(error.relative_l2(), .1);
  EXPECT_DOUBLE_EQ(error.sqnr_db(), 20);
  EXPECT_EQ(error.max_abs_error(), .5);
  EXPECT_EQ(error.max_relative_error(), .125);
}

TEST(QuantizationErrors, StandardErrorByHand) {
  // Signals 1, 4, 9 and noises 1/4, 0, 1: of log(N/S), sum (n_i / N - s_i / S)^2 x 3/2.
  QuantizationError error(NumberFormat::hif8);
  error.add(Floats{1, 2, 3}, Floats{1.5f, 2, 4}, Codes{1, 2, 3});
  double sum = 0;
  for (const auto& [s, n] : std::vector<std::pair<double, double>>{{1, .25}, {4, 0}, {9, 1}})
    sum += std::pow(n / 1.25 - s / 14, 2);
  EXPECT_NEAR(error.sqnr_db_standard_error(), 10 / std::log(10) * std::sqrt(1.5 * sum), 1e-12);
}

TEST(QuantizationErrors, OverflowBeginsWhereNumbersAreTooLarge) {
  struct Threshold {
    const char* format;
    float scale, inside, outside;
  };
  const float up = infinite;
  for (const auto& [format, scale, inside, outside] :
       std::vector<Threshold>{{"hif8", 1, std::nextafter(40960.0f, 0.0f), 40960},
                              {"hif8", 4, std::nextafter(10240.0f, 0.0f), 10240},
                              {"e4m3", 1, 464, std::nextafter(464.0f, up)},
                              {"e4m3", .5f, 928, std::nextafter(928.0f, up)},
                              {"e5m2", 1, std::nextafter(61440.0f, 0.0f), 61440},
                              {"int8", 1, std::nextafter(127.5f, 0.0f), 127.5f},
                              {"int8", .25f, std::nextafter(31.875f, 0.0f), 31.875f}}) {
    const NumberFormat number = parse_number_format(format);
    for (const float sign : {1.0f, -1.0f}) {
      EXPECT_EQ(error_of(number, scale, {sign * inside, 1}).overflow_fraction(), 0) << format;
      EXPECT_EQ(error_of(number, scale, {sign * outside, 1}).overflow_fraction(), .5) << format;
    }
    EXPECT_EQ(error_of(number, scale, {infinite, 1, -infinite}).overflow_fraction(), 0) << format;
  }
  // One past the threshold is infinite, or NaN, where numbers do not saturate.
  for (const auto& [format, inside, outside] : std::vector<std::tuple<const char*, float, float>>{
           {"hif8", 40959, 40960}, {"e4m3", 464, 465}, {"e5m2", 61439, 61440}}) {
    const NumberFormat number = parse_number_format(format);
    EXPECT_EQ(error_of(number, 1, {inside, 1}, Overflow::ieee).overflow_fraction(), 0) << format;
    const auto error = error_of(number, 1, {outside, 1}, Overflow::ieee);
    EXPECT_EQ(error.overflow_fraction(), .5) << format;
    EXPECT_EQ(error.relative_l2(), infinity) << format;
    EXPECT_EQ(error.sqnr_db(), -infinity) << format;
    EXPECT_EQ(error.max_abs_error(), infinity) << format;
    EXPECT_EQ(error.max_relative_error(), infinity) << format;
    EXPECT_EQ(error.nan_count(), 0) << format;
  }
}

TEST(QuantizationErrors, UnderflowEndsWhereNumbersBecomeOne) {
  for (const auto& [format, inside, outside] : std::vector<std::tuple<const char*, float, float>>{
           {"hif8", std::nextafter(0x1p-23f, 0.0f), 0x1p-23f},
           {"e4m3", 0x1p-10f, std::nextafter(0x1p-10f, 1.0f)},
           {"e5m2", 0x1p-17f, std::nextafter(0x1p-17f, 1.0f)},
           {"int8", .5f, std::nextafter(.5f, 1.0f)}}) {
    const NumberFormat number = parse_number_format(format);
    EXPECT_EQ(error_of(number, 1, {inside, -inside, 0, 1}).underflow_fraction(), 2. / 3) << format;
    EXPECT_EQ(error_of(number, 1, {outside, -outside, 0, 1}).underflow_fraction(), 0) << format;
  }
}

TEST(QuantizationErrors, WithoutErrorOrElements) {
  QuantizationError none(NumberFormat::e4m3);
  QuantizationError zeros(NumberFormat::e4m3);
  zeros.add(Floats{0, -0.0f}, Floats{0, -0.0f}, Codes{0, 0});
  QuantizationError one(NumberFormat::e4m3);
  one.add(Floats{1}, Floats{1}, Codes{0x38});
  for (const auto* error : {&none, &zeros, &one}) {
    EXPECT_EQ(error->relative_l2(), 0);
    EXPECT_EQ(error->sqnr_db(), infinity);
    EXPECT_EQ(error->sqnr_db_standard_error(), 0);
    EXPECT_EQ(error->max_abs_error(), 0);
    EXPECT_EQ(error->max_relative_error(), 0);
    EXPECT_EQ(error->underflow_fraction(), 0);
    EXPECT_EQ(error->overflow_fraction(), 0);
    EXPECT_EQ(error->nan_count(), 0);
    EXPECT_EQ(error->code_entropy_bits(), 0);
  }
  EXPECT_EQ(none.codes_used(), 0);
  EXPECT_EQ(zeros.codes_used(), 1);
  QuantizationError nothing_finite(NumberFormat::e4m3);
  nothing_finite.add(Floats{not_a_number, infinite}, Floats{not_a_number, 448}, Codes{0x7f, 0x7e});
  EXPECT_TRUE(std::isnan(nothing_finite.relative_l2()));
  EXPECT_TRUE(std::isnan(nothing_finite.sqnr_db()));
  EXPECT_EQ(nothing_finite.nan_count(), 1);
  EXPECT_EQ(nothing_finite.overflow_fraction(), 0);
}

TEST(QuantizationErrors, CodesSpreadEvenlyHaveEightBits) {
  QuantizationError error(NumberFormat::int8);
  for (int code = 0; code < 256; ++code)
    error.add(Floats{0}, Floats{0}, Codes{static_cast<std::uint8_t>(code)});
  EXPECT_EQ(error.codes_used(), 256);
  EXPECT_DOUBLE_EQ(error.code_entropy_bits(), 8);
}

void expect_same(const QuantizationError& a, const QuantizationError& b, double tolerance = 0) {
  if (tolerance == 0) {
    EXPECT_EQ(a.relative_l2(), b.relative_l2());
    EXPECT_EQ(a.sqnr_db_standard_error(), b.sqnr_db_standard_error());
  } else {
    EXPECT_NEAR(a.relative_l2(), b.relative_l2(), tolerance * b.relative_l2());
    EXPECT_NEAR(a.sqnr_db_standard_error(), b.sqnr_db_standard_error(),
                tolerance * b.sqnr_db_standard_error());
  }
  EXPECT_EQ(a.max_abs_error(), b.max_abs_error());
  EXPECT_EQ(a.max_relative_error(), b.max_relative_error());
  EXPECT_EQ(a.underflow_fraction(), b.underflow_fraction());
  EXPECT_EQ(a.overflow_fraction(), b.overflow_fraction());
  EXPECT_EQ(a.nan_count(), b.nan_count());
  EXPECT_EQ(a.codes(), b.codes());
}

TEST(QuantizationErrors, OfPiecesAddUp) {
  // Small whole numbers, so that sums are exact in any order.
  Floats x, y;
  Codes codes;
  for (int i = 0; i < 1000; ++i) {
    x.push_back(static_cast<float>(i % 37 - 18));
    y.push_back(x.back() + static_cast<float>(i % 3 - 1));
    codes.push_back(static_cast<std::uint8_t>(i % 251));
  }
  x[500] = not_a_number;
  x[501] = infinite;
  QuantizationError whole(NumberFormat::hif8), pieces(NumberFormat::hif8);
  whole.add(x, y, codes);
  const auto part = [&](auto& error, std::size_t first, std::size_t n) {
    error.add(std::span(x).subspan(first, n), std::span(y).subspan(first, n),
              std::span(codes).subspan(first, n));
  };
  part(pieces, 0, 1);
  part(pieces, 1, 0);
  part(pieces, 1, 600);
  QuantizationError rest(NumberFormat::hif8);
  part(rest, 601, 399);
  pieces.add(rest);
  pieces.add(QuantizationError(NumberFormat::hif8));
  expect_same(pieces, whole);
}

TEST(TensorStatistics, CountsAndSums) {
  const Floats x{0,    -0.0f, 1,        -3,        1.5f,        not_a_number,
                 -0.5, 2,     infinite, -infinite, 0x1.8p-130f, -0x1p-149f};
  TensorStatistics statistics;
  statistics.add(std::span(x).first(5));
  TensorStatistics rest;
  rest.add(std::span(x).subspan(5));
  statistics.add(rest);
  EXPECT_EQ(statistics.elements, 12);
  EXPECT_EQ(statistics.zeros, 2);
  EXPECT_EQ(statistics.nan_count, 1);
  EXPECT_EQ(statistics.infinity_count, 2);
  EXPECT_EQ(statistics.finite(), 9);
  EXPECT_EQ(statistics.amax, 3);
  EXPECT_DOUBLE_EQ(statistics.sum, 1);
  EXPECT_DOUBLE_EQ(statistics.sum_of_squares, 1 + 9 + 2.25 + .25 + 4);
  EXPECT_EQ(statistics.binades[127], 2);  // 1 and 1.5
  EXPECT_EQ(statistics.binades[126], 1);
  EXPECT_EQ(statistics.binades[128], 2);
  EXPECT_EQ(statistics.binades[0], 2);
  std::int64_t all = 0;
  for (const auto n : statistics.binades) all += n;
  EXPECT_EQ(all, 7);
}

// ---- Whole tensors -----------------------------------------------------------------------------

using Shape = std::vector<std::int64_t>;

std::size_t product(const Shape& shape) {
  std::size_t product = 1;
  for (const auto extent : shape) product *= static_cast<std::size_t>(extent);
  return product;
}

TensorSource source_of(const Shape& shape, const Floats& x) {
  return {shape, [&x](std::int64_t first, std::span<float> values) {
            std::copy_n(x.begin() + first, values.size(), values.begin());
          }};
}
void unheard(std::int64_t) {}

TEST(MatrixViews, OfEveryNumberOfAxes) {
  const auto check = [](const Shape& shape, std::int64_t elements, std::int64_t rows,
                        std::int64_t columns, std::int64_t steps) {
    const MatrixView view = matrix_view(shape);
    EXPECT_EQ(view.elements, elements);
    EXPECT_EQ(view.rows, rows);
    EXPECT_EQ(view.columns, columns);
    EXPECT_EQ(view.steps, steps);
  };
  check({}, 1, 1, 1, 1);
  check({5}, 5, 1, 5, 1);
  check({1024}, 1024, 1, 1024, 1);
  check({1025}, 1025, 2, 1024, 2);
  check({6, 7}, 42, 6, 7, 6);
  check({2, 3, 4}, 24, 6, 4, 2);
  check({0}, 0, 0, 1, 1);
  check({0, 4}, 0, 0, 4, 1);
  check({3, 0}, 0, 0, 1, 3);
}

std::vector<Quantization> some_recipes() {
  std::vector<Quantization> all;
  for (const char* scaling :
       {"none", "tensor", "tensor-pow2", "token", "channel", "block32", "tile128", "block128x128"})
    for (const char* format : {"hif8", "e4m3", "int8"}) all.push_back(recipe(format, scaling));
  all.push_back(recipe("mxfp8-e4m3", "block32"));
  all.push_back(recipe("mxfp8-e5m2", "block32"));
  all.push_back(recipe("hif8", "tensor"));
  all.back().rounding = Rounding::stochastic;
  all.back().seed = 3;
  all.push_back(paper_backward());
  return all;
}

TEST(StudyTensor, IsWhatQuantizingTheWholeGives) {
  const auto recipes = some_recipes();
  for (const Shape& shape : std::vector<Shape>{{},
                                               {1},
                                               {1500},
                                               {3 * 1024},
                                               {5, 37},
                                               {130, 150},
                                               {300, 129},
                                               {3, 50, 40},
                                               {2, 2, 2, 65},
                                               {1, 1}}) {
    Floats x = drawn("student-t:3,2", 1, product(shape));
    if (x.size() > 100) {
      x[7] = not_a_number;
      x[99] = -infinite;
      x[50] = 0;
    }
    const TensorStudy study = study_tensor(source_of(shape, x), recipes, unheard, 2);
    ASSERT_EQ(study.quantizations.size(), recipes.size());
    EXPECT_EQ(study.statistics.elements, static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < recipes.size(); ++i) {
      Quantization q = recipes[i];
      if (shape.size() < 2 && q.granularity == Granularity::channel)
        q.granularity = Granularity::tensor;
      const Floats y = quantized(q, matrix_view(shape).columns, x);
      double signal = 0, noise = 0, largest = 0, zeros = 0, nonzeros = 0;
      for (std::size_t j = 0; j < x.size(); ++j) {
        if (!std::isfinite(x[j])) continue;
        const double difference = static_cast<double>(y[j]) - x[j];
        signal += static_cast<double>(x[j]) * x[j];
        noise += difference * difference;
        largest = std::max(largest, std::abs(difference));
        nonzeros += x[j] != 0 ? 1 : 0;
        zeros += x[j] != 0 && y[j] == 0 ? 1 : 0;
      }
      const QuantizationError& error = study.quantizations[i].error;
      const std::string what = to_string(q.number) + ' ' + scaling_name(q) + " of " +
                               std::to_string(shape.size()) + " axes, " + std::to_string(x.size());
      EXPECT_NEAR(error.relative_l2(), std::sqrt(noise / signal), 1e-12) << what;
      EXPECT_EQ(error.max_abs_error(), largest) << what;
      EXPECT_DOUBLE_EQ(error.underflow_fraction(), zeros / nonzeros) << what;
      EXPECT_EQ(error.nan_count(), x.size() > 100 ? 1 : 0) << what;
      std::int64_t codes = 0;
      for (const auto n : error.codes()) codes += n;
      EXPECT_EQ(codes, static_cast<std::int64_t>(x.size())) << what;
    }
  }
}

TEST(StudyTensor, DelayedScalesComeFromEarlierSteps) {
  // Steps of 2 x 2: amax 1, 4, 2, 8. With a history of one, the scale of each is 448 over the amax
  // of the step before; the first takes its own.
  const Floats x{1, -.5f, .3f, .7f, 4, 1, -2, .1f, 2, .9f, -.6f, 1, 8, -5, .3f, 1};
  const auto study_with = [&](std::int64_t history) {
    Quantization delayed = recipe("e4m3", "delayed");
    delayed.history = history;
    return study_tensor(source_of({4, 2, 2}, x), std::span(&delayed, 1), unheard, 1)
        .quantizations[0];
  };
  const auto by_hand = [&](std::vector<float> references) {
    QuantizationError all(NumberFormat::e4m3);
    for (std::size_t step = 0; step < 4; ++step)
      all.add(error_of(NumberFormat::e4m3, 448 / references[step],
                       Floats(x.begin() + static_cast<std::ptrdiff_t>(4 * step),
                              x.begin() + static_cast<std::ptrdiff_t>(4 * step + 4))));
    return all;
  };
  expect_same(study_with(1).error, by_hand({1, 1, 4, 2}), 1e-12);
  expect_same(study_with(2).error, by_hand({1, 1, 4, 4}), 1e-12);
  EXPECT_EQ(study_with(1).error.overflow_fraction(), 4. / 16);  // 4, -2, 8 and -5
  EXPECT_EQ(study_with(1).bits_per_element, 8 + 32. * 4 / 16);
}

TEST(StudyTensor, StepsOfOneAxisAreRowsOf1024) {
  Floats x(2048, 1);
  std::fill(x.begin() + 1024, x.end(), 3.0f);  // times 448 / 1 it is too large
  const Quantization delayed = recipe("e4m3", "delayed");
  const TensorStudy study = study_tensor(source_of({2048}, x), std::span(&delayed, 1), unheard, 1);
  EXPECT_EQ(study.quantizations[0].error.overflow_fraction(), .5);
}

TEST(StudyTensor, BitsPerElement) {
  const auto bits = [](const Shape& shape, const char* format, const char* scaling) {
    const Floats x(product(shape), 1);
    const Quantization q = recipe(format, scaling);
    return study_tensor(source_of(shape, x), std::span(&q, 1), unheard, 1)
        .quantizations[0]
        .bits_per_element;
  };
  EXPECT_EQ(bits({4, 256}, "hif8", "none"), 8);
  EXPECT_EQ(bits({4, 256}, "hif8", "block32"), 9);
  EXPECT_EQ(bits({4, 256}, "e4m3", "tile128"), 8.25);
  EXPECT_EQ(bits({4, 256}, "mxfp8-e4m3", "tensor"), 8.25);
  EXPECT_EQ(bits({4, 256}, "e4m3", "token"), 8 + 32. / 256);
  EXPECT_EQ(bits({4, 256}, "e4m3", "channel"), 8 + 32. / 4);
  EXPECT_EQ(bits({4, 256}, "e4m3", "block128x128"), 8 + 32. / 512);
  EXPECT_EQ(bits({4, 256}, "e4m3", "tensor-pow2"), 8 + 8. / 1024);
  EXPECT_EQ(bits({2, 40}, "e4m3", "block32"), 8 + 32. * 4 / 80);
}

TEST(StudyTensor, BitsPerElementOfARaggedAxis) {
  // 1,500 elements are a row of 1,024 and one of 476.
  const Floats x(1500, 1);
  const auto bits = [&](const char* format, const char* scaling) {
    const Quantization q = recipe(format, scaling);
    return study_tensor(source_of({1500}, x), std::span(&q, 1), unheard, 1)
        .quantizations[0]
        .bits_per_element;
  };
  EXPECT_DOUBLE_EQ(bits("hif8", "tensor"), 8 + 32. / 1500);
  EXPECT_DOUBLE_EQ(bits("hif8", "tile128"), 8 + 32. * (8 + 4) / 1500);
  EXPECT_DOUBLE_EQ(bits("mxfp8-e4m3", "block32"), 8 + 8. * (32 + 15) / 1500);
}

TEST(StudyTensor, OfNoElements) {
  const auto recipes = some_recipes();
  for (const Shape& shape : std::vector<Shape>{{0}, {0, 5}, {3, 0}, {2, 0, 4}}) {
    const TensorStudy study = study_tensor(
        {shape, [](std::int64_t, std::span<float>) { ADD_FAILURE(); }}, recipes, unheard, 2);
    EXPECT_EQ(study.statistics.elements, 0);
    for (const auto& [error, bits] : study.quantizations) {
      EXPECT_EQ(error.relative_l2(), 0);
      EXPECT_EQ(error.codes_used(), 0);
      EXPECT_EQ(bits, 8);
    }
  }
}

TEST(StudyTensor, DoesNotDependOnTheNumberOfThreads) {
  const Shape shape{700, 300};
  const Floats x = drawn("student-t:3,1", 2, product(shape));
  const auto recipes = some_recipes();
  const TensorStudy one = study_tensor(source_of(shape, x), recipes, unheard, 1);
  for (const int threads : {2, 5}) {
    const TensorStudy many = study_tensor(source_of(shape, x), recipes, unheard, threads);
    EXPECT_EQ(many.statistics.sum, one.statistics.sum);
    EXPECT_EQ(many.statistics.sum_of_squares, one.statistics.sum_of_squares);
    for (std::size_t i = 0; i < recipes.size(); ++i)
      expect_same(many.quantizations[i].error, one.quantizations[i].error);
  }
}

TEST(StudyTensor, ReadsTwiceInBoundedSlabs) {
  for (const Shape& shape :
       std::vector<Shape>{{2100, 1030}, {300, 9000}, {2500000}, {4, 700, 512}}) {
    const std::int64_t columns = matrix_view(shape).columns;
    const auto elements = static_cast<std::int64_t>(product(shape));
    const std::int64_t most = std::max<std::int64_t>(1 << 20, 128 * columns);
    std::int64_t at = 0, passes = 0, heard = 0;
    const TensorSource source{shape, [&](std::int64_t first, std::span<float> values) {
                                EXPECT_EQ(first, at);
                                EXPECT_EQ(first % (128 * columns), 0);
                                EXPECT_LE(static_cast<std::int64_t>(values.size()), most);
                                EXPECT_GT(values.size(), 0u);
                                std::fill(values.begin(), values.end(), 1.0f);
                                at += static_cast<std::int64_t>(values.size());
                                if (at == elements) at = 0, ++passes;
                              }};
    const Quantization q = recipe("hif8", "tensor");
    const TensorStudy study = study_tensor(
        source, std::span(&q, 1), [&](std::int64_t n) { heard += n; }, 2);
    EXPECT_EQ(at, 0);
    EXPECT_EQ(passes, 2);
    EXPECT_EQ(heard, 2 * elements);
    EXPECT_EQ(study.statistics.sum, static_cast<double>(elements));
    EXPECT_EQ(study.quantizations[0].error.relative_l2(), 0);  // 1 becomes 15
  }
}

// ---- Operations on rounded operands ------------------------------------------------------------

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix matrix(const Floats& x, std::int64_t rows, std::int64_t columns, std::int64_t first = 0) {
  return Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(x.data() + first, rows,
                                                                         columns)
      .cast<double>();
}
Floats floats(const Matrix& m) {
  Floats x;
  for (const double value : m.reshaped<Eigen::RowMajor>()) x.push_back(static_cast<float>(value));
  return x;
}

constexpr LinearShape linear{.rows = 7, .in = 12, .out = 5};
const Floats linear_x = drawn("normal:0,1", 1, 7 * 12), linear_weight = drawn("normal", 2, 5 * 12),
             linear_dy = drawn("normal:0,0.001", 3, 7 * 5);

TEST(RelativeL2, OfAFewNumbers) {
  EXPECT_DOUBLE_EQ(relative_l2(Floats{3, 4.5f}, Floats{3, 4}), .1);
  EXPECT_EQ(relative_l2(Floats{0, 0}, Floats{0, 0}), 0);
  EXPECT_EQ(relative_l2({}, {}), 0);
  EXPECT_EQ(relative_l2(Floats{1}, Floats{0}), infinity);
}

TEST(RoundedLinear, WithoutRoundingIsALinearLayer) {
  const auto [rows, in, out] = linear;
  const LinearResult result =
      rounded_linear(linear, linear_x, linear_weight, linear_dy, no_rounding(), 2);
  const Matrix x = matrix(linear_x, rows, in), w = matrix(linear_weight, out, in),
               dy = matrix(linear_dy, rows, out);
  EXPECT_LE(relative_l2(result.y, floats(x * w.transpose())), 1e-6);
  EXPECT_LE(relative_l2(result.dx, floats(dy * w)), 1e-6);
  EXPECT_LE(relative_l2(result.dweight, floats(dy.transpose() * x)), 1e-6);
}

/// Rounding to something easily told apart; notes the columns it is asked about.
Rounder times(float factor, std::vector<std::int64_t>& columns) {
  return [factor, &columns](std::span<const float> x, std::int64_t n) {
    columns.push_back(n);
    Floats y(x.begin(), x.end());
    for (float& value : y) value *= factor;
    return y;
  };
}
Floats scaled(Floats x, float factor) {
  for (float& value : x) value *= factor;
  return x;
}

TEST(RoundedLinear, RoundsEachOperandOnceAndNoResult) {
  const auto plain = rounded_linear(linear, linear_x, linear_weight, linear_dy, no_rounding(), 1);
  std::vector<std::int64_t> forward, gradient;
  const auto result = rounded_linear(linear, linear_x, linear_weight, linear_dy,
                                     {times(2, forward), times(8, gradient)}, 1);
  EXPECT_EQ(result.y, scaled(plain.y, 4));
  EXPECT_EQ(result.dx, scaled(plain.dx, 16));
  EXPECT_EQ(result.dweight, scaled(plain.dweight, 16));
  EXPECT_EQ(forward, (std::vector<std::int64_t>{12, 12}));
  EXPECT_EQ(gradient, (std::vector<std::int64_t>{5}));
}

TEST(RoundedLinear, RepresentableOperandsMakeNoError) {
  const LinearShape shape{.rows = 2, .in = 3, .out = 2};
  const Floats x{1, -2, .5f, 14, 0, -1.125f}, weight{.25f, 3, -7.5f, 1, 1, 15},
      dy{1, -.5f, 224, .0625f};
  const auto exact = rounded_linear(shape, x, weight, dy, no_rounding(), 1);
  EXPECT_EQ(exact.y, (Floats{-9.5f, 6.5f, 11.9375f, -2.875f}));
  for (const char* format : {"hif8", "e4m3"}) {
    const Quantization plain = recipe(format, "none");
    const auto result =
        rounded_linear(shape, x, weight, dy, quantization_rounding(plain, plain, 1));
    EXPECT_EQ(result.y, exact.y) << format;
    EXPECT_EQ(result.dx, exact.dx) << format;
    EXPECT_EQ(result.dweight, exact.dweight) << format;
  }
  const auto in_bf16 = rounded_linear(shape, x, weight, dy, bf16_rounding(), 1);
  EXPECT_EQ(in_bf16.dx, exact.dx);
}

/// The paper's fake quantisation of numbers between 2^-15 and 2^15: to the nearest multiple of
/// 2^(e - w), halves away from zero, after the largest has been moved to `target`.
Floats paper_rounding(const Floats& x, double target) {
  double amax = 1e-8;
  for (const double v : x) amax = std::max(amax, std::abs(v));
  const float s = static_cast<float>(target) / static_cast<float>(amax);
  Floats y;
  for (const float v : x) {
    const double z = std::abs(v * s), e = std::floor(std::log2(z));
    const double bits = std::abs(e) <= 3 ? 3 : std::abs(e) <= 7 ? 2 : 1;
    const double spacing = std::exp2(e - bits);
    y.push_back(static_cast<float>(std::copysign(std::floor(z / spacing + .5) * spacing, v)) / s);
  }
  return y;
}

TEST(RoundedLinear, PaperRecipe) {
  const auto [rows, in, out] = linear;
  const auto result = rounded_linear(linear, linear_x, linear_weight, linear_dy,
                                     quantization_rounding(paper_forward(), paper_backward()), 2);
  const Matrix x = matrix(paper_rounding(linear_x, 15), rows, in),
               w = matrix(paper_rounding(linear_weight, 15), out, in),
               dy = matrix(paper_rounding(linear_dy, 224), rows, out);
  EXPECT_LE(relative_l2(result.y, floats(x * w.transpose())), 1e-6);
  EXPECT_LE(relative_l2(result.dx, floats(dy * w)), 1e-6);
  EXPECT_LE(relative_l2(result.dweight, floats(dy.transpose() * x)), 1e-6);
  const auto exact = rounded_linear(linear, linear_x, linear_weight, linear_dy, no_rounding(), 1);
  EXPECT_GT(relative_l2(result.y, exact.y), .005);
}

TEST(Bf16Rounding, IsToNearestEven) {
  const Floats x{1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1.8p-7f, -3, 0x1.fep0f};
  EXPECT_EQ(bf16_rounding().forward(x, 5), (Floats{1, 1 + 0x1p-6f, 1 + 0x1p-6f, -3, 0x1.fep0f}));
  EXPECT_EQ(bf16_rounding().gradient(x, 5), bf16_rounding().forward(x, 5));
  EXPECT_EQ(no_rounding().forward(x, 5), x);
}

constexpr AttentionShape attention{.heads = 2, .tokens = 9, .head_dim = 4};
const Floats attention_q = drawn("normal", 11, 72), attention_k = drawn("normal", 12, 72),
             attention_v = drawn("normal", 13, 72), attention_do = drawn("normal", 14, 72);

/// Softmax attention and its gradients in double.
AttentionResult dense_attention(const Floats& q, const Floats& k, const Floats& v,
                                const Floats& d_o) {
  const auto [heads, tokens, dim] = attention;
  AttentionResult result;
  const auto append = [](Floats& to, const Matrix& m) {
    const Floats more = floats(m);
    to.insert(to.end(), more.begin(), more.end());
  };
  for (std::int64_t h = 0; h < heads; ++h) {
    const auto head = [&, tokens = tokens, dim = dim](const Floats& x) {
      return matrix(x, tokens, dim, h * tokens * dim);
    };
    const Matrix Q = head(q), K = head(k), V = head(v), dO = head(d_o);
    const double root = std::sqrt(static_cast<double>(dim));
    Matrix P = (Q * K.transpose() / root).array().exp();
    for (Eigen::Index i = 0; i < P.rows(); ++i) P.row(i) /= P.row(i).sum();
    const Matrix O = P * V, dP = dO * V.transpose();
    Matrix dS = dP;
    for (Eigen::Index i = 0; i < P.rows(); ++i)
      dS.row(i) = P.row(i).array() * (dP.row(i).array() - dO.row(i).dot(O.row(i)));
    append(result.o, O);
    append(result.dq, dS * K / root);
    append(result.dk, dS.transpose() * Q / root);
    append(result.dv, P.transpose() * dO);
  }
  return result;
}

void expect_close(const AttentionResult& a, const AttentionResult& b, double tolerance) {
  EXPECT_LE(relative_l2(a.o, b.o), tolerance);
  EXPECT_LE(relative_l2(a.dq, b.dq), tolerance);
  EXPECT_LE(relative_l2(a.dk, b.dk), tolerance);
  EXPECT_LE(relative_l2(a.dv, b.dv), tolerance);
}

TEST(RoundedAttention, WithoutRoundingIsAttention) {
  expect_close(rounded_attention(attention, attention_q, attention_k, attention_v, attention_do,
                                 no_rounding(), 2),
               dense_attention(attention_q, attention_k, attention_v, attention_do), 2e-6);
}

TEST(RoundedAttention, RoundsQKVAndGradientsOnly) {
  std::vector<std::int64_t> forward, gradient;
  const auto result = rounded_attention(attention, attention_q, attention_k, attention_v,
                                        attention_do, {times(2, forward), times(8, gradient)}, 1);
  auto dense = dense_attention(scaled(attention_q, 2), scaled(attention_k, 2),
                               scaled(attention_v, 2), attention_do);
  for (auto* d : {&dense.dq, &dense.dk, &dense.dv}) *d = scaled(*d, 8);
  expect_close(result, dense, 2e-6);
  EXPECT_EQ(forward, (std::vector<std::int64_t>{4, 4, 4}));
  EXPECT_EQ(gradient, (std::vector<std::int64_t>{4, 4, 4}));
}

TEST(RoundedAttention, PaperRecipe) {
  const auto result =
      rounded_attention(attention, attention_q, attention_k, attention_v, attention_do,
                        quantization_rounding(paper_forward(), paper_backward()), 1);
  const auto dense =
      dense_attention(paper_rounding(attention_q, 15), paper_rounding(attention_k, 15),
                      paper_rounding(attention_v, 15), attention_do);
  EXPECT_LE(relative_l2(result.o, dense.o), 2e-6);
  // A gradient may fall to the other side of a tie: a spacing of 1/8 at most.
  EXPECT_LE(relative_l2(result.dq, paper_rounding(dense.dq, 224)), .02);
  EXPECT_LE(relative_l2(result.dk, paper_rounding(dense.dk, 224)), .02);
  EXPECT_LE(relative_l2(result.dv, paper_rounding(dense.dv, 224)), .02);
}

}  // namespace
}  // namespace ospsim
