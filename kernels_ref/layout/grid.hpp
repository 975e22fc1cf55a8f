#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ospsim {

/// A video as the transformer sees it: T x H x W patch tokens, numbered row-major in (t, y, x).
/// Every extent is at least 1 and the product at most 2^53, so token numbers are exact in JSON.
struct Grid {
  std::int64_t t = 1, h = 1, w = 1;

  constexpr std::int64_t tokens() const { return t * h * w; }
  constexpr std::int64_t frame_tokens() const { return h * w; }
  friend constexpr bool operator==(const Grid&, const Grid&) = default;
};

/// Where a token sits in the video. It keeps this position however it is rearranged (paper section
/// 0).
struct TokenPosition {
  std::int64_t t = 0, y = 0, x = 0;
  friend bool operator==(const TokenPosition&, const TokenPosition&) = default;
};

constexpr TokenPosition position_of(std::int64_t token, const Grid& grid) {
  return {token / grid.frame_tokens(), token / grid.w % grid.h, token % grid.w};
}

inline constexpr std::int64_t max_tokens = std::int64_t{1} << 53;

/// Reads "TxHxW", e.g. "21x45x80". Throws InputError.
Grid parse_grid(std::string_view text);

/// The token grid of a video in pixels, for Wan2.1's VAE (stride 4,8,8) and patch (1,2,2): the
/// first frame is coded alone, so frames = 4n + 1; height and width are multiples of 16 (paper
/// section 4.1). `resolution` is 480p (480x832), 720p (720x1280), 768p (768x1280) or "HEIGHTxWIDTH"
/// in pixels. Throws InputError.
Grid grid_of_video(std::string_view resolution, std::int64_t frames);

std::string to_string(const Grid& grid);

}  // namespace ospsim
