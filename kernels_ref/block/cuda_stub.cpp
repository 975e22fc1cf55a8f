#include <fmt/format.h>

#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"
#include "kernels_ref/block/rope.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

using In = std::span<const float>;
using Out = std::span<float>;
using Positions = std::span<const TokenPosition>;

[[noreturn]] void unavailable(const char* operation) {
  throw UnavailableError(
      fmt::format("the cuda back end of {} is not compiled into this build", operation));
}

}  // namespace

template <>
void linear_forward<Backend::cuda>(LinearShape, In, In, In, Out, int) {
  unavailable("linear");
}
template <>
void linear_backward<Backend::cuda>(LinearShape, In, In, In, Out, Out, Out, int) {
  unavailable("linear");
}
template <>
void layer_norm_forward<Backend::cuda>(RowsShape, In, In, In, double, Out, int) {
  unavailable("layer norm");
}
template <>
void layer_norm_backward<Backend::cuda>(RowsShape, In, In, double, In, Out, Out, Out, int) {
  unavailable("layer norm");
}
template <>
void rms_norm_forward<Backend::cuda>(RowsShape, In, In, double, Out, int) {
  unavailable("rms norm");
}
template <>
void rms_norm_backward<Backend::cuda>(RowsShape, In, In, double, In, Out, Out, int) {
  unavailable("rms norm");
}
template <>
void modulate_forward<Backend::cuda>(RowsShape, In, In, In, Out, int) {
  unavailable("modulate");
}
template <>
void modulate_backward<Backend::cuda>(RowsShape, In, In, In, Out, Out, Out, int) {
  unavailable("modulate");
}
template <>
void gated_residual_forward<Backend::cuda>(RowsShape, In, In, In, Out, int) {
  unavailable("gated residual");
}
template <>
void gated_residual_backward<Backend::cuda>(RowsShape, In, In, In, Out, Out, int) {
  unavailable("gated residual");
}
template <>
void gelu_tanh_forward<Backend::cuda>(In, Out, int) {
  unavailable("gelu");
}
template <>
void gelu_tanh_backward<Backend::cuda>(In, In, Out, int) {
  unavailable("gelu");
}
template <>
void rope_3d_forward<Backend::cuda>(RopeShape, Positions, In, Out, int) {
  unavailable("rope");
}
template <>
void rope_3d_backward<Backend::cuda>(RopeShape, Positions, In, Out, int) {
  unavailable("rope");
}

}  // namespace ospsim
