#pragma once

#include <span>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/block/rows.hpp"

namespace ospsim {

/// adaLN: y = x * (1 + scale) + shift, with scale and shift [dim] the same for every row.
/// `threads` 0 means all cores. Throws std::invalid_argument where a size does not fit.
template <Backend B>
void modulate_forward(RowsShape shape, std::span<const Real<B>> x, std::span<const Real<B>> scale,
                      std::span<const Real<B>> shift, std::span<Real<B>> y, int threads = 0);

template <Backend B>
void modulate_backward(RowsShape shape, std::span<const Real<B>> x, std::span<const Real<B>> scale,
                       std::span<const Real<B>> dy, std::span<Real<B>> dx,
                       std::span<Real<B>> dscale, std::span<Real<B>> dshift, int threads = 0);

/// y = x + gate * r, with gate [dim] the same for every row, or empty: y = x + r. y may be x.
template <Backend B>
void gated_residual_forward(RowsShape shape, std::span<const Real<B>> x, std::span<const Real<B>> r,
                            std::span<const Real<B>> gate, std::span<Real<B>> y, int threads = 0);

/// The gradients of r and of the gate; that of x is dy itself.
template <Backend B>
void gated_residual_backward(RowsShape shape, std::span<const Real<B>> r,
                             std::span<const Real<B>> gate, std::span<const Real<B>> dy,
                             std::span<Real<B>> dr, std::span<Real<B>> dgate, int threads = 0);

/// FLOP per element: modulate 2 forward, 4 backward; gated residual 2 and 3, without a gate 1 and
/// 0.
Cost modulate_forward_cost(RowsShape shape, int bytes_per_element);
Cost modulate_backward_cost(RowsShape shape, int bytes_per_element);
Cost gated_residual_forward_cost(RowsShape shape, bool gated, int bytes_per_element);
Cost gated_residual_backward_cost(RowsShape shape, bool gated, int bytes_per_element);

}  // namespace ospsim
