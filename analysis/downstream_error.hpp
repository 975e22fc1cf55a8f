#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/formats/scaling.hpp"

/// What rounding the operands of an operation does to its results. The arithmetic itself stays
/// float32, as in the paper's simulation (section 3.5), and results are not rounded.
namespace ospsim {

/// A tensor in rows of `columns`, rounded in some way.
using Rounder = std::function<std::vector<float>(std::span<const float> x, std::int64_t columns)>;

/// What is done to operands of the forward pass, and to gradients.
struct OperandRounding {
  Rounder forward, gradient;
};
OperandRounding no_rounding();
OperandRounding bf16_rounding();  ///< to nearest even, without scales
OperandRounding quantization_rounding(const Quantization& forward, const Quantization& backward,
                                      int threads = 0);

/// y [rows, out], dx [rows, in], dweight [out, in].
struct LinearResult {
  std::vector<float> y, dx, dweight;
};
/// y = x W^T of rounded x and weight; dx = dy W and dweight = dy^T x of rounded dy and the same
/// rounded weight and x (the paper's HiF8 linear layer). Shapes as in kernels_ref/block/linear.hpp.
LinearResult rounded_linear(LinearShape shape, std::span<const float> x,
                            std::span<const float> weight, std::span<const float> dy,
                            const OperandRounding& rounding, int threads = 0);

/// All [heads, tokens, head_dim].
struct AttentionResult {
  std::vector<float> o, dq, dk, dv;
};
struct AttentionShape {
  std::int64_t heads = 0, tokens = 0, head_dim = 0;
};
/// Full attention of rounded q, k and v; its gradients for d_o, which is not rounded, are rounded
/// at the end (the paper's HiF8 attention: the probabilities stay in full precision).
AttentionResult rounded_attention(AttentionShape shape, std::span<const float> q,
                                  std::span<const float> k, std::span<const float> v,
                                  std::span<const float> d_o, const OperandRounding& rounding,
                                  int threads = 0);

/// sqrt(sum (a - b)^2 / sum b^2), in double.
double relative_l2(std::span<const float> a, std::span<const float> b);

}  // namespace ospsim
