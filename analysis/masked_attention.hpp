#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "analysis/mask.hpp"
#include "kernels_ref/attention/attention.hpp"

/// Attention of some queries under a mask, on the kernels for dense groups.
namespace ospsim {

using Rows = std::vector<std::int64_t>;

/// Queries (places in the list of queries) that attend to keys (tokens), some of them each to its
/// own share of the keys.
struct AttentionBatch {
  Rows queries, keys;
  std::int64_t groups = 1;
  std::vector<std::int64_t> group_of;    ///< [queries]
  std::vector<std::uint64_t> attending;  ///< [keys], bit g: group g attends to the key

  std::int64_t pairs() const { return std::ssize(queries) * std::ssize(keys); }
};

/// Queries of the same keys form one group. Neighbouring groups of few queries are merged where
/// their keys overlap so much that this is cheaper. `queries` are tokens.
std::vector<AttentionBatch> batches_of(const Mask& mask, const Rows& queries);

/// Pairs that the kernel computes.
std::int64_t pairs_of(const std::vector<AttentionBatch>& batches);

/// One head, [rows, head_dim].
template <class T>
HeadTensor<T> one_head(T* data, std::int64_t rows, std::int64_t head_dim) {
  return heads_first(data, 1, rows, head_dim);
}

/// o and lse of the batches' queries, as attention_forward has them; one head. Rows of q, o and lse
/// are places in the list of queries, rows of k and v tokens. B is naive or cpu. Logits are assumed
/// to stay below 1e5.
template <Backend B>
void attend(const std::vector<AttentionBatch>& batches, HeadTensor<const Real<B>> q,
            HeadTensor<const Real<B>> k, HeadTensor<const Real<B>> v, HeadTensor<Real<B>> o,
            std::span<Real<B>> lse, int threads);

}  // namespace ospsim
