#pragma once

#include <vector>

#include "analysis/mask.hpp"
#include "kernels_ref/layout/pattern.hpp"

namespace ospsim {

/// A pattern or mask as figures call it.
struct Peer {
  const char* label;
  const char* pattern;
  const char* ratio;  ///< of a pattern
};

inline constexpr Peer one_dimensional{"Skiparse-1D, 4", "skiparse-1d", "4"};
inline constexpr Peer two_dimensional{"Skiparse-2D, 2", "skiparse-2d", "2"};

/// At 21x48x80, with as close to a quarter of the pairs as each can have.
std::vector<Peer> peers_at_4();

/// As compared_pattern() (analysis/recall.hpp) takes it. Throws InputError for a mask.
Pattern pattern_of(const Peer& peer);
std::vector<Mask> masks_of(const Peer& peer, const Grid& grid);

}  // namespace ospsim
