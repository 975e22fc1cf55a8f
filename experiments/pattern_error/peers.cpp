#include "experiments/pattern_error/peers.hpp"

#include <string_view>

namespace ospsim {

Pattern pattern_of(const Peer& peer) {
  return parse_pattern(peer.pattern, parse_ratio(peer.ratio),
                       std::string_view(peer.pattern) == "skiparse-1d");
}

std::vector<Mask> masks_of(const Peer& peer, const Grid& grid) {
  if (is_mask(peer.pattern)) return {parse_mask(peer.pattern, grid)};
  return masks_of(pattern_of(peer), grid);
}

}  // namespace ospsim
