#include "experiments/cli/pattern_options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>

namespace ospsim {
namespace {

bool takes_ratio(const Pattern& pattern) {
  using Kind = DigitSpec::Kind;
  if (pattern.name == "window") return true;
  for (const auto& phase : pattern.phases)
    for (const auto& digit : phase)
      if (digit.kind == Kind::level || digit.kind == Kind::above) return true;
  return false;
}

}  // namespace

std::vector<Option> grid_options() {
  return {{"--grid", "TxHxW", "tokens per axis, such as 21x45x80"},
          {"--resolution", "R", "instead of --grid: 480p, 720p, 768p or HEIGHTxWIDTH in pixels"},
          {"--frames", "N", "frames of that video, 4n + 1", "81"}};
}

std::vector<Option> pattern_options() {
  return {{"--pattern",
           "P",
           fmt::format("{}, or digits such as 'y0,x0|y1,x1'", fmt::join(pattern_names(), ", ")),
           {},
           Option::Occurs::once},
          {"--ratio,--tiles", "K",
           "subsampling per axis: K or KT,KY,KX; for window the tiles NT,NY,NX"},
          {"--per-frame", "", "skiparse-1d: flatten and pad each frame by itself"}};
}

std::vector<Option> pattern_or_mask_options() {
  auto options = pattern_options();
  options.front().help +=
      "; or a mask: local:window=TxHxW,stride=TxHxW [1x1x1], in tokens; "
      "sliding-tile:window=TxHxW,tile=TxHxW [6x8x8], the window in tiles; "
      "svg-spatial:density=D or svg-temporal:density=D, the band's share of all pairs; "
      "radial:decay=D,adjacent=A [0.5],sink=0|1 [1], bands in frames; "
      "the last three in blocks of block=B [128] tokens";
  return options;
}

Option phase_option() {
  return {
      "--phase", "token|group", "which of the two alternating phases", {}, Option::Occurs::once};
}

std::vector<Option> joined(std::initializer_list<std::vector<Option>> parts) {
  std::vector<Option> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Grid grid_of(const Request& request) {
  if (request.has("--grid") == request.has("--resolution"))
    throw InputError("--grid: give either it, as TxHxW in tokens, or --resolution");
  if (request.has("--grid")) {
    request.refuse({"--frames"}, frames_need_resolution);
    return naming("--grid", [&] { return parse_grid(request.text("--grid")); });
  }
  const auto frames = request.whole("--frames", 1, 1'000'000'000);
  return naming("--resolution",
                [&] { return grid_of_video(request.text("--resolution"), frames); });
}

Pattern pattern_of(const Request& request) {
  return pattern_of(request, "--pattern", "--ratio", [&](std::string_view text, Ratio ratio) {
    return parse_pattern(text, ratio, request.has("--per-frame"));
  });
}

Pattern pattern_of(const Request& request, const std::string& option,
                   const std::string& ratio_option,
                   const std::function<Pattern(std::string_view text, Ratio)>& parse) {
  std::optional<Ratio> ratio;
  if (request.has(ratio_option))
    ratio = naming(ratio_option, [&] { return parse_ratio(request.text(ratio_option)); });
  const std::string& text = request.text(option);
  const Pattern pattern = naming(option, [&] { return parse(text, ratio.value_or(Ratio{})); });
  if (!ratio && takes_ratio(pattern))
    throw InputError(
        fmt::format("{}: pattern '{}' needs one: a whole number such as 2, or three (t,y,x) such "
                    "as 1,2,2",
                    ratio_option, text));
  return pattern;
}

Mask mask_of(const Request& request, const Grid& grid) {
  return naming("--pattern", [&] { return parse_mask(request.text("--pattern"), grid); });
}

Phase phase_of(const Request& request) {
  return naming("--phase", [&] { return parse_phase(request.text("--phase")); });
}

Layout layout_of(const Pattern& pattern, const Grid& grid, Phase phase) {
  return naming("--pattern", [&] { return Layout(pattern, grid, phase); });
}

}  // namespace ospsim
