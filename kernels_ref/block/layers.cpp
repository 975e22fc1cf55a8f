#include "kernels_ref/block/layers.hpp"

#include "kernels_ref/block/gelu.hpp"

namespace ospsim {

template <Backend B>
std::vector<Real<B>> OneDeviceLayers<B>::self_attention(const AttentionWeights<T>& weights,
                                                        View x) {
  const auto op = operations();
  modulated_.assign(x.begin(), x.end());
  return op.attention(weights, modulated_, modulated_, op.video(), positions_, attention_,
                      [&] { attend(attention_); });
}

template <Backend B>
std::vector<Real<B>> OneDeviceLayers<B>::self_attention_backward(const AttentionWeights<T>& weights,
                                                                 View dy,
                                                                 AttentionWeights<T>& gradient) {
  const auto op = operations();
  auto dx =
      op.attention_gradient(weights, modulated_, modulated_, op.video(), positions_, attention_, dy,
                            gradient, [&](View d_attended, Array& dq, Array& dk, Array& dv) {
                              attend_backward(attention_, d_attended, dq, dk, dv);
                            });
  op.add(op.video(), dx.x, dx.context);
  return std::move(dx.x);
}

template <Backend B>
std::vector<Real<B>> OneDeviceLayers<B>::feed_forward(const LinearWeights<T>& up,
                                                      const LinearWeights<T>& down, View x) {
  const auto op = operations();
  ffn_modulated_.assign(x.begin(), x.end());
  ffn_up_ = op.linear(op.ffn_up(), up, ffn_modulated_);
  ffn_gelu_.resize(ffn_up_.size());
  gelu_tanh_forward<B>(ffn_up_, ffn_gelu_, threads_);
  return op.linear(op.ffn_down(), down, ffn_gelu_);
}

template <Backend B>
std::vector<Real<B>> OneDeviceLayers<B>::feed_forward_backward(const LinearWeights<T>& up,
                                                               const LinearWeights<T>& down,
                                                               View dy,
                                                               LinearWeights<T>& up_gradient,
                                                               LinearWeights<T>& down_gradient) {
  const auto op = operations();
  Array branch = op.linear_gradient(op.ffn_down(), down, ffn_gelu_, dy, down_gradient);
  gelu_tanh_backward<B>(ffn_up_, branch, branch, threads_);
  return op.linear_gradient(op.ffn_up(), up, ffn_modulated_, branch, up_gradient);
}

template <Backend B>
void OneDeviceLayers<B>::attend(AttentionActivations<T>& a) {
  operations().attend(groups_, a);
}

template <Backend B>
void OneDeviceLayers<B>::attend_backward(const AttentionActivations<T>& a, View d_attended,
                                         Array& dq, Array& dk, Array& dv) {
  operations().attend_gradient(groups_, a, d_attended, dq, dk, dv);
}

template class OneDeviceLayers<Backend::naive>;
template class OneDeviceLayers<Backend::cpu>;

}  // namespace ospsim
