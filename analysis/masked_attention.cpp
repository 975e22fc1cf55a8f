// Queries of like keys are one group of attention. A sample of queries under a mask that is no
// partition makes hundreds of groups of a query or two, and bringing the keys to the kernel costs
// more than the products; hence groups of overlapping keys are merged (attend_merged).
//
// CPU seconds per head of 80,640 tokens and 128 channels, 1,024 queries, cpu back end, AVX-512
// (one run each, on a shared machine, hence no wall clock):
//                                                    radial   local     sliding   one phase of
//                                                    B = 128  21x24x40  6x8x8     sparsity 4
//   version 1   a group for each set of keys         2.85     1.40      0.17      0.12
//   version 2   up to 32 groups merged, their keys   1.31     0.61      0.25      0.12
//               and values copied for each
//   version 3   keys copied once per thread, only    0.89     0.47      0.27      0.12
//               the groups' channels rewritten
// Making a synthetic head and full attention with its entropy take 2.0 together. Eight patterns on
// 40 synthetic heads: 194 CPU seconds, and 115 more for two layers of one head.

#include "analysis/masked_attention.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "kernels_ref/index.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

// ---- Who attends to whom -----------------------------------------------------------------------

/// Bringing a key to the kernel costs what computing about this many queries with it does.
constexpr std::int64_t queries_per_packing = 30;
constexpr std::int64_t max_merged_groups = 32;
constexpr std::int64_t max_merged_queries = 384;

std::int64_t cost(std::int64_t queries, std::int64_t keys) {
  return (queries + queries_per_packing) * keys;
}

AttentionBatch merged(const AttentionBatch& a, const AttentionBatch& b) {
  AttentionBatch both;
  both.groups = a.groups + b.groups;
  both.queries = a.queries;
  both.queries.insert(both.queries.end(), b.queries.begin(), b.queries.end());
  both.group_of = a.group_of;
  for (const auto group : b.group_of) both.group_of.push_back(a.groups + group);
  both.keys.reserve(a.keys.size() + b.keys.size());
  both.attending.reserve(a.keys.size() + b.keys.size());
  for (std::size_t i = 0, j = 0; i < a.keys.size() || j < b.keys.size();) {
    const bool of_a = j == b.keys.size() || (i < a.keys.size() && a.keys[i] <= b.keys[j]);
    const bool of_b = i == a.keys.size() || (j < b.keys.size() && b.keys[j] <= a.keys[i]);
    both.keys.push_back(of_a ? a.keys[i] : b.keys[j]);
    both.attending.push_back((of_a ? a.attending[i] : 0) | (of_b ? b.attending[j] << a.groups : 0));
    i += of_a;
    j += of_b;
  }
  return both;
}

/// Along one axis: which blocks of queries have the same keys, and the coordinates they attend to.
struct AxisKeys {
  std::vector<std::int64_t> class_of;  ///< [blocks]: the first block with the same keys
  std::vector<Rows> coordinates;       ///< [blocks]
};

AxisKeys keys_of(const AxisMask& axis) {
  AxisKeys keys;
  std::map<Rows, std::int64_t> first;
  for (std::int64_t block = 0; block < axis.blocks; ++block) {
    const auto allowed = std::span(axis.allowed).subspan(index(block * axis.blocks));
    Rows coordinates;
    for (std::int64_t c = 0; c < axis.extent(); ++c)
      if (allowed[index(axis.block_of[index(c)])] != 0) coordinates.push_back(c);
    keys.class_of.push_back(first.try_emplace(coordinates, block).first->second);
    keys.coordinates.push_back(std::move(coordinates));
  }
  return keys;
}

// ---- Attention ---------------------------------------------------------------------------------

/// Rows with room for a channel per merged group, which are 0.
template <class T>
std::vector<T> widened(HeadTensor<const T> x) {
  const std::int64_t wide = x.head_dim + max_merged_groups;
  std::vector<T> y(index(x.rows * wide));
  for (std::int64_t i = 0; i < x.rows; ++i)
    std::copy_n(x.row(0, i), x.head_dim, y.begin() + i * wide);
  return y;
}

