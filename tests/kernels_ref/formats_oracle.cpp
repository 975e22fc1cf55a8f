#include "tests/kernels_ref/formats_oracle.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace ospsim::oracle {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Sign, biased exponent, fraction. As in IEEE 754 the largest exponent means Inf and NaN; or,
/// where the format has no Inf, only the pattern of all ones means NaN.
double field_value(std::uint32_t bits, int exponent_bits, int fraction_bits, bool has_inf = true) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const std::uint32_t ones = (1u << fraction_bits) - 1, fraction = bits & ones;
  const auto biased = static_cast<int>(bits >> fraction_bits & ((1u << exponent_bits) - 1));
  const bool top = biased == (1 << exponent_bits) - 1;
  const bool negative = (bits >> (exponent_bits + fraction_bits) & 1) != 0;
  double magnitude = 0;
  if (top && (has_inf ? fraction != 0 : fraction == ones))
    magnitude = nan;
  else if (top && has_inf)
    magnitude = infinity;
  else if (biased == 0)
    magnitude = std::ldexp(fraction, 1 - bias - fraction_bits);
  else
    magnitude = std::ldexp(fraction + ones + 1, biased - bias - fraction_bits);
  return std::copysign(magnitude, negative ? -1 : 1);
}

double hif8_value(std::uint32_t code) {
  const double sign = code >= 0x80 ? -1 : 1;
  if (code == 0x00) return 0;
  if (code == 0x80) return nan;
  if ((code & 0x7f) == 0x6f) return sign * infinity;
  struct Row {
    std::uint32_t dot;
    int dot_bits, exponent_bits, fraction_bits;
    bool denormal;
  };
  constexpr Row rows[] = {{0b11, 2, 4, 1, false},   {0b10, 2, 3, 2, false},
                          {0b01, 2, 2, 3, false},   {0b001, 3, 1, 3, false},
                          {0b0001, 4, 0, 3, false}, {0b0000, 4, 0, 3, true}};
  for (const Row& row : rows) {
    if ((code & 0x7f) >> (7 - row.dot_bits) != row.dot) continue;
    const auto fraction = static_cast<int>(code & ((1u << row.fraction_bits) - 1));
    if (row.denormal) return sign * std::ldexp(1, fraction - 23);
    int exponent = 0;
    if (row.exponent_bits > 0) {
      const auto field =
          static_cast<int>(code >> row.fraction_bits & ((1u << row.exponent_bits) - 1));
      const int top = 1 << (row.exponent_bits - 1);  // the sign, in the place of a bit that is 1
      exponent = (field & top) != 0 ? -field : field | top;
    }
    return sign * std::ldexp(1 + std::ldexp(fraction, -row.fraction_bits), exponent);
  }
  throw std::logic_error("every code has a dot field");
}

double value(Format format, std::uint32_t code) {
  switch (format) {
    case Format::hif8:
      return hif8_value(code);
    case Format::e4m3:
      return field_value(code, 4, 3, false);
    case Format::e5m2:
      return field_value(code, 5, 2);
    default:
      return code == 0xff ? nan : std::ldexp(1, static_cast<int>(code) - 127);
  }
}

struct Rung {
  double value;
  std::uint8_t code;
};

/// The last rung is the code that would continue the format: 1.5 * 2^15, 480, 65536, 2^128.
std::vector<Rung> make_rungs(Format format) {
  std::vector<Rung> rungs;
  for (std::uint32_t code = 0; code < (format == Format::e8m0 ? 256 : 128); ++code)
    if (const double v = value(format, code); std::isfinite(v))
      rungs.push_back({v, static_cast<std::uint8_t>(code)});
  std::ranges::sort(rungs, {}, &Rung::value);
  switch (format) {
    case Format::hif8:
      rungs.push_back({49152, 0x6f});
      break;
    case Format::e4m3:
      rungs.push_back({480, 0x7f});
      break;
    case Format::e5m2:
      rungs.push_back({65536, 0x7c});
      break;
    case Format::e8m0:
      rungs.push_back({std::ldexp(1, 128), 0xff});
      break;
  }
  return rungs;
}

const std::vector<Rung>& rungs_of(Format format) {
  static const std::array<std::vector<Rung>, 4> all{
      make_rungs(Format::hif8), make_rungs(Format::e4m3), make_rungs(Format::e5m2),
      make_rungs(Format::e8m0)};
  return all[static_cast<std::size_t>(format)];
}

std::uint8_t with_sign(Format format, bool negative, std::uint8_t code) {
  if (format == Format::e8m0 || !negative || (format == Format::hif8 && code == 0)) return code;
  return static_cast<std::uint8_t>(code | 0x80);
}

