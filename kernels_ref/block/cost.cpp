#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"
#include "kernels_ref/block/rope.hpp"

namespace ospsim {
namespace {

/// An operation on `arrays` arrays of the shape and `vectors` arrays of one row.
Cost elementwise(RowsShape shape, double flops_per_element, int arrays, int vectors,
                 int bytes_per_element) {
  const double elements = static_cast<double>(shape.rows) * static_cast<double>(shape.dim);
  return {
      .flops = flops_per_element * elements,
      .bytes = (arrays * elements + vectors * static_cast<double>(shape.dim)) * bytes_per_element};
}

/// x and y, and W and b, each moved `times` times.
double linear_bytes(LinearShape shape, int times_x, int times_y, int times_weight, int bytes) {
  const auto rows = static_cast<double>(shape.rows), in = static_cast<double>(shape.in),
             out = static_cast<double>(shape.out);
  return bytes * (times_x * rows * in + times_y * rows * out + times_weight * in * out + out);
}

double linear_macs(LinearShape shape) {
  return static_cast<double>(shape.rows) * static_cast<double>(shape.in) *
         static_cast<double>(shape.out);
}

}  // namespace

Cost linear_forward_cost(LinearShape shape, int bytes_per_element) {
  return {.flops = 2 * linear_macs(shape),
          .bytes = linear_bytes(shape, 1, 1, 1, bytes_per_element)};
}

Cost linear_backward_cost(LinearShape shape, int bytes_per_element) {
  const double dbias = static_cast<double>(shape.rows) * static_cast<double>(shape.out);
  return {.flops = 4 * linear_macs(shape) + dbias,
          .bytes = linear_bytes(shape, 2, 1, 2, bytes_per_element)};
}

Cost layer_norm_forward_cost(RowsShape shape, bool affine, int bytes_per_element) {
  return elementwise(shape, affine ? 8 : 6, 2, affine ? 2 : 0, bytes_per_element);
}

Cost layer_norm_backward_cost(RowsShape shape, bool affine, int bytes_per_element) {
  return elementwise(shape, affine ? 17 : 13, 3, affine ? 3 : 0, bytes_per_element);
}

Cost rms_norm_forward_cost(RowsShape shape, int bytes_per_element) {
  return elementwise(shape, 4, 2, 1, bytes_per_element);
}

Cost rms_norm_backward_cost(RowsShape shape, int bytes_per_element) {
  return elementwise(shape, 11, 3, 2, bytes_per_element);
}

Cost modulate_forward_cost(RowsShape shape, int bytes_per_element) {
  return elementwise(shape, 2, 2, 2, bytes_per_element);
}

Cost modulate_backward_cost(RowsShape shape, int bytes_per_element) {
  return elementwise(shape, 4, 3, 3, bytes_per_element);
}

Cost gated_residual_forward_cost(RowsShape shape, bool gated, int bytes_per_element) {
  return elementwise(shape, gated ? 2 : 1, 3, gated ? 1 : 0, bytes_per_element);
}

Cost gated_residual_backward_cost(RowsShape shape, bool gated, int bytes_per_element) {
  return gated ? elementwise(shape, 3, 3, 2, bytes_per_element) : Cost{};
}

Cost gelu_tanh_forward_cost(std::int64_t elements, int bytes_per_element) {
  return elementwise({elements, 1}, 9, 2, 0, bytes_per_element);
}

Cost gelu_tanh_backward_cost(std::int64_t elements, int bytes_per_element) {
  return elementwise({elements, 1}, 18, 3, 0, bytes_per_element);
}

Cost rope_3d_cost(std::int64_t rows, RopeShape shape, int bytes_per_element) {
  return elementwise({rows, shape.heads * shape.head_dim}, 3, 2, 0, bytes_per_element);
}

}  // namespace ospsim
