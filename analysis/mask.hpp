#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/interaction.hpp"
#include "kernels_ref/count.hpp"
#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// Who attends to whom along one axis: coordinates are gathered into blocks, and blocks attend to
/// blocks.
struct AxisMask {
  char name = 'i';  ///< t, y, x; s, the flattened frame; i, the flattened video
  std::int64_t token_stride = 1;
  std::vector<std::int32_t> block_of;  ///< [coordinates]; every block has at least one
  std::int64_t blocks = 1;
  std::vector<std::uint8_t> allowed;  ///< [blocks of queries][blocks of keys], 0 or 1

  std::int64_t extent() const { return std::ssize(block_of); }
  bool attends(std::int64_t query, std::int64_t key) const {
    return allowed[static_cast<std::size_t>(block_of[static_cast<std::size_t>(query)] * blocks +
                                            block_of[static_cast<std::size_t>(key)])] != 0;
  }
  bool attends_to_all() const;
};
/// The mask of one axis from what blocks do. Throws InputError for more than 8,192 blocks.
AxisMask axis_mask(char name, std::int64_t token_stride, std::vector<std::int32_t> block_of,
                   std::int64_t blocks,
                   const std::function<bool(std::int64_t query, std::int64_t key)>& attends);

/// Whom each token attends to in one operation, whether or not that is a partition: a token attends
/// to another iff it does so along every axis. The axes are (t, y, x), (t, s) or (i). Every token
/// attends to itself.
struct Mask {
  Grid grid;
  std::vector<AxisMask> axes;

  bool attends(std::int64_t query, std::int64_t key) const;
};

/// One phase of a pattern as a mask: a block is a class of coordinates that agree in the digits
/// naming the sub-sequence, and attends to itself alone.
Mask mask_of(const Layout& layout);

/// Of each phase of a pattern, one or two. Throws InputError as Layout does.
std::vector<Mask> masks_of(const Pattern& pattern, const Grid& grid);

struct MaskedPattern {
  std::string name;
  std::vector<Mask> phases;  ///< one or two: token, then group
};

/// The field's masks that are no partition, as "NAME:key=value,...". Extents are TxHxW; values in
/// brackets are what is taken if the key is not given.
///
///   local:window=TxHxW,stride=TxHxW [1x1x1]
///       A box of that many tokens around each token, shifted inward at the border so that it stays
///       whole. Every `stride` neighbours share one. Neighbourhood attention (arXiv 2204.07143;
///       strides: 2504.16922).
///   sliding-tile:tile=TxHxW [6x8x8],window=TxHxW
///       The same between tiles, `window` of them per axis: an odd number or all. STA (arXiv
///       2502.04507); tiles cut by the border, which it does not have, are smaller.
///   svg-spatial:density=D,block=B [128]
///   svg-temporal:density=D,block=B [128]
///       A band around each token and the first H*W tokens, of tokens frame by frame or position by
///       position. Sparse VideoGen's two kinds of heads (arXiv 2502.01776) as its code has them for
///       Wan2.1, but for the band's edges, here whole blocks. `density` is what its code calls
///       sparsity: the band's share of all pairs.
///   radial:decay=D,adjacent=A [0.5],sink=0|1 [1],block=B [128]
///       Everything inside a frame and from the first one (unless sink=0); between neighbouring
///       frames a band of A frames to either side, between frames further apart one of D * 2^-b
///       frames, b the bits of their distance. Radial Attention (arXiv 2506.19852) as its code has
///       it.
///
/// Throws InputError.
Mask parse_mask(std::string_view text, const Grid& grid);
bool is_mask(std::string_view text);
std::vector<std::string_view> mask_names();

/// Ordered pairs that attend, self pairs included.
Count attended_pairs(const Mask& mask);
/// Ordered pairs of tokens over pairs that attend: what attention's cost is divided by.
double sparsity(const Mask& mask);

/// The questions of interaction.hpp, every operation using the same mask.
std::vector<Reach> reach(const Mask& mask, int hops);
AverageDistance average_distance(const Mask& mask);
std::optional<Fraction> neighbour_coverage(const Mask& mask, std::int64_t radius);
std::optional<double> anisotropy(const Mask& mask);

}  // namespace ospsim