/// The code of rung i, which is overflow from the last one on.
std::uint8_t code_at(const Codec& codec, bool negative, std::size_t i) {
  const auto& rungs = rungs_of(codec.format);
  const std::size_t last = rungs.size() - (codec.overflow == Overflow::saturate ? 2 : 1);
  return with_sign(codec.format, negative, rungs[std::min(i, last)].code);
}

std::uint8_t nan_code(Format format, bool negative) {
  if (format == Format::hif8) return 0x80;
  return with_sign(format, negative, format == Format::e8m0 ? 0xff : 0x7f);
}

/// The last rung not above the magnitude; for E8M0, which has no zero, maybe the first all the
/// same.
std::size_t rung_below(Format format, double magnitude) {
  const auto& rungs = rungs_of(format);
  const auto above = std::ranges::upper_bound(rungs, magnitude, {}, &Rung::value);
  return above == rungs.begin() ? 0 : static_cast<std::size_t>(above - rungs.begin()) - 1;
}

bool tie_goes_up(const Codec& codec, std::size_t i) {
  return codec.rounding == Rounding::ta || rungs_of(codec.format)[i + 1].code % 2 == 0;
}

}  // namespace

const std::array<double, 256>& values(Format format) {
  static const auto all = [] {
    std::array<std::array<double, 256>, 4> tables;
    for (std::uint32_t f = 0; f < 4; ++f)
      for (std::uint32_t code = 0; code < 256; ++code)
        tables[f][code] = value(static_cast<Format>(f), code);
    return tables;
  }();
  return all[static_cast<std::size_t>(format)];
}

double value_of(Source source, std::uint32_t bits) {
  switch (source) {
    case Source::f32:
      return field_value(bits, 8, 23);
    case Source::bf16:
      return field_value(bits, 8, 7);
    default:
      return field_value(bits, 5, 10);
  }
}

std::uint8_t encode(const Codec& codec, double x) {
  const bool negative = std::signbit(x);
  if (std::isnan(x)) return nan_code(codec.format, negative);
  const double magnitude = std::abs(x);
  const auto& rungs = rungs_of(codec.format);
  std::size_t i = rung_below(codec.format, magnitude);
  if (i + 1 < rungs.size()) {
    const double low = rungs[i].value, high = rungs[i + 1].value, middle = (low + high) / 2;
    switch (codec.rounding) {
      case Rounding::floor:
        break;
      case Rounding::ceil:
        if (magnitude > low) ++i;
        break;
      default:
        if (magnitude > middle || (magnitude == middle && tie_goes_up(codec, i))) ++i;
    }
  }
  return code_at(codec, negative, i);
}

std::uint8_t encode(const Codec& codec, Source source, std::uint32_t bits) {
  const double x = value_of(source, bits), magnitude = std::abs(x);
  if (codec.rounding != Rounding::hybrid && codec.rounding != Rounding::hybrid_exact)
    return encode(codec, x);
  Codec nearest = codec;
  nearest.rounding = Rounding::ta;
  if (!std::isfinite(x) || magnitude >= 40960 || (magnitude >= 0.125 && magnitude < 16))
    return encode(nearest, x);
  if (magnitude < std::ldexp(1, -23)) return 0x00;
  const std::size_t i = rung_below(codec.format, magnitude);
  const auto& rungs = rungs_of(codec.format);
  const double fraction = (magnitude - rungs[i].value) / (rungs[i + 1].value - rungs[i].value);
  // F, the leading discarded bits, against T, the trailing bits of the source.
  const bool wide = source == Source::f32;
  const double f = std::floor(std::ldexp(fraction, wide ? 14 : 2));
  const double t = wide ? bits % (1u << 14) : 2 * (bits % 2) + 1;
  const bool stays = codec.rounding == Rounding::hybrid_exact && fraction == 0;
  return code_at(codec, std::signbit(x), f >= t && !stays ? i + 1 : i);
}

Neighbours neighbours(const Codec& codec, double x) {
  const auto& rungs = rungs_of(codec.format);
  const std::size_t i = rung_below(codec.format, std::abs(x));
  const auto code = [&](std::size_t j) { return code_at(codec, std::signbit(x), j); };
  if (i + 1 >= rungs.size()) return {code(i), code(i), 0};
  const double low = rungs[i].value, high = rungs[i + 1].value;
  return {code(i), code(i + 1), (std::abs(x) - low) / (high - low)};
}

