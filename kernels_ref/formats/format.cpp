#include "kernels_ref/formats/format.hpp"

#include <algorithm>

#include "kernels_ref/names.hpp"

namespace ospsim {
namespace {

constexpr Named<Format> format_names[]{
    {"hif8", Format::hif8}, {"e4m3", Format::e4m3}, {"e5m2", Format::e5m2}, {"e8m0", Format::e8m0}};
constexpr Named<Rounding> rounding_names[]{{"ta", Rounding::ta},
                                           {"rne", Rounding::rne},
                                           {"hybrid", Rounding::hybrid},
                                           {"hybrid-exact", Rounding::hybrid_exact},
                                           {"stochastic", Rounding::stochastic},
                                           {"floor", Rounding::floor},
                                           {"ceil", Rounding::ceil}};
constexpr Named<Overflow> overflow_names[]{{"ieee", Overflow::ieee},
                                           {"saturate", Overflow::saturate}};
constexpr Named<Source> source_names[]{
    {"f32", Source::f32}, {"bf16", Source::bf16}, {"f16", Source::f16}};

}  // namespace

Format parse_format(std::string_view text) {
  return parse_name(format_names, "format", text);
}
Rounding parse_rounding(std::string_view text) {
  return parse_name(rounding_names, "rounding", text);
}
Overflow parse_overflow(std::string_view text) {
  return parse_name(overflow_names, "overflow", text);
}
Source parse_source(std::string_view text) {
  return parse_name(source_names, "source", text);
}
std::string to_string(Format format) {
  return std::string(name_of(format_names, format));
}
std::string to_string(Rounding rounding) {
  return std::string(name_of(rounding_names, rounding));
}

Rounding default_rounding(Format format) {
  return roundings_of(format).front();
}

const std::vector<Rounding>& roundings_of(Format format) {
  using enum Rounding;
  static const std::vector<Rounding> hif8{ta, rne, hybrid, hybrid_exact, stochastic};
  static const std::vector<Rounding> fp8{rne, ta, stochastic};
  static const std::vector<Rounding> e8m0{floor, ceil};
  if (format == Format::hif8) return hif8;
  return format == Format::e8m0 ? e8m0 : fp8;
}

float largest(Format format) {
  switch (format) {
    case Format::hif8:
      return 32768.0f;
    case Format::e4m3:
      return 448.0f;
    case Format::e5m2:
      return 57344.0f;
    case Format::e8m0:
      break;
  }
  return 0x1p127f;
}

void check_codec(const Codec& codec) {
  const auto& accepted = roundings_of(codec.format);
  if (std::find(accepted.begin(), accepted.end(), codec.rounding) != accepted.end()) return;
  std::vector<std::string> names;
  for (const auto rounding : accepted) names.push_back(to_string(rounding));
  throw InputError(fmt::format("{} cannot be rounded by {}, only by {}", to_string(codec.format),
                               to_string(codec.rounding), fmt::join(names, ", ")));
}

}  // namespace ospsim
