#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// Positions of the rows of a tensor in (t, y, x) order, and of one in rearranged order
/// (row = sub-sequence * length + slot), where padding is given the origin.
std::vector<TokenPosition> positions_in_place(const Grid& grid);
std::vector<TokenPosition> positions_rearranged(const Layout& layout);

/// One pair of channels: it turns by angle = position along `axis` * frequency.
struct RopePair {
  std::int64_t TokenPosition::*axis;
  double frequency;
};

/// The head_dim / 2 pairs of a head, in order (Wan2.1): of the pairs, d/6 each belong to y and x
/// and the rest, which come first, to t; pair j of an axis with n pairs has frequency 10000^(-j /
/// n). 128 channels give 22 + 21 + 21 pairs. Throws std::invalid_argument for an odd head_dim.
std::vector<RopePair> rope_pairs(std::int64_t head_dim);

struct RopeShape {
  std::int64_t heads = 0, head_dim = 0;
};

/// Turns each pair of adjacent channels (2j, 2j + 1) of each head, read as a complex number, by its
/// angle. x, y [positions.size(), heads * head_dim], contiguous; y may be x. `threads` 0 means all
/// cores. Throws std::invalid_argument where a size does not fit.
template <Backend B>
void rope_3d_forward(RopeShape shape, std::span<const TokenPosition> positions,
                     std::span<const Real<B>> x, std::span<Real<B>> y, int threads = 0);

/// The rotation by the negative angles. dx may be dy.
template <Backend B>
void rope_3d_backward(RopeShape shape, std::span<const TokenPosition> positions,
                      std::span<const Real<B>> dy, std::span<Real<B>> dx, int threads = 0);

/// 3 FLOP per element in either direction; the angles, shared by all heads, are left out.
Cost rope_3d_cost(std::int64_t rows, RopeShape shape, int bytes_per_element);

}  // namespace ospsim
