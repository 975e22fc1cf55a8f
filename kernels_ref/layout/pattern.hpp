#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ospsim {

/// A pattern alternates between two phases from block to block, or has one. The paper calls them
/// token-wise and group-wise Skiparse attention (TSA, GSA; section 3.1).
enum class Phase { token, group };

/// The coordinates a pattern is written in: (t, y, x); (t, s) with s = y*W + x, the flattened
/// frame; or (i), the flattened video.
enum class Coordinates { video, frame, flat };

/// One digit as a user spells it, before a grid gives it a stride and a radix.
///   y0, y1, ...  digit of y in base `ratio`, least significant first (stride ratio^level)
///   yb           what stands above the numbered digits of that axis
///   y            the whole axis
///   y/n          which of n equal tiles of the axis
struct DigitSpec {
  enum class Kind { level, above, whole, tile };
  char axis = 'i';  ///< t, y, x, s or i
  Kind kind = Kind::whole;
  std::int64_t number = 0;  ///< the level of a `level`, the count of a `tile`
  friend bool operator==(const DigitSpec&, const DigitSpec&) = default;
};

/// Ratios per axis; a one-number ratio k stands for {k, k, k}. `y` also serves the axes s and i.
struct Ratio {
  std::int64_t t = 1, y = 1, x = 1;
  friend constexpr bool operator==(const Ratio&, const Ratio&) = default;
};

/// Reads "4" or "1,2,2". Each number is in 1..65536. Throws InputError.
Ratio parse_ratio(std::string_view text);

/// Which tokens attend to each other, said without a grid: for each phase the digits that name the
/// sub-sequence. Attention is dense inside a sub-sequence.
struct Pattern {
  std::string name;  ///< as the user wrote it
  Coordinates coordinates = Coordinates::video;
  Ratio ratio;
  std::vector<std::vector<DigitSpec>> phases;  ///< one or two

  std::size_t phase_count() const { return phases.size(); }
  const std::vector<DigitSpec>& digits(Phase phase) const {
    return phases[phase == Phase::token ? 0 : phases.size() - 1];
  }
  /// The digits spelled out, e.g. "y0,x0|y1,x1"; "full" when there are none.
  std::string spelled() const;
};

/// Makes a pattern from its name and ratio. Names, with the spelling each stands for:
///
///   full                               (no digits)
///   skiparse-1d   i0|i1                per_frame: s0|s1, each frame flattened and padded alone
///   skiparse-2d   y0,x0|y1,x1
///   skiparse-3d   t0,y0,x0|t1,y1,x1    ratio k or kt,ky,kx
///   window        t/nt,y/ny,x/nx       ratio nt,ny,nx is the number of tiles per axis
///   2+1d          t|y,x                takes no ratio
///   skip+window   i0|ib                windows of `ratio` neighbours (Open-Sora Plan v1.3)
///
/// Anything else is read as a spelling. Throws InputError.
Pattern parse_pattern(std::string_view text, Ratio ratio, bool per_frame = false);
/// Whether parse_pattern takes per_frame for this name.
bool has_per_frame_variant(std::string_view pattern_name);

/// The names above, in that order.
std::vector<std::string_view> pattern_names();

/// "token" or "group". Throws InputError.
Phase parse_phase(std::string_view text);

std::string_view to_string(Phase phase);

}  // namespace ospsim
