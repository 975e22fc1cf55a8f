#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels_ref/attention/plain_kernel.hpp"
#include "kernels_ref/block/block_kernels.hpp"
#include "kernels_ref/formats/codec_kernels.hpp"
#include "kernels_ref/layout/rearrange_kernels.hpp"

// What a pretend device can get wrong. Each is as small as an error can be that a timed operation
// makes: one row, one column, one head, one element. The last row, column, .. is spared where
// checks may look there first.
namespace ospsim::pretend {

enum class Sabotage {
  none,
  product_column,
  product_row,
  product_without_bias,
  product_without_gelu,
  product_unwritten,
  product_refused,  ///< with GELU, as a library may that has no kernel for it
  product_breaks,   ///< with GELU, and the device with it
  attention_without_last_key,
  attention_head,
  attention_unwritten,
  in_place_without_last_key,
  in_place_head,
  in_place_unwritten,
  plain_unwritten,
  gather_swaps_rows,
  gather_unwritten,
  amax,
  quantize_code,
  quantize_unwritten,
  dequantize_value,
  norm_row,
  norm_without_gate,
  norm_unwritten,
  sum_element,
  rope_row,
  rope_unwritten,
  graph_without_last_node,
};
inline Sabotage sabotage = Sabotage::none;
inline bool broken = false;  ///< no stream can be waited for any more

inline constexpr Bfloat16 unwritten{0xffff};
/// An index that is neither the first nor the last of many.
constexpr std::int64_t inner(std::int64_t size) {
  return size * 2 / 3;
}

template <class Kernel>
void spoil(const Kernel&) {}

inline void spoil(const GatherRows& kernel) {
  const std::int64_t row = inner(kernel.rows);
  unsigned char* const at = kernel.to + row * kernel.row_bytes;
  if (sabotage == Sabotage::gather_swaps_rows && row + 1 < kernel.rows)
    std::swap_ranges(at, at + kernel.row_bytes, at + kernel.row_bytes);
  if (sabotage == Sabotage::gather_unwritten) std::fill_n(at, 2, static_cast<unsigned char>(0xff));
}

template <class T>
void spoil(const FindAmax<T>& kernel) {
  if (sabotage == Sabotage::amax) --kernel.found->largest;
}

template <class T, Way way, class Result>
void spoil(const Quantize<T, way, Result>& kernel) {
  auto* const bytes = reinterpret_cast<unsigned char*>(kernel.to + inner(kernel.n));
  if (sabotage == Sabotage::quantize_code) {
    // The upper byte of a number holds its sign and exponent.
    bytes[sizeof(Result) - 1] = static_cast<unsigned char>(bytes[sizeof(Result) - 1] ^ 1);
  }
  if (sabotage == Sabotage::quantize_unwritten)
    std::fill_n(bytes, sizeof(Result), static_cast<unsigned char>(0xff));
}
template <class T>
void spoil(const Dequantize<T>& kernel) {
  if (sabotage == Sabotage::dequantize_value)
    kernel.x[inner(kernel.n)] = kernel.x[inner(kernel.n) + 1];
}

inline void spoil(const ResidualNorm& kernel) {
  const std::int64_t at = inner(kernel.rows) * kernel.dim, middle = at + kernel.dim / 2;
  if (sabotage == Sabotage::norm_row && kernel.normed != nullptr)
    std::swap_ranges(kernel.normed + at, kernel.normed + middle, kernel.normed + middle);
  if (sabotage == Sabotage::norm_without_gate && kernel.sum != nullptr && kernel.gate != nullptr)
    for (int c = 0; c < kernel.dim; ++c) {
      const std::int64_t from =
          kernel.source == nullptr ? inner(kernel.rows) : kernel.source[inner(kernel.rows)];
      if (from >= 0)
        kernel.sum[at + c] = to_bfloat16(to_float(kernel.x[from * kernel.dim + c]) +
                                         to_float(kernel.residual[from * kernel.dim + c]));
    }
  if (sabotage == Sabotage::norm_unwritten && kernel.normed != nullptr)
    kernel.normed[middle] = unwritten;
  if (sabotage == Sabotage::sum_element && kernel.sum != nullptr)
    kernel.sum[middle] = to_bfloat16(1.25f * to_float(kernel.sum[middle]) + 0.1f);
}

inline void spoil(const RmsNormRope& kernel) {
  const std::int64_t at = inner(kernel.rows) * kernel.dim;
  if (sabotage == Sabotage::rope_row) std::swap(kernel.x[at], kernel.x[at + 1]);
  if (sabotage == Sabotage::rope_unwritten) kernel.x[at] = unwritten;
}

template <class T, int most>
void spoil(const PlainAttention<T, most>& kernel) {
  const std::int64_t row = kernel.queries[inner(kernel.query_count)].row;
  T* const o = kernel.o.row(0, row);
  if (sabotage == Sabotage::plain_unwritten) o[0] = unwritten;
}

}  // namespace ospsim::pretend
