#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/count.hpp"
#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// A view of a tensor of heads: element (head, row, d) is data[head*head_stride + row*row_stride +
/// d]. A row is a token. Reads [heads, rows, head_dim] arrays and [rows, heads*head_dim] arrays
/// alike.
template <class T>
struct HeadTensor {
  T* data = nullptr;
  std::int64_t heads = 0, rows = 0, head_dim = 0;
  std::int64_t head_stride = 0, row_stride = 0;

  T* row(std::int64_t head, std::int64_t r) const {
    return data + head * head_stride + r * row_stride;
  }
  template <class ConstT>
  requires(!std::is_const_v<T> && std::is_same_v<ConstT, const T>) operator HeadTensor<ConstT>()
      const {
    return {data, heads, rows, head_dim, head_stride, row_stride};
  }
};

/// [heads, rows, head_dim], contiguous: the order of files and of the command line.
template <class T>
HeadTensor<T> heads_first(T* data, std::int64_t heads, std::int64_t rows, std::int64_t head_dim) {
  return {data, heads, rows, head_dim, rows * head_dim, head_dim};
}
/// [rows, heads * head_dim], contiguous: what a linear layer produces.
template <class T>
HeadTensor<T> rows_first(T* data, std::int64_t heads, std::int64_t rows, std::int64_t head_dim) {
  return {data, heads, rows, head_dim, head_dim, heads * head_dim};
}

/// A set of queries that attend densely to a set of keys, named by rows of the tensors; nothing is
/// copied to bring them together. Keys of padding are simply not named. A query with no keys gets
/// an output of zeros and a log-sum-exp of -infinity.
struct AttentionGroup {
  std::vector<std::int64_t> queries, keys;
};

/// One group per sub-sequence, for tensors in the order of the unpadded grid.
std::vector<AttentionGroup> groups_in_place(const Layout& layout);
/// The same for tensors in rearranged order: row = sub-sequence * length + slot, padding included.
/// Rows of padding have no keys and are nobody's key (the 1-D mask of paper section 3.2).
std::vector<AttentionGroup> groups_rearranged(const Layout& layout);
/// Every one of `queries` rows attends to all of `keys` rows: full attention or cross-attention.
std::vector<AttentionGroup> group_of_all(std::int64_t queries, std::int64_t keys);

/// Scaled dot-product attention, o = softmax(q k^T / sqrt(head_dim)) v inside each group.
///
/// q, o [heads, query rows, head_dim]; k, v [heads, key rows, head_dim]. `lse` [heads, query rows],
/// contiguous, receives the log of each row's sum of exponentials (natural log, scale included),
/// which the backward pass needs; it may be empty if not wanted. Rows that no group names stay
/// untouched; no row may be a query of two groups. `threads` 0 means all cores and never changes a
/// bit of the result. Throws std::invalid_argument where sizes do not fit or a group names a row
/// that does not exist.
template <Backend B>
void attention_forward(std::span<const AttentionGroup> groups, HeadTensor<const Real<B>> q,
                       HeadTensor<const Real<B>> k, HeadTensor<const Real<B>> v,
                       HeadTensor<Real<B>> o, std::span<Real<B>> lse, int threads = 0);

/// Gradients of the above: from o, lse and d_o to dq, dk, dv of the shapes of q, k, v. Rows no
/// group names as a query (dq) or as a key (dk, dv) stay untouched; named ones are overwritten. No
/// row may be a key of two groups.
template <Backend B>
void attention_backward(std::span<const AttentionGroup> groups, HeadTensor<const Real<B>> q,
                        HeadTensor<const Real<B>> k, HeadTensor<const Real<B>> v,
                        HeadTensor<const Real<B>> o, HeadTensor<const Real<B>> d_o,
                        std::span<const Real<B>> lse, HeadTensor<Real<B>> dq,
                        HeadTensor<Real<B>> dk, HeadTensor<Real<B>> dv, int threads = 0);

/// Query-key pairs that attend, summed over groups: what attention costs.
Count attended_pairs(std::span<const AttentionGroup> groups);

/// 4 FLOP per pair, head and channel forward (q k^T and p v); 10 backward (five products, of which
/// the recomputed q k^T is one), as FlashAttention counts. Softmax is left out. Bytes: q, k, v, o
/// once, and backward also d_o, dq, dk, dv.
Cost attention_forward_cost(Count pairs, std::int64_t heads, std::int64_t query_rows,
                            std::int64_t key_rows, std::int64_t head_dim, int bytes_per_element);
Cost attention_backward_cost(Count pairs, std::int64_t heads, std::int64_t query_rows,
                             std::int64_t key_rows, std::int64_t head_dim, int bytes_per_element);

}  // namespace ospsim
