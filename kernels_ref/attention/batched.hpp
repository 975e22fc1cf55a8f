#pragma once

#include <cstdint>

#include "kernels_ref/attention/attention.hpp"

namespace ospsim {

/// Element (batch, row, head, d) of a tensor lies at data[batch * batch_stride + row * row_stride +
/// head * head_dim + d]. Strides count elements.
struct BatchStrides {
  std::int64_t batch_stride = 0, row_stride = 0;
  friend constexpr bool operator==(BatchStrides, BatchStrides) = default;
};

/// Scaled dot-product attention, o = softmax(q k^T / sqrt(head_dim)) v, of `batches` independent
/// sequences of equal lengths: what the device's fast paths compute. Full attention and
/// cross-attention are one batch, the sub-sequences of a sparse pattern several. A batch stride of
/// 0 in k and v lets all batches read the same keys. (Attention along rows that lie strided and in
/// place needs no batches but groups: attention.hpp.)
///
/// With lengths, rows from query_lengths[batch] on are padding of q and o, and those from
/// key_lengths[batch] on are padding of k and v. Either both are given or neither; each is at least
/// 1 and at most the number of rows. Padding of k and v must hold finite numbers, though it does
/// not reach o's valid rows. What o's padding holds afterwards is the implementation's affair.
struct BatchedAttention {
  std::int64_t batches = 1, heads = 0, head_dim = 0;
  std::int64_t query_length = 0, key_length = 0;  ///< rows of a batch, padding included
  BatchStrides q, k, v, o;
  const std::int32_t* query_lengths = nullptr;  ///< on the device, [batches]; null: no padding
  const std::int32_t* key_lengths = nullptr;

  friend constexpr bool operator==(const BatchedAttention&, const BatchedAttention&) = default;

  /// `pairs` of valid queries and keys, over all batches, each head counted once. Shared keys are
  /// read once; rows of padding are counted as read and written.
  Cost cost(Count pairs, int bytes_per_element = 2) const {
    return attention_forward_cost(pairs, heads, batches * query_length,
                                  (k.batch_stride == 0 ? 1 : batches) * key_length, head_dim,
                                  bytes_per_element);
  }
};

}  // namespace ospsim
