#include "experiments/pattern_error/peers.hpp"

#include "analysis/recall.hpp"

namespace ospsim {

std::vector<Peer> peers_at_4() {
  return {one_dimensional,
          two_dimensional,
          {"Skiparse-3D, 2,2,1", "skiparse-3d", "2,2,1"},
          {"Skiparse-3D, 2,1,2", "skiparse-3d", "2,1,2"},
          {"token phase, then tiles", "y0,x0|y/2,x/2", "2"},
          {"tiles 1x2x2", "window", "1,2,2"},
          {"sliding tiles", "sliding-tile:window=4x3x5", ""},
          {"local window", "local:window=21x24x40", ""},
          {"radial, decay 0.2", "radial:decay=0.2", ""},
          {"SVG spatial head", "svg-spatial:density=0.21", ""},
          {"SVG temporal head", "svg-temporal:density=0.21", ""}};
}

Pattern pattern_of(const Peer& peer) {
  return compared_pattern(peer.pattern, parse_ratio(peer.ratio));
}

std::vector<Mask> masks_of(const Peer& peer, const Grid& grid) {
  if (is_mask(peer.pattern)) return {parse_mask(peer.pattern, grid)};
  return masks_of(pattern_of(peer), grid);
}

}  // namespace ospsim
