#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/block/dit_block.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"
#include "kernels_ref/block/rope.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {

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
    Array y(index(s.rows * s.out));
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

  void attend(std::span<const AttentionGroup> groups, AttentionActivations<T>& a) const {
    a.lse.assign(index(shape.heads * shape.rows), 0);
    attention_forward<B>(groups, as_heads(View(a.q)), as_heads(View(a.k)), as_heads(View(a.v)),
                         as_heads(a.attended), a.lse, threads);
  }
  void attend_gradient(std::span<const AttentionGroup> groups, const AttentionActivations<T>& a,
                       View d_attended, Array& dq, Array& dk, Array& dv) const {
    attention_backward<B>(groups, as_heads(View(a.q)), as_heads(View(a.k)), as_heads(View(a.v)),
                          as_heads(View(a.attended)), as_heads(d_attended), a.lse, as_heads(dq),
                          as_heads(dk), as_heads(dv), threads);
  }

  /// An attention layer of the rows of x to the rows of `context`; with RoPE unless `positions` is
  /// empty. `attend` makes a.attended of a.q, a.k and a.v.
  template <class Attend>
  Array attention(const AttentionWeights<T>& weights, View x, View context, RowsShape context_shape,
                  std::span<const TokenPosition> positions, AttentionActivations<T>& a,
                  Attend attend) const {
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
    attend();
    return linear(projection(video()), weights.o, a.attended);
  }

  struct AttentionInputGradients {
    Array x, context;
  };
  /// `attend_gradient` makes the gradients of a.q, a.k and a.v of that of a.attended.
  template <class AttendGradient>
  AttentionInputGradients attention_gradient(const AttentionWeights<T>& weights, View x,
                                             View context, RowsShape context_shape,
                                             std::span<const TokenPosition> positions,
                                             const AttentionActivations<T>& a, View d_output,
                                             AttentionWeights<T>& gradient,
                                             AttendGradient attend_gradient) const {
    const Array d_attended =
        linear_gradient(projection(video()), weights.o, a.attended, d_output, gradient.o);
    Array dq(a.q.size()), dk(a.k.size()), dv(a.v.size());
    attend_gradient(View(d_attended), dq, dk, dv);
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

}  // namespace ospsim
