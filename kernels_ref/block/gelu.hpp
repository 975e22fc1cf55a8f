#pragma once

#include <cstdint>
#include <span>

#include "kernels_ref/backend.hpp"

namespace ospsim {

/// y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), element by element: the approximation
/// of GELU (Hendrycks and Gimpel, arXiv 1606.08415) that Wan2.1 uses. `threads` 0 means all cores.
/// Throws std::invalid_argument where sizes differ.
template <Backend B>
void gelu_tanh_forward(std::span<const Real<B>> x, std::span<Real<B>> y, int threads = 0);

/// dx may be dy.
template <Backend B>
void gelu_tanh_backward(std::span<const Real<B>> x, std::span<const Real<B>> dy,
                        std::span<Real<B>> dx, int threads = 0);

/// 9 FLOP per element forward and 18 backward, with tanh counted as one.
Cost gelu_tanh_forward_cost(std::int64_t elements, int bytes_per_element);
Cost gelu_tanh_backward_cost(std::int64_t elements, int bytes_per_element);

}  // namespace ospsim