/// Attention takes groups, not masks, so each group of the batch has a channel of its own, in which
/// its queries are very negative and keys it does not attend to are 1: their logits fall so far
/// that their exponentials are 0, while those of the others do not change. `k` and `v` are widened.
template <Backend B>
void attend_merged(const AttentionBatch& batch, HeadTensor<const Real<B>> q, HeadTensor<Real<B>> k,
                   HeadTensor<const Real<B>> v, HeadTensor<Real<B>> o, std::span<Real<B>> lse) {
  using T = Real<B>;
  constexpr T far = -1e7;
  const std::int64_t queries = std::ssize(batch.queries), head_dim = q.head_dim, wide = k.head_dim;
  // Attention divides by the root of the wider head_dim.
  const auto scale =
      static_cast<T>(std::sqrt(static_cast<double>(wide) / static_cast<double>(head_dim)));
  AttentionGroup group{Rows(index(queries)), batch.keys};
  std::iota(group.queries.begin(), group.queries.end(), 0);
  std::vector<T> wide_q(index(queries * wide)), wide_o(wide_q.size()), group_lse(index(queries));
  for (std::int64_t i = 0; i < queries; ++i) {
    T* const to = wide_q.data() + i * wide;
    const T* const from = q.row(0, batch.queries[index(i)]);
    for (std::int64_t d = 0; d < head_dim; ++d) to[d] = scale * from[d];
    to[head_dim + batch.group_of[index(i)]] = far;
  }
  for (std::size_t j = 0; j < batch.keys.size(); ++j) {
    T* const channels = k.row(0, batch.keys[j]) + head_dim;
    for (std::int64_t g = 0; g < batch.groups; ++g)
      channels[g] = static_cast<T>(~batch.attending[j] >> g & 1);
  }
  attention_forward<B>(std::span(&group, 1), one_head<const T>(wide_q.data(), queries, wide), k, v,
                       one_head(wide_o.data(), queries, wide), group_lse, 1);
  for (std::int64_t i = 0; i < queries; ++i) {
    const std::int64_t row = batch.queries[index(i)];
    std::copy_n(wide_o.data() + i * wide, head_dim, o.row(0, row));
    if (!lse.empty()) lse[index(row)] = group_lse[index(i)];
  }
}

}  // namespace

std::vector<AttentionBatch> batches_of(const Mask& mask, const Rows& queries) {
  std::vector<AxisKeys> axes;
  for (const AxisMask& axis : mask.axes) axes.push_back(keys_of(axis));

  std::map<Rows, Rows> groups;
  for (std::int64_t i = 0; i < std::ssize(queries); ++i) {
    Rows classes;
    for (std::size_t a = 0; a < axes.size(); ++a) {
      const AxisMask& axis = mask.axes[a];
      const std::int64_t at = queries[index(i)] / axis.token_stride % axis.extent();
      classes.push_back(axes[a].class_of[index(axis.block_of[index(at)])]);
    }
    groups[classes].push_back(i);
  }

  std::vector<AttentionBatch> batches;
  for (auto& [classes, rows] : groups) {
    AttentionBatch next;
    next.queries = std::move(rows);
    next.keys = {0};
    for (std::size_t a = 0; a < axes.size(); ++a) {
      Rows longer;
      for (const auto token : next.keys)
        for (const auto c : axes[a].coordinates[index(classes[a])])
          longer.push_back(token + c * mask.axes[a].token_stride);
      next.keys = std::move(longer);
    }
    next.group_of.assign(next.queries.size(), 0);
    next.attending.assign(next.keys.size(), 1);
    if (!batches.empty()) {
      AttentionBatch& last = batches.back();
      const auto count = std::ssize(last.queries) + std::ssize(next.queries);
      if (last.groups < max_merged_groups && count <= max_merged_queries) {
        AttentionBatch both = merged(last, next);
        if (cost(count, std::ssize(both.keys)) <=
            cost(std::ssize(last.queries), std::ssize(last.keys)) +
                cost(std::ssize(next.queries), std::ssize(next.keys))) {
          last = std::move(both);
          continue;
        }
      }
    }
    batches.push_back(std::move(next));
  }
  return batches;
}

std::int64_t pairs_of(const std::vector<AttentionBatch>& batches) {
  std::int64_t pairs = 0;
  for (const AttentionBatch& batch : batches) pairs += batch.pairs();
  return pairs;
}

template <Backend B>
void attend(const std::vector<AttentionBatch>& batches, HeadTensor<const Real<B>> q,
            HeadTensor<const Real<B>> k, HeadTensor<const Real<B>> v, HeadTensor<Real<B>> o,
            std::span<Real<B>> lse, int threads) {
  using T = Real<B>;
  std::vector<AttentionGroup> groups;
  std::vector<const AttentionBatch*> of_several;
  for (const AttentionBatch& batch : batches) {
    if (batch.groups == 1)
      groups.push_back({batch.queries, batch.keys});
    else
      of_several.push_back(&batch);
  }
  attention_forward<B>(groups, q, k, v, o, lse, threads);
  if (of_several.empty()) return;

  const std::int64_t wide = k.head_dim + max_merged_groups;
  const std::vector<T> wide_v = widened(v);
  const auto workers = std::min<std::int64_t>(thread_count(threads), std::ssize(of_several));
  parallel_for(workers, threads, [&](std::int64_t worker) {
    std::vector<T> wide_k = widened(k);
    for (std::int64_t i = worker; i < std::ssize(of_several); i += workers)
      attend_merged<B>(*of_several[index(i)], q, one_head(wide_k.data(), k.rows, wide),
                       one_head(wide_v.data(), v.rows, wide), o, lse);
  });
}

template void attend<Backend::naive>(const std::vector<AttentionBatch>&, HeadTensor<const double>,
                                     HeadTensor<const double>, HeadTensor<const double>,
                                     HeadTensor<double>, std::span<double>, int);
template void attend<Backend::cpu>(const std::vector<AttentionBatch>&, HeadTensor<const float>,
                                   HeadTensor<const float>, HeadTensor<const float>,
                                   HeadTensor<float>, std::span<float>, int);

}  // namespace ospsim
