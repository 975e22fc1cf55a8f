#include "kernels_ref/block/dit_block.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "kernels_ref/block/check.hpp"
#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"

namespace ospsim {
namespace {

std::size_t size(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

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

/// The operations of a block for one back end, shape and number of threads. Each returns what it
/// makes.
template <Backend B>
struct Operations {
  using T = Real<B>;
  using Array = std::vector<T>;
  using View = std::span<const T>;

  const DitBlockShape& shape;
  int threads;

  RowsShape video() const { return {shape.rows, shape.dim}; }
  RowsShape text() const { return {shape.text_rows, shape.dim}; }
  LinearShape projection(RowsShape s) const { return {s.rows, s.dim, s.dim}; }
  LinearShape ffn_up() const { return {shape.rows, shape.dim, shape.ffn_dim}; }
  LinearShape ffn_down() const { return {shape.rows, shape.ffn_dim, shape.dim}; }
  RopeShape heads() const { return {shape.heads, shape.head_dim()}; }
  HeadTensor<T> as_heads(Array& a) const {
    return rows_first(a.data(), shape.heads, std::ssize(a) / shape.dim, shape.head_dim());
  }
  HeadTensor<const T> as_heads(View a) const {
    return rows_first(a.data(), shape.heads, std::ssize(a) / shape.dim, shape.head_dim());
  }

  Array linear(LinearShape s, const LinearWeights<T>& weights, View x) const {
    Array y(size(s.rows * s.out));
    linear_forward<B>(s, x, weights.weight, weights.bias, y, threads);
    return y;
  }
  Array linear_gradient(LinearShape s, const LinearWeights<T>& weights, View x, View dy,
                        LinearWeights<T>& gradient) const {
    Array dx(x.size());
    linear_backward<B>(s, x, weights.weight, dy, dx, gradient.weight, gradient.bias, threads);
    return dx;
  }

  Array layer_norm(View x, View weight, View bias) const {
    Array y(x.size());
    layer_norm_forward<B>(video(), x, weight, bias, dit_epsilon, y, threads);
    return y;
  }
  Array layer_norm_gradient(View x, View weight, View dy, std::span<T> dweight,
                            std::span<T> dbias) const {
    Array dx(x.size());
    layer_norm_backward<B>(video(), x, weight, dit_epsilon, dy, dx, dweight, dbias, threads);
    return dx;
  }

  Array rms_norm(RowsShape s, View x, View weight) const {
    Array y(x.size());
    rms_norm_forward<B>(s, x, weight, dit_epsilon, y, threads);
    return y;
  }
  Array rms_norm_gradient(RowsShape s, View x, View weight, View dy, std::span<T> dweight) const {
    Array dx(x.size());
    rms_norm_backward<B>(s, x, weight, dit_epsilon, dy, dx, dweight, threads);
    return dx;
  }

  Array modulate(View x, View scale, View shift) const {
    Array y(x.size());
    modulate_forward<B>(video(), x, scale, shift, y, threads);
    return y;
  }
  Array modulate_gradient(View x, View scale, View dy, std::span<T> dscale,
                          std::span<T> dshift) const {
    Array dx(x.size());
    modulate_backward<B>(video(), x, scale, dy, dx, dscale, dshift, threads);
    return dx;
  }

  Array gated_residual(View x, View r, View gate) const {
    Array y(x.size());
    gated_residual_forward<B>(video(), x, r, gate, y, threads);
    return y;
  }
  Array gated_residual_gradient(View r, View gate, View dy, std::span<T> dgate) const {
    Array dr(r.size());
    gated_residual_backward<B>(video(), r, gate, dy, dr, dgate, threads);
    return dr;
  }
  void add(RowsShape s, Array& to, View a) const {
    gated_residual_forward<B>(s, to, a, {}, to, threads);
  }

  /// Attention of the rows of x to the rows of `context`; with RoPE unless `positions` is empty.
  Array attention(const AttentionWeights<T>& weights, View x, View context, RowsShape context_shape,
                  std::span<const AttentionGroup> groups, std::span<const TokenPosition> positions,
                  AttentionActivations<T>& a) const {
    a.q_linear = linear(projection(video()), weights.q, x);
    a.k_linear = linear(projection(context_shape), weights.k, context);
    a.v = linear(projection(context_shape), weights.v, context);
    a.q = rms_norm(video(), a.q_linear, weights.q_norm);
    a.k = rms_norm(context_shape, a.k_linear, weights.k_norm);
    if (!positions.empty()) {
      rope_3d_forward<B>(heads(), positions, a.q, a.q, threads);
      rope_3d_forward<B>(heads(), positions, a.k, a.k, threads);
    }
    a.attended.assign(a.q.size(), 0);
    a.lse.assign(size(shape.heads * shape.rows), 0);
    attention_forward<B>(groups, as_heads(View(a.q)), as_heads(View(a.k)), as_heads(View(a.v)),
                         as_heads(a.attended), a.lse, threads);
    return linear(projection(video()), weights.o, a.attended);
  }

  struct AttentionInputGradients {
    Array x, context;
  };
  AttentionInputGradients attention_gradient(const AttentionWeights<T>& weights, View x,
                                             View context, RowsShape context_shape,
                                             std::span<const AttentionGroup> groups,
                                             std::span<const TokenPosition> positions,
                                             const AttentionActivations<T>& a, View d_output,
                                             AttentionWeights<T>& gradient) const {
    const Array d_attended =
        linear_gradient(projection(video()), weights.o, a.attended, d_output, gradient.o);
    Array dq(a.q.size()), dk(a.k.size()), dv(a.v.size());
    attention_backward<B>(groups, as_heads(View(a.q)), as_heads(View(a.k)), as_heads(View(a.v)),
                          as_heads(View(a.attended)), as_heads(View(d_attended)), a.lse,
                          as_heads(dq), as_heads(dk), as_heads(dv), threads);
    if (!positions.empty()) {
      rope_3d_backward<B>(heads(), positions, dq, dq, threads);
      rope_3d_backward<B>(heads(), positions, dk, dk, threads);
    }
    dq = rms_norm_gradient(video(), a.q_linear, weights.q_norm, dq, gradient.q_norm);
    dk = rms_norm_gradient(context_shape, a.k_linear, weights.k_norm, dk, gradient.k_norm);
    AttentionInputGradients inputs{
        linear_gradient(projection(video()), weights.q, x, dq, gradient.q),
        linear_gradient(projection(context_shape), weights.k, context, dk, gradient.k)};
    add(context_shape, inputs.context,
        linear_gradient(projection(context_shape), weights.v, context, dv, gradient.v));
    return inputs;
  }
};

/// The six vectors of the modulation.
template <class T>
struct Modulation {
  std::span<T> self_shift, self_scale, self_gate, ffn_shift, ffn_scale, ffn_gate;

  Modulation(std::span<T> all, std::int64_t dim) {
    std::size_t at = 0;
    for (auto* part : {&self_shift, &self_scale, &self_gate, &ffn_shift, &ffn_scale, &ffn_gate}) {
      *part = all.subspan(at, size(dim));
      at += size(dim);
    }
  }
};

}  // namespace

template <class T>
DitBlockWeights<T> zero_weights(const DitBlockShape& shape) {
  const std::int64_t dim = shape.dim, ffn_dim = shape.ffn_dim;
  const auto zeros = [](std::int64_t n) { return std::vector<T>(size(n)); };
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

  a.self_normed = op.layer_norm(inputs.x, {}, {});
  a.self_modulated = op.modulate(a.self_normed, e.self_scale, e.self_shift);
  a.self_output = op.attention(weights.self_attention, a.self_modulated, a.self_modulated,
                               op.video(), inputs.groups, inputs.positions, a.self_attention);
  a.after_self = op.gated_residual(inputs.x, a.self_output, e.self_gate);

  a.cross_normed = op.layer_norm(a.after_self, weights.cross_norm_weight, weights.cross_norm_bias);
  a.after_cross = op.attention(weights.cross_attention, a.cross_normed, inputs.text, op.text(),
                               group_of_all(shape.rows, shape.text_rows), {}, a.cross_attention);
  op.add(op.video(), a.after_cross, a.after_self);

  a.ffn_normed = op.layer_norm(a.after_cross, {}, {});
  a.ffn_modulated = op.modulate(a.ffn_normed, e.ffn_scale, e.ffn_shift);
  a.ffn_up = op.linear(op.ffn_up(), weights.ffn_up, a.ffn_modulated);
  a.ffn_gelu.resize(a.ffn_up.size());
  gelu_tanh_forward<B>(a.ffn_up, a.ffn_gelu, threads);
  a.ffn_output = op.linear(op.ffn_down(), weights.ffn_down, a.ffn_gelu);
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
  const Modulation de(std::span(gradients.modulation), shape.dim);

  // dx is the gradient of the residual stream, which every branch adds to.
  std::vector<T> dx(dy.begin(), dy.end());
  auto branch = op.gated_residual_gradient(a.ffn_output, e.ffn_gate, dx, de.ffn_gate);
  branch = op.linear_gradient(op.ffn_down(), weights.ffn_down, a.ffn_gelu, branch, dw.ffn_down);
  gelu_tanh_backward<B>(a.ffn_up, branch, branch, threads);
  branch = op.linear_gradient(op.ffn_up(), weights.ffn_up, a.ffn_modulated, branch, dw.ffn_up);
  branch = op.modulate_gradient(a.ffn_normed, e.ffn_scale, branch, de.ffn_scale, de.ffn_shift);
  op.add(op.video(), dx, op.layer_norm_gradient(a.after_cross, {}, branch, {}, {}));

  auto cross = op.attention_gradient(weights.cross_attention, a.cross_normed, inputs.text,
                                     op.text(), group_of_all(shape.rows, shape.text_rows), {},
                                     a.cross_attention, dx, dw.cross_attention);
  gradients.text = std::move(cross.context);
  op.add(op.video(), dx,
         op.layer_norm_gradient(a.after_self, weights.cross_norm_weight, cross.x,
                                dw.cross_norm_weight, dw.cross_norm_bias));

  branch = op.gated_residual_gradient(a.self_output, e.self_gate, dx, de.self_gate);
  auto self = op.attention_gradient(weights.self_attention, a.self_modulated, a.self_modulated,
                                    op.video(), inputs.groups, inputs.positions, a.self_attention,
                                    branch, dw.self_attention);
  op.add(op.video(), self.x, self.context);
  branch = op.modulate_gradient(a.self_normed, e.self_scale, self.x, de.self_scale, de.self_shift);
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
OSPSIM_INSTANTIATE(Backend::cuda)
#undef OSPSIM_INSTANTIATE

}  // namespace ospsim
