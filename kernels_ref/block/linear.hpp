#pragma once

#include <cstdint>
#include <span>

#include "kernels_ref/backend.hpp"

namespace ospsim {

struct LinearShape {
  std::int64_t rows = 0, in = 0, out = 0;
};

/// y = x W^T + b for x [rows, in], weight [out, in], bias [out] or empty, y [rows, out], all
/// contiguous. `threads` 0 means all cores. Throws std::invalid_argument where a size does not fit.
template <Backend B>
void linear_forward(LinearShape shape, std::span<const Real<B>> x, std::span<const Real<B>> weight,
                    std::span<const Real<B>> bias, std::span<Real<B>> y, int threads = 0);

/// dx = dy W, dweight = dy^T x, dbias = the sum of dy over rows. Each is overwritten; one that is
/// empty is not computed.
template <Backend B>
void linear_backward(LinearShape shape, std::span<const Real<B>> x, std::span<const Real<B>> weight,
                     std::span<const Real<B>> dy, std::span<Real<B>> dx, std::span<Real<B>> dweight,
                     std::span<Real<B>> dbias, int threads = 0);

/// 2 FLOP per row, input and output forward: the sum starts from the bias, which costs nothing
/// extra. Backward twice that, and the additions of dbias.
Cost linear_forward_cost(LinearShape shape, int bytes_per_element);
Cost linear_backward_cost(LinearShape shape, int bytes_per_element);

}  // namespace ospsim
