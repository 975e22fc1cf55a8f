#include "kernels_ref/formats/codec.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "experiments/commands/commands.hpp"

namespace ospsim {
namespace {

/// What the command line asks of every line.
struct Conversion {
  bool encodes;
  Codec codec;
  Source source;
  int digits;  ///< of a line, at most
};

Conversion conversion_of(const Request& request) {
  const std::string direction = request.text("DIRECTION");
  if (direction != "encode" && direction != "decode")
    throw InputError(fmt::format("DIRECTION: '{}' is neither encode nor decode", direction));
  Conversion conversion{.encodes = direction == "encode", .codec = {}, .source = {}, .digits = 2};
  Codec& codec = conversion.codec;
  codec.format = naming("--format", [&] { return parse_format(request.text("--format")); });
  codec.rounding =
      request.has("--rounding")
          ? naming("--rounding", [&] { return parse_rounding(request.text("--rounding")); })
          : default_rounding(codec.format);
  codec.overflow = naming("--overflow", [&] { return parse_overflow(request.text("--overflow")); });
  codec.seed = static_cast<std::uint64_t>(request.seed);
  naming("--rounding", [&] { check_codec(codec); });
  conversion.source = naming("--from", [&] { return parse_source(request.text("--from")); });
  if (conversion.encodes) conversion.digits = conversion.source == Source::f32 ? 8 : 4;
  return conversion;
}

constexpr std::array<std::int8_t, 256> digit_values = [] {
  std::array<std::int8_t, 256> values{};
  for (auto& value : values) value = -1;
  for (int i = 0; i < 10; ++i)
    values[static_cast<std::size_t>('0' + i)] = static_cast<std::int8_t>(i);
  for (int i = 0; i < 6; ++i)
    values[static_cast<std::size_t>('a' + i)] = values[static_cast<std::size_t>('A' + i)] =
        static_cast<std::int8_t>(10 + i);
  return values;
}();

/// The pattern that a line spells, with or without 0x before and \r behind.
std::uint32_t pattern_of(std::string_view line, int digits, std::uint64_t number) {
  std::string_view text = line;
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  std::uint32_t bits = 0;
  int wrong = text.empty() || text.size() > static_cast<std::size_t>(digits) ? 1 : 0;
  for (const char c : text) {
    const int value = digit_values[static_cast<unsigned char>(c)];
    wrong |= value < 0 ? 1 : 0;
    bits = bits << 4 | (static_cast<std::uint32_t>(value) & 0xfu);
  }
  if (wrong != 0) {
    std::string shown;
    for (const char c : line.substr(0, 40)) shown += c >= ' ' && c <= '~' ? c : '?';
    throw InputError(
        fmt::format("standard input, line {}: '{}' is no hexadecimal pattern of up to {} digits",
                    number, shown, digits));
  }
  return bits;
}

class Output {
 public:
  explicit Output(std::function<void(std::string_view)> write) : write_(std::move(write)) {}

  void put(std::uint32_t value, int digits) {
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
      buffer_[used_++] = "0123456789abcdef"[value >> shift & 0xfu];
    buffer_[used_++] = '\n';
    if (used_ + 16 > buffer_.size()) flush();
  }
  void flush() {
    write_({buffer_.data(), used_});
    used_ = 0;
  }

 private:
  std::function<void(std::string_view)> write_;
  std::array<char, 1 << 16> buffer_;
  std::size_t used_ = 0;
};

/// Converts standard input line by line; returns how many lines there were.
std::uint64_t convert(const Conversion& conversion,
                      const std::function<void(std::string_view)>& write) {
  Output output(write);
  std::string block(1 << 20, '\0'), rest;
  std::uint64_t lines = 0;
  const auto line = [&](std::string_view text) {
    const std::uint32_t bits = pattern_of(text, conversion.digits, lines + 1);
    if (conversion.encodes)
      output.put(encode_bits(conversion.codec, conversion.source, bits, lines), 2);
    else
      output.put(decode_bits(conversion.codec.format, static_cast<std::uint8_t>(bits)), 8);
    ++lines;
  };
  try {
    for (;;) {
      const ssize_t got = ::read(STDIN_FILENO, block.data(), block.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw InputError(fmt::format("standard input: {}", std::strerror(errno)));
      if (got == 0) break;
      std::string_view text(block.data(), static_cast<std::size_t>(got));
      for (std::size_t end; (end = text.find('\n')) != std::string_view::npos;
           text.remove_prefix(end + 1)) {
        if (rest.empty()) {
          line(text.substr(0, end));
        } else {
          rest.append(text.substr(0, end));
          line(std::exchange(rest, {}));
        }
      }
      rest.append(text);
      if (rest.size() > 1024) line(rest);  // throws: no pattern is so long
      output.flush();
    }
    if (!rest.empty()) line(rest);
  } catch (const InputError&) {
    output.flush();  // what came before the bad line stands
    throw;
  }
  output.flush();
  return lines;
}

void stream(const Request& request) {
  convert(conversion_of(request), [](std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      throw InputError("standard output: cannot be written");
  });
}

Json run(const Request& request) {
  const Conversion conversion = conversion_of(request);
  std::string text;
  const std::uint64_t lines =
      convert(conversion, [&](std::string_view converted) { text += converted; });
  Json patterns = Json::array();
  const std::size_t digits = conversion.encodes ? 2 : 8;
  for (std::size_t at = 0; at < text.size(); at += digits + 1)
    patterns.push_back(text.substr(at, digits));
  return {{"direction", request.text("DIRECTION")},
          {"format", to_string(conversion.codec.format)},
          {"rounding", to_string(conversion.codec.rounding)},
          {"overflow", request.text("--overflow")},
          {"from", request.text("--from")},
          {"lines", lines},
          {conversion.encodes ? "codes" : "float32", std::move(patterns)}};
}

std::string text(const Json& document, const Style&) {
  std::string out;
  for (const char* field : {"codes", "float32"})
    if (document.contains(field))
      for (const auto& pattern : document.at(field)) out += pattern.get<std::string>() + '\n';
  return out;
}

}  // namespace

Command codec_command() {
  return {
      .name = "codec",
      .summary = "Bit patterns through an 8-bit format, one a line",
      .example =
          "  printf '3f800000\\n47200000\\n' | ospsim codec encode --format hif8\n"
          "  printf '08\\n6f\\n' | ospsim codec decode --format hif8",
      .options = {{"DIRECTION",
                   "encode|decode",
                   "hexadecimal patterns from standard input: to codes of two digits, or codes "
                   "to float32 patterns of eight",
                   {},
                   Option::Occurs::once},
                  {"--format", "hif8|e4m3|e5m2|e8m0", "e8m0 is a scale, 2^(code - 127)", "hif8"},
                  {"--rounding", "ta|rne|hybrid|hybrid-exact|stochastic|floor|ceil",
                   "hif8: ta by default, or rne, hybrid (as published), hybrid-exact (leaves "
                   "exact values alone), stochastic; e4m3, e5m2: rne by default, or ta, "
                   "stochastic; e8m0: floor by default, or ceil"},
                  {"--overflow", "ieee|saturate",
                   "Inf (NaN where there is none), or the largest number", "ieee"},
                  {"--from", "f32|bf16|f16", "what is encoded", "f32"}},
      .run = run,
      .text = text,
      .stream = stream};
}

}  // namespace ospsim
