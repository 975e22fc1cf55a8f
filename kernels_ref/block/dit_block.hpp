#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/block/rope.hpp"

namespace ospsim {

/// One block of Wan2.1 (and of OSP-Next), e.g. 14B: dim 5120, heads 40, ffn_dim 13824, text_rows
/// 512.
struct DitBlockShape {
  std::int64_t rows = 0;       ///< video tokens, padding included
  std::int64_t text_rows = 0;  ///< text tokens
  std::int64_t dim = 0;
  std::int64_t heads = 1;
  std::int64_t ffn_dim = 0;

  std::int64_t head_dim() const { return dim / heads; }
};

inline constexpr double dit_epsilon = 1e-6;  ///< of every norm

/// weight [out, in], bias [out].
template <class T>
struct LinearWeights {
  std::vector<T> weight, bias;
};

/// q and k are RMS-normed over all heads together, with weights q_norm and k_norm [dim].
template <class T>
struct AttentionWeights {
  LinearWeights<T> q, k, v, o;
  std::vector<T> q_norm, k_norm;
};

template <class T>
struct DitBlockWeights {
  AttentionWeights<T> self_attention, cross_attention;
  std::vector<T> cross_norm_weight, cross_norm_bias;
  LinearWeights<T> ffn_up, ffn_down;
};

/// All weights, of the sizes the shape asks for, zero.
template <class T>
DitBlockWeights<T> zero_weights(const DitBlockShape& shape);

/// Calls f(array) for every weight array, always in the same order.
template <class Weights, class F>
void for_each_weight(Weights& weights, F f) {
  for (auto* attention : {&weights.self_attention, &weights.cross_attention}) {
    for (auto* linear : {&attention->q, &attention->k, &attention->v, &attention->o}) {
      f(linear->weight);
      f(linear->bias);
    }
    f(attention->q_norm);
    f(attention->k_norm);
  }
  f(weights.cross_norm_weight);
  f(weights.cross_norm_bias);
  for (auto* linear : {&weights.ffn_up, &weights.ffn_down}) {
    f(linear->weight);
    f(linear->bias);
  }
}

/// The layers of a block in which tokens meet or whose work ranks can share: what sequence
/// parallelism replaces. Each forward function keeps what its backward function needs.
template <class T>
class DitBlockLayers {
 public:
  virtual ~DitBlockLayers() = default;
  /// x [rows, dim], normed and modulated, to the layer's output [rows, dim].
  virtual std::vector<T> self_attention(const AttentionWeights<T>& weights,
                                        std::span<const T> x) = 0;
  /// From the gradient of the output to that of x; those of the weights are overwritten.
  virtual std::vector<T> self_attention_backward(const AttentionWeights<T>& weights,
                                                 std::span<const T> dy,
                                                 AttentionWeights<T>& gradient) = 0;
  virtual std::vector<T> feed_forward(const LinearWeights<T>& up, const LinearWeights<T>& down,
                                      std::span<const T> x) = 0;
  virtual std::vector<T> feed_forward_backward(const LinearWeights<T>& up,
                                               const LinearWeights<T>& down, std::span<const T> dy,
                                               LinearWeights<T>& up_gradient,
                                               LinearWeights<T>& down_gradient) = 0;
};

template <class T>
struct DitBlockInputs {
  std::span<const T> x;           ///< [rows, dim]
  std::span<const T> text;        ///< [text_rows, dim]
  std::span<const T> modulation;  ///< [6, dim]: shift, scale, gate of self-attention, then of the
                                  ///< FFN; the block's table and the time embedding already added
  std::span<const AttentionGroup> groups;          ///< of self-attention, over the rows of x
  std::span<const TokenPosition> positions;        ///< [rows]
  std::shared_ptr<DitBlockLayers<T>> layers = {};  ///< empty: those of one device
};

/// What the backward pass of one attention layer needs.
template <class T>
struct AttentionActivations {
  std::vector<T> q_linear, k_linear;  ///< before the norm
  std::vector<T> q, k, v, attended;   ///< as attention reads and writes them
  std::vector<T> lse;
};

/// What the backward pass of a block needs.
template <class T>
struct DitBlockActivations {
  std::shared_ptr<DitBlockLayers<T>> layers;
  std::vector<T> self_normed, self_output;
  std::vector<T> after_self;  ///< x + gate * self_output
  std::vector<T> cross_normed;
  AttentionActivations<T> cross_attention;
  std::vector<T> after_cross;
  std::vector<T> ffn_normed, ffn_output;
};

/// One block, with e = modulation:
///
///     x <- x + e2 * self_attention(LN(x) * (1 + e1) + e0)
///     x <- x + cross_attention(LN(x) * weight + bias, text)
///     y  = x + e5 * W_down gelu(W_up (LN(x) * (1 + e4) + e3))
///
/// Self-attention turns q and k by RoPE and stays inside groups; in cross-attention every row
/// attends to all of the text.
///
/// y [rows, dim]; `activations` is overwritten, and goes on naming the arrays behind
/// `inputs.groups` and `inputs.positions`. `threads` 0 means all cores. Throws
/// std::invalid_argument where a size does not fit. For Backend naive and cpu; on a device it is
/// DeviceForward (block/device_forward.hpp) that runs blocks.
template <Backend B>
void dit_block_forward(const DitBlockShape& shape, const DitBlockWeights<Real<B>>& weights,
                       const DitBlockInputs<Real<B>>& inputs, std::span<Real<B>> y,
                       DitBlockActivations<Real<B>>& activations, int threads = 0);

template <class T>
struct DitBlockGradients {
  std::vector<T> x, text, modulation;  ///< of the sizes of the inputs
  DitBlockWeights<T> weights;
};

/// Gradients of everything the block reads, from those of y. Rows of padding are no different from
/// others; they add nothing where dy is zero.
template <Backend B>
DitBlockGradients<Real<B>> dit_block_backward(const DitBlockShape& shape,
                                              const DitBlockWeights<Real<B>>& weights,
                                              const DitBlockInputs<Real<B>>& inputs,
                                              const DitBlockActivations<Real<B>>& activations,
                                              std::span<const Real<B>> dy, int threads = 0);

/// The sum of the costs of the operations of a block, by part.
struct DitBlockCost {
  Cost self_attention;   ///< q k^T and p v
  Cost projections;      ///< q, k, v, o of self-attention
  Cost cross_attention;  ///< both its products and its q, k, v, o
  Cost feed_forward;     ///< W_up and W_down
  Cost elementwise;      ///< norms, modulation, RoPE, GELU, residuals

  Cost matrix() const { return self_attention + projections + cross_attention + feed_forward; }
  Cost total() const { return matrix() + elementwise; }
};

/// `self_pairs` is attended_pairs of the groups. `text_copies` is how often keys and values of the
/// text are computed: once, or once per sub-sequence where these stand on the batch axis (paper
/// section 1.4).
DitBlockCost dit_block_forward_cost(const DitBlockShape& shape, Count self_pairs,
                                    std::int64_t text_copies, int bytes_per_element);
DitBlockCost dit_block_backward_cost(const DitBlockShape& shape, Count self_pairs,
                                     std::int64_t text_copies, int bytes_per_element);

}  // namespace ospsim
