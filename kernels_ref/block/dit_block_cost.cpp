#include "kernels_ref/block/dit_block.hpp"
#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"

namespace ospsim {
namespace {

Cost times(std::int64_t n, Cost cost) {
  return {static_cast<double>(n) * cost.flops, static_cast<double>(n) * cost.bytes};
}

/// The costs of the operations in one direction.
struct Operations {
  decltype(linear_forward_cost)* linear;
  decltype(attention_forward_cost)* attention;
  decltype(layer_norm_forward_cost)* layer_norm;
  decltype(rms_norm_forward_cost)* rms_norm;
  decltype(modulate_forward_cost)* modulate;
  decltype(gated_residual_forward_cost)* gated_residual;
  decltype(gelu_tanh_forward_cost)* gelu;
};

DitBlockCost block_cost(const Operations& cost, const DitBlockShape& shape, Count self_pairs,
                        std::int64_t text_copies, int bytes) {
  const auto& [rows, text_rows, dim, heads, ffn_dim] = shape;
  const RowsShape video{rows, dim}, text{text_rows, dim};
  const Cost projection = cost.linear({rows, dim, dim}, bytes);
  const Cost text_projection = cost.linear({text_rows, dim, dim}, bytes);
  const Count cross_pairs = static_cast<Count>(rows) * static_cast<Count>(text_rows);
  return {.self_attention = cost.attention(self_pairs, heads, rows, rows, shape.head_dim(), bytes),
          .projections = times(4, projection),
          .cross_attention =
              times(2, projection) + times(2 * text_copies, text_projection) +
              cost.attention(cross_pairs, heads, rows, text_rows, shape.head_dim(), bytes),
          .feed_forward =
              cost.linear({rows, dim, ffn_dim}, bytes) + cost.linear({rows, ffn_dim, dim}, bytes),
          .elementwise =
              times(2, cost.layer_norm(video, false, bytes)) + cost.layer_norm(video, true, bytes) +
              times(3, cost.rms_norm(video, bytes)) +
              times(text_copies, cost.rms_norm(text, bytes)) +
              times(2, cost.modulate(video, bytes)) +
              times(2, rope_3d_cost(rows, {heads, shape.head_dim()}, bytes)) +
              cost.gelu(rows * ffn_dim, bytes) + times(2, cost.gated_residual(video, true, bytes)) +
              cost.gated_residual(video, false, bytes)};
}

}  // namespace

DitBlockCost dit_block_forward_cost(const DitBlockShape& shape, Count self_pairs,
                                    std::int64_t text_copies, int bytes_per_element) {
  return block_cost(
      {linear_forward_cost, attention_forward_cost, layer_norm_forward_cost, rms_norm_forward_cost,
       modulate_forward_cost, gated_residual_forward_cost, gelu_tanh_forward_cost},
      shape, self_pairs, text_copies, bytes_per_element);
}

DitBlockCost dit_block_backward_cost(const DitBlockShape& shape, Count self_pairs,
                                     std::int64_t text_copies, int bytes_per_element) {
  DitBlockCost cost =
      block_cost({linear_backward_cost, attention_backward_cost, layer_norm_backward_cost,
                  rms_norm_backward_cost, modulate_backward_cost, gated_residual_backward_cost,
                  gelu_tanh_backward_cost},
                 shape, self_pairs, text_copies, bytes_per_element);
  // Where branches meet, their gradients are added: five times in the video, once in the text.
  const RowsShape video{shape.rows, shape.dim}, text{shape.text_rows, shape.dim};
  cost.elementwise =
      cost.elementwise + times(5, gated_residual_forward_cost(video, false, bytes_per_element)) +
      times(text_copies, gated_residual_forward_cost(text, false, bytes_per_element));
  return cost;
}

}  // namespace ospsim
