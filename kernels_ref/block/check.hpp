#pragma once

#include <cstdint>
#include <span>

#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/rope.hpp"
#include "kernels_ref/block/rows.hpp"
#include "kernels_ref/size_check.hpp"

namespace ospsim {

template <class T>
void check_linear_forward(LinearShape s, std::span<const T> x, std::span<const T> weight,
                          std::span<const T> bias, std::span<T> y) {
  SizeCheck("linear")
      .has("x", x, s.rows * s.in)
      .has("weight", weight, s.out * s.in)
      .has_or_empty("bias", bias, s.out)
      .has("y", y, s.rows * s.out);
}

template <class T>
void check_linear_backward(LinearShape s, std::span<const T> x, std::span<const T> weight,
                           std::span<const T> dy, std::span<T> dx, std::span<T> dweight,
                           std::span<T> dbias) {
  SizeCheck("linear backward")
      .has("x", x, s.rows * s.in)
      .has("weight", weight, s.out * s.in)
      .has("dy", dy, s.rows * s.out)
      .has_or_empty("dx", dx, s.rows * s.in)
      .has_or_empty("dweight", dweight, s.out * s.in)
      .has_or_empty("dbias", dbias, s.out);
}

template <class T>
void check_layer_norm_forward(RowsShape s, std::span<const T> x, std::span<const T> weight,
                              std::span<const T> bias, std::span<T> y) {
  const std::int64_t affine = weight.empty() ? 0 : s.dim;
  SizeCheck("layer norm")
      .has("x", x, s.elements())
      .has("weight", weight, affine)
      .has("bias", bias, affine)
      .has("y", y, s.elements());
}

template <class T>
void check_layer_norm_backward(RowsShape s, std::span<const T> x, std::span<const T> weight,
                               std::span<const T> dy, std::span<T> dx, std::span<T> dweight,
                               std::span<T> dbias) {
  const std::int64_t affine = weight.empty() ? 0 : s.dim;
  SizeCheck("layer norm backward")
      .has("x", x, s.elements())
      .has("weight", weight, affine)
      .has("dy", dy, s.elements())
      .has("dx", dx, s.elements())
      .has("dweight", dweight, affine)
      .has("dbias", dbias, affine);
}

template <class T>
void check_rms_norm_forward(RowsShape s, std::span<const T> x, std::span<const T> weight,
                            std::span<T> y) {
  SizeCheck("rms norm")
      .has("x", x, s.elements())
      .has("weight", weight, s.dim)
      .has("y", y, s.elements());
}

template <class T>
void check_rms_norm_backward(RowsShape s, std::span<const T> x, std::span<const T> weight,
                             std::span<const T> dy, std::span<T> dx, std::span<T> dweight) {
  SizeCheck("rms norm backward")
      .has("x", x, s.elements())
      .has("weight", weight, s.dim)
      .has("dy", dy, s.elements())
      .has("dx", dx, s.elements())
      .has("dweight", dweight, s.dim);
}

template <class T>
void check_modulate_forward(RowsShape s, std::span<const T> x, std::span<const T> scale,
                            std::span<const T> shift, std::span<T> y) {
  SizeCheck("modulate")
      .has("x", x, s.elements())
      .has("scale", scale, s.dim)
      .has("shift", shift, s.dim)
      .has("y", y, s.elements());
}

template <class T>
void check_modulate_backward(RowsShape s, std::span<const T> x, std::span<const T> scale,
                             std::span<const T> dy, std::span<T> dx, std::span<T> dscale,
                             std::span<T> dshift) {
  SizeCheck("modulate backward")
      .has("x", x, s.elements())
      .has("scale", scale, s.dim)
      .has("dy", dy, s.elements())
      .has("dx", dx, s.elements())
      .has("dscale", dscale, s.dim)
      .has("dshift", dshift, s.dim);
}

template <class T>
void check_gated_residual_forward(RowsShape s, std::span<const T> x, std::span<const T> r,
                                  std::span<const T> gate, std::span<T> y) {
  SizeCheck("gated residual")
      .has("x", x, s.elements())
      .has("r", r, s.elements())
      .has_or_empty("gate", gate, s.dim)
      .has("y", y, s.elements());
}

template <class T>
void check_gated_residual_backward(RowsShape s, std::span<const T> r, std::span<const T> gate,
                                   std::span<const T> dy, std::span<T> dr, std::span<T> dgate) {
  SizeCheck("gated residual backward")
      .has("r", r, s.elements())
      .has("gate", gate, s.dim)
      .has("dy", dy, s.elements())
      .has("dr", dr, s.elements())
      .has("dgate", dgate, s.dim);
}

template <class T>
void check_gelu_tanh(std::span<const T> x, std::span<const T> dy, std::span<T> result) {
  SizeCheck("gelu").has("dy", dy, std::ssize(x)).has("result", result, std::ssize(x));
}

template <class T>
void check_rope_3d(RopeShape s, std::span<const TokenPosition> positions, std::span<const T> x,
                   std::span<T> y) {
  const std::int64_t elements = std::ssize(positions) * s.heads * s.head_dim;
  SizeCheck("rope").has("x", x, elements).has("y", y, elements);
}

}  // namespace ospsim