std::vector<Step> steps(const Codec& codec) {
  const auto& rungs = rungs_of(codec.format);
  std::vector<Step> result{{0, code_at(codec, false, 0)}};
  for (std::size_t i = 0; i + 1 < rungs.size(); ++i) {
    const double middle = (rungs[i].value + rungs[i + 1].value) / 2;
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(middle));
    if (value_of(Source::f32, bits) != middle) throw std::logic_error("a midpoint is no float32");
    result.push_back({tie_goes_up(codec, i) ? bits : bits + 1, code_at(codec, false, i + 1)});
  }
  result.push_back({0x7f800001u, nan_code(codec.format, false)});
  return result;
}

std::vector<double> ladder(Format format) {
  std::vector<double> result;
  for (const Rung& rung : rungs_of(format)) result.push_back(rung.value);
  return result;
}

bool same(Format format, std::uint8_t a, std::uint8_t b) {
  return a == b || (std::isnan(values(format)[a]) && std::isnan(values(format)[b]));
}

double mx_scale(const MxCodec& codec, double amax) {
  const bool e4m3 = codec.element == Format::e4m3;
  const int emax = e4m3 ? 8 : 15, fraction_bits = e4m3 ? 3 : 2;
  const double largest_element = e4m3 ? 448 : 57344;
  const auto floor_log2 = [](double x) { return std::ilogb(x); };
  const auto ceil_log2 = [](double x) {
    const int floor = std::ilogb(x);
    return std::ldexp(1, floor) < x ? floor + 1 : floor;
  };
  int exponent = 0;
  switch (codec.rule) {
    case MxRule::floor:
      exponent = floor_log2(amax) - emax;
      break;
    case MxRule::ratio:
      exponent = floor_log2(amax) - 20;
      while (std::ldexp(largest_element, exponent) < amax) ++exponent;
      break;
    case MxRule::ceil:
      exponent = ceil_log2(amax) - emax;
      break;
    case MxRule::even: {
      const double unit = std::ldexp(1, floor_log2(amax) - fraction_bits);
      exponent = floor_log2(std::floor(amax / unit + 0.5) * unit) - emax;
      break;
    }
  }
  return std::ldexp(1, std::clamp(exponent, -127, 127));
}

namespace {

std::uint16_t narrowed(double x, int exponent_bits, int fraction_bits) {
  const int lowest = 2 - (1 << (exponent_bits - 1));
  const auto sign = static_cast<std::uint32_t>(std::signbit(x) ? 0x8000 : 0);
  const std::uint32_t infinite = ((1u << exponent_bits) - 1) << fraction_bits;
  if (std::isnan(x)) return static_cast<std::uint16_t>(sign | infinite | 1u << (fraction_bits - 1));
  if (std::isinf(x)) return static_cast<std::uint16_t>(sign | infinite);
  const int exponent = x == 0 ? lowest : std::max(std::ilogb(x), lowest);
  // In units of the last place; a carry out of the fraction is the next exponent's code.
  const auto units =
      static_cast<std::uint32_t>(std::nearbyint(std::ldexp(std::abs(x), fraction_bits - exponent)));
  const auto binade = static_cast<std::uint64_t>(exponent - lowest);
  const std::uint64_t magnitude =
      std::min<std::uint64_t>((binade << fraction_bits) + units, infinite);
  return static_cast<std::uint16_t>(sign | magnitude);
}

}  // namespace

std::uint16_t bf16_of(double x) {
  return narrowed(x, 8, 7);
}
std::uint16_t f16_of(double x) {
  return narrowed(x, 5, 10);
}

std::vector<Codec> codecs(bool with_stochastic) {
  using enum Rounding;
  std::vector<Codec> result;
  const auto add = [&](Format format, std::vector<Rounding> roundings) {
    if (with_stochastic && format != Format::e8m0) roundings.push_back(stochastic);
    for (const Rounding rounding : roundings)
      for (const Overflow overflow : {Overflow::ieee, Overflow::saturate})
        result.push_back({format, rounding, overflow});
  };
  add(Format::hif8, {ta, rne, hybrid, hybrid_exact});
  add(Format::e4m3, {ta, rne});
  add(Format::e5m2, {ta, rne});
  add(Format::e8m0, {floor, ceil});
  return result;
}

std::string describe(const Codec& codec) {
  constexpr const char* formats[] = {"hif8", "e4m3", "e5m2", "e8m0"};
  constexpr const char* roundings[] = {"ta",         "rne",   "hybrid", "hybrid-exact",
                                       "stochastic", "floor", "ceil"};
  return std::string(formats[static_cast<int>(codec.format)]) + " " +
         roundings[static_cast<int>(codec.rounding)] +
         (codec.overflow == Overflow::saturate ? " saturate" : " ieee");
}

}  // namespace ospsim::oracle
