#include "kernels_ref/layout/pattern.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/names.hpp"

namespace ospsim {
namespace {

using Kind = DigitSpec::Kind;

constexpr Named<Phase> phase_names[]{{"token", Phase::token}, {"group", Phase::group}};

constexpr std::int64_t max_ratio = 65536;
constexpr std::int64_t max_level = 9;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::optional<std::int64_t> whole_number(std::string_view text, std::int64_t least,
                                         std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most)
    return std::nullopt;
  return value;
}

Coordinates coordinates_of(char axis) {
  return axis == 'i' ? Coordinates::flat : axis == 's' ? Coordinates::frame : Coordinates::video;
}

[[noreturn]] void reject(std::string_view pattern, const std::string& why) {
  throw InputError(fmt::format("pattern '{}': {}", pattern, why));
}

DigitSpec parse_digit(std::string_view digit, std::string_view pattern) {
  const auto bad = [&] {
    reject(pattern,
           fmt::format(
               "'{}' is neither a name ({}) nor a digit: an axis of t y x s i, alone or followed "
               "by a level 0-9, by b, or by /TILES, as in 'y0,x0|y1,x1'",
               digit, fmt::join(pattern_names(), ", ")));
  };
  if (digit.empty() || std::string_view("tyxsi").find(digit[0]) == std::string_view::npos) bad();
  DigitSpec spec{.axis = digit[0]};
  const std::string_view rest = digit.substr(1);
  if (rest.empty()) return spec;
  if (rest == "b") {
    spec.kind = Kind::above;
  } else if (rest[0] == '/') {
    const auto tiles = whole_number(rest.substr(1), 1, max_ratio);
    if (!tiles) bad();
    spec.kind = Kind::tile;
    spec.number = *tiles;
  } else {
    const auto level = whole_number(rest, 0, max_level);
    if (!level) bad();
    spec.kind = Kind::level;
    spec.number = *level;
  }
  return spec;
}

Pattern parse_spelling(std::string_view text, Ratio ratio) {
  Pattern pattern{.name = std::string(text), .ratio = ratio};
  const auto phases = split(text, '|');
  if (phases.size() > 2) reject(text, "at most two phases, separated by one '|'");
  std::optional<Coordinates> coordinates;
  for (const auto phase : phases) {
    auto& digits = pattern.phases.emplace_back();
    for (const auto part : split(phase, ',')) {
      const DigitSpec digit = parse_digit(part, text);
      if (std::find(digits.begin(), digits.end(), digit) != digits.end())
        reject(text, fmt::format("'{}' stands twice in one phase", part));
      digits.push_back(digit);
      // t belongs to the video and to the flattened-frame coordinates alike.
      if (digit.axis == 't') continue;
      if (coordinates && *coordinates != coordinates_of(digit.axis))
        reject(text, "its digits mix coordinates; use t,y,x or t,s or i throughout");
      coordinates = coordinates_of(digit.axis);
    }
  }
  pattern.coordinates = coordinates.value_or(Coordinates::video);
  if (pattern.coordinates == Coordinates::flat && text.find('t') != std::string_view::npos)
    reject(text, "its digits mix coordinates; use t,y,x or t,s or i throughout");
  return pattern;
}

}  // namespace

Ratio parse_ratio(std::string_view text) {
  std::vector<std::int64_t> numbers;
  for (const auto part : split(text, ',')) {
    const auto number = whole_number(part, 1, max_ratio);
    if (!number || numbers.size() == 3) {
      numbers.clear();
      break;
    }
    numbers.push_back(*number);
  }
  if (numbers.size() == 1) return {numbers[0], numbers[0], numbers[0]};
  if (numbers.size() == 3) return {numbers[0], numbers[1], numbers[2]};
  throw InputError(fmt::format(
      "ratio '{}' is neither one whole number nor three (t,y,x), each in 1..{}", text, max_ratio));
}

bool has_per_frame_variant(std::string_view pattern_name) {
  return pattern_name == "skiparse-1d";
}

Pattern parse_pattern(std::string_view text, Ratio ratio, bool per_frame) {
  if (per_frame && !has_per_frame_variant(text))
    reject(text, "only skiparse-1d has a per-frame variant");
  const bool one_number = ratio.t == ratio.y && ratio.y == ratio.x;
  std::string spelling;
  if (text == "full") {
    return {.name = "full", .ratio = {}, .phases = {{}}};
  } else if (text == "skiparse-1d" || text == "skip+window") {
    if (!one_number) reject(text, "takes a ratio of one number");
    spelling = text == "skip+window" ? "i0|ib" : per_frame ? "s0|s1" : "i0|i1";
  } else if (text == "skiparse-2d") {
    if (!one_number) reject(text, "takes a ratio of one number; skiparse-3d takes three");
    spelling = "y0,x0|y1,x1";
  } else if (text == "skiparse-3d") {
    spelling = "t0,y0,x0|t1,y1,x1";
  } else if (text == "window") {
    spelling = fmt::format("t/{},y/{},x/{}", ratio.t, ratio.y, ratio.x);
  } else if (text == "2+1d") {
    spelling = "t|y,x";
  } else {
    return parse_spelling(text, ratio);
  }
  Pattern pattern = parse_spelling(spelling, ratio);
  pattern.name = text;
  return pattern;
}

std::vector<std::string_view> pattern_names() {
  return {"full", "skiparse-1d", "skiparse-2d", "skiparse-3d", "window", "2+1d", "skip+window"};
}

std::string Pattern::spelled() const {
  std::vector<std::string> spelled_phases;
  for (const auto& phase : phases) {
    std::vector<std::string> digits;
    for (const auto& digit : phase) {
      switch (digit.kind) {
        case Kind::whole:
          digits.push_back(fmt::format("{}", digit.axis));
          break;
        case Kind::above:
          digits.push_back(fmt::format("{}b", digit.axis));
          break;
        case Kind::tile:
          digits.push_back(fmt::format("{}/{}", digit.axis, digit.number));
          break;
        case Kind::level:
          digits.push_back(fmt::format("{}{}", digit.axis, digit.number));
          break;
      }
    }
    spelled_phases.push_back(fmt::format("{}", fmt::join(digits, ",")));
  }
  const auto text = fmt::format("{}", fmt::join(spelled_phases, "|"));
  return text.empty() ? "full" : text;
}

Phase parse_phase(std::string_view text) {
  return parse_name(phase_names, "phase", text);
}

std::string_view to_string(Phase phase) {
  return name_of(phase_names, phase);
}

}  // namespace ospsim
