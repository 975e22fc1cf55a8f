#include "experiments/pattern_error/peers.hpp"

#include "analysis/recall.hpp"

namespace ospsim {

Pattern pattern_of(const Peer& peer) {
  return compared_pattern(peer.pattern, parse_ratio(peer.ratio));
}

std::vector<Mask> masks_of(const Peer& peer, const Grid& grid) {
  if (is_mask(peer.pattern)) return {parse_mask(peer.pattern, grid)};
  return masks_of(pattern_of(peer), grid);
}

}  // namespace ospsim
