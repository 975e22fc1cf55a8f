#include "kernels_ref/block/dit_block.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "kernels_ref/block/check.hpp"
#include "kernels_ref/block/layers.hpp"
#include "kernels_ref/block/operations.hpp"

namespace ospsim {
namespace {

template <class T>
void check_block(const DitBlockShape& s, const DitBlockInputs<T>& inputs) {
  if (s.heads < 1 || s.dim < 1 || s.dim % s.heads != 0)
    throw std::invalid_argument(
        fmt::format("DiT block: dim {} is not a multiple of {} heads", s.dim, s.heads));
  SizeCheck("DiT block")
      .has("x", inputs.x, s.rows * s.dim)
      .has("text", inputs.text, s.text_rows * s.dim)
      .has("modulation", inputs.modulation, 6 * s.dim)
      .has("positions", inputs.positions, s.rows);
}

/// The six vectors of the modulation.
template <class T>
struct Modulation {
  std::span<T> self_shift, self_scale, self_gate, ffn_shift, ffn_scale, ffn_gate;

  Modulation(std::span<T> all, std::int64_t dim) {
    std::size_t at = 0;
    for (auto* part : {&self_shift, &self_scale, &self_gate, &ffn_shift, &ffn_scale, &ffn_gate}) {
      *part = all.subspan(at, index(dim));
      at += index(dim);
    }
  }
};

}  // namespace

template <class T>
DitBlockWeights<T> zero_weights(const DitBlockShape& shape) {
  const std::int64_t dim = shape.dim, ffn_dim = shape.ffn_dim;
  const auto zeros = [](std::int64_t n) { return std::vector<T>(index(n)); };
  const auto linear = [&](std::int64_t in, std::int64_t out) {
    return LinearWeights<T>{zeros(out * in), zeros(out)};
  };
  const auto attention = [&] {
    return AttentionWeights<T>{linear(dim, dim), linear(dim, dim), linear(dim, dim),
                               linear(dim, dim), zeros(dim),       zeros(dim)};
  };
  return {attention(), attention(),          zeros(dim),
          zeros(dim),  linear(dim, ffn_dim), linear(ffn_dim, dim)};
}

template <Backend B>
void dit_block_forward(const DitBlockShape& shape, const DitBlockWeights<Real<B>>& weights,
                       const DitBlockInputs<Real<B>>& inputs, std::span<Real<B>> y,
                       DitBlockActivations<Real<B>>& a, int threads) {
  check_block(shape, inputs);
  const Operations<B> op{shape, threads};
  const Modulation e(inputs.modulation, shape.dim);
  const auto text_groups = group_of_all(shape.rows, shape.text_rows);
  a.layers = inputs.layers ? inputs.layers
                           : std::make_shared<OneDeviceLayers<B>>(shape, inputs.groups,
                                                                  inputs.positions, threads);

  a.self_normed = op.layer_norm(inputs.x, {}, {});
  a.self_output = a.layers->self_attention(weights.self_attention,
                                           op.modulate(a.self_normed, e.self_scale, e.self_shift));
  a.after_self = op.gated_residual(inputs.x, a.self_output, e.self_gate);

  a.cross_normed = op.layer_norm(a.after_self, weights.cross_norm_weight, weights.cross_norm_bias);
  a.after_cross =
      op.attention(weights.cross_attention, a.cross_normed, inputs.text, op.text(), {},
                   a.cross_attention, [&] { op.attend(text_groups, a.cross_attention); });
  op.add(op.video(), a.after_cross, a.after_self);

  a.ffn_normed = op.layer_norm(a.after_cross, {}, {});
  a.ffn_output = a.layers->feed_forward(weights.ffn_up, weights.ffn_down,
                                        op.modulate(a.ffn_normed, e.ffn_scale, e.ffn_shift));
  gated_residual_forward<B>(op.video(), a.after_cross, a.ffn_output, e.ffn_gate, y, threads);
}

template <Backend B>
DitBlockGradients<Real<B>> dit_block_backward(const DitBlockShape& shape,
                                              const DitBlockWeights<Real<B>>& weights,
                                              const DitBlockInputs<Real<B>>& inputs,
                                              const DitBlockActivations<Real<B>>& a,
                                              std::span<const Real<B>> dy, int threads) {
  using T = Real<B>;
  check_block(shape, inputs);
  const Operations<B> op{shape, threads};
  const Modulation e(inputs.modulation, shape.dim);
  DitBlockGradients<T> gradients{.modulation = std::vector<T>(inputs.modulation.size()),
                                 .weights = zero_weights<T>(shape)};
  DitBlockWeights<T>& dw = gradients.weights;
  const auto text_groups = group_of_all(shape.rows, shape.text_rows);
  const Modulation de(std::span(gradients.modulation), shape.dim);

  // dx is the gradient of the residual stream, which every branch adds to.
  std::vector<T> dx(dy.begin(), dy.end());
  auto branch = op.gated_residual_gradient(a.ffn_output, e.ffn_gate, dx, de.ffn_gate);
  branch = a.layers->feed_forward_backward(weights.ffn_up, weights.ffn_down, branch, dw.ffn_up,
                                           dw.ffn_down);
  branch = op.modulate_gradient(a.ffn_normed, e.ffn_scale, branch, de.ffn_scale, de.ffn_shift);
  op.add(op.video(), dx, op.layer_norm_gradient(a.after_cross, {}, branch, {}, {}));

  auto cross = op.attention_gradient(
      weights.cross_attention, a.cross_normed, inputs.text, op.text(), {}, a.cross_attention, dx,
      dw.cross_attention, [&](auto d_o, auto& dq, auto& dk, auto& dv) {
        op.attend_gradient(text_groups, a.cross_attention, d_o, dq, dk, dv);
      });
  gradients.text = std::move(cross.context);
  op.add(op.video(), dx,
         op.layer_norm_gradient(a.after_self, weights.cross_norm_weight, cross.x,
                                dw.cross_norm_weight, dw.cross_norm_bias));

  branch = op.gated_residual_gradient(a.self_output, e.self_gate, dx, de.self_gate);
  branch = a.layers->self_attention_backward(weights.self_attention, branch, dw.self_attention);
  branch = op.modulate_gradient(a.self_normed, e.self_scale, branch, de.self_scale, de.self_shift);
  op.add(op.video(), dx, op.layer_norm_gradient(inputs.x, {}, branch, {}, {}));
  gradients.x = std::move(dx);
  return gradients;
}

template DitBlockWeights<float> zero_weights(const DitBlockShape&);
template DitBlockWeights<double> zero_weights(const DitBlockShape&);

#define OSPSIM_INSTANTIATE(B)                                                                \
  template void dit_block_forward<B>(const DitBlockShape&, const DitBlockWeights<Real<B>>&,  \
                                     const DitBlockInputs<Real<B>>&, std::span<Real<B>>,     \
                                     DitBlockActivations<Real<B>>&, int);                    \
  template DitBlockGradients<Real<B>> dit_block_backward<B>(                                 \
      const DitBlockShape&, const DitBlockWeights<Real<B>>&, const DitBlockInputs<Real<B>>&, \
      const DitBlockActivations<Real<B>>&, std::span<const Real<B>>, int);
OSPSIM_INSTANTIATE(Backend::naive)
OSPSIM_INSTANTIATE(Backend::cpu)
#undef OSPSIM_INSTANTIATE

}  // namespace ospsim
