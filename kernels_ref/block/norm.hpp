#pragma once

#include <span>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/block/rows.hpp"

namespace ospsim {

/// y = (x - mean) / sqrt(variance + epsilon) * weight + bias, with the mean and the (biased)
/// variance of each row. weight and bias [dim], or both empty: then 1 and 0 (Wan2.1's LayerNorm
/// before adaLN). `threads` 0 means all cores. Throws std::invalid_argument where a size does not
/// fit.
template <Backend B>
void layer_norm_forward(RowsShape shape, std::span<const Real<B>> x,
                        std::span<const Real<B>> weight, std::span<const Real<B>> bias,
                        double epsilon, std::span<Real<B>> y, int threads = 0);

/// dweight and dbias are empty exactly where weight is.
template <Backend B>
void layer_norm_backward(RowsShape shape, std::span<const Real<B>> x,
                         std::span<const Real<B>> weight, double epsilon,
                         std::span<const Real<B>> dy, std::span<Real<B>> dx,
                         std::span<Real<B>> dweight, std::span<Real<B>> dbias, int threads = 0);

/// y = x / sqrt(mean of x^2 + epsilon) * weight, over each whole row: Wan2.1 normalises q and k
/// over all heads together.
template <Backend B>
void rms_norm_forward(RowsShape shape, std::span<const Real<B>> x, std::span<const Real<B>> weight,
                      double epsilon, std::span<Real<B>> y, int threads = 0);

template <Backend B>
void rms_norm_backward(RowsShape shape, std::span<const Real<B>> x, std::span<const Real<B>> weight,
                       double epsilon, std::span<const Real<B>> dy, std::span<Real<B>> dx,
                       std::span<Real<B>> dweight, int threads = 0);

/// FLOP per element, every addition and multiplication counted once and what is done per row left
/// out: layer norm 6 forward and 13 backward, with weight and bias 8 and 17; RMS norm 4 and 11.
Cost layer_norm_forward_cost(RowsShape shape, bool affine, int bytes_per_element);
Cost layer_norm_backward_cost(RowsShape shape, bool affine, int bytes_per_element);
Cost rms_norm_forward_cost(RowsShape shape, int bytes_per_element);
Cost rms_norm_backward_cost(RowsShape shape, int bytes_per_element);

}  // namespace ospsim
