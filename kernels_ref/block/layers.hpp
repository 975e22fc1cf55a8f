#pragma once

#include <span>
#include <vector>

#include "kernels_ref/block/dit_block.hpp"
#include "kernels_ref/block/operations.hpp"

namespace ospsim {

/// The layers of a block on one device. A strategy that only exchanges what attention reads and
/// writes overrides `attend` and `attend_backward`.
template <Backend B>
class OneDeviceLayers : public DitBlockLayers<Real<B>> {
 public:
  using T = Real<B>;
  using Array = std::vector<T>;
  using View = std::span<const T>;

  /// `groups` and `positions` are named, not copied.
  OneDeviceLayers(const DitBlockShape& shape, std::span<const AttentionGroup> groups,
                  std::span<const TokenPosition> positions, int threads)
      : shape_(shape), groups_(groups), positions_(positions), threads_(threads) {}

  Array self_attention(const AttentionWeights<T>& weights, View x) override;
  Array self_attention_backward(const AttentionWeights<T>& weights, View dy,
                                AttentionWeights<T>& gradient) override;
  Array feed_forward(const LinearWeights<T>& up, const LinearWeights<T>& down, View x) override;
  Array feed_forward_backward(const LinearWeights<T>& up, const LinearWeights<T>& down, View dy,
                              LinearWeights<T>& up_gradient,
                              LinearWeights<T>& down_gradient) override;

 protected:
  /// a.attended [rows, dim] of a.q, a.k, a.v.
  virtual void attend(AttentionActivations<T>& a);
  virtual void attend_backward(const AttentionActivations<T>& a, View d_attended, Array& dq,
                               Array& dk, Array& dv);

 private:
  Operations<B> operations() const { return {shape_, threads_}; }

  DitBlockShape shape_;
  std::span<const AttentionGroup> groups_;
  std::span<const TokenPosition> positions_;
  int threads_;

  Array modulated_;
  AttentionActivations<T> attention_;
  Array ffn_modulated_, ffn_up_, ffn_gelu_;
};

}  // namespace ospsim
