#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/cuda/lane.hpp"
#include "kernels_ref/formats/elements.hpp"
#include "kernels_ref/index.hpp"

// Attention of any pattern on a device, and what the fast paths are checked against there.
//   version 1   a warp per query and head; eight lanes share a key's channels, so that four keys
//               are looked at side by side, each with a softmax of its own, merged at the end.
//               Keys and values come from L2, two bytes or four at a time. Not measured yet
namespace ospsim {

/// A query's row, and which part of a list of key rows it attends to.
struct QueryKeys {
  std::int32_t row = 0;
  std::int64_t first_key = 0, end_key = 0;
};

/// Groups as PlainAttention reads them: the queries of all groups, one group after the other, and
/// the rows of their keys.
struct KeyLists {
  std::vector<QueryKeys> queries;
  std::vector<std::int32_t> keys;

  explicit KeyLists(std::span<const AttentionGroup> groups) {
    for (const auto& group : groups) {
      const auto first = static_cast<std::int64_t>(keys.size());
      for (const auto key : group.keys) keys.push_back(static_cast<std::int32_t>(key));
      const auto end = static_cast<std::int64_t>(keys.size());
      for (const auto query : group.queries)
        queries.push_back({static_cast<std::int32_t>(query), first, end});
    }
  }
};

/// o = softmax(q k^T / sqrt(head_dim)) v for a list of queries, each with keys of its own, in
/// float32; T is float or Bfloat16. All pointers are to the device. A query without keys gets an
/// output of zeros and a log-sum-exp of -infinity; rows of o that no query names stay untouched. No
/// row may be named by two queries. head_dim is at most MostChannels, a multiple of 8 that decides
/// how many registers a thread takes.
template <class T, int MostChannels = 128>
struct PlainAttention {
  static constexpr int threads = 128;
  static constexpr int key_lanes = 8;  ///< that share a key
  static constexpr int channels = MostChannels / key_lanes;

  HeadTensor<const T> q, k, v;
  HeadTensor<T> o;
  float* lse = nullptr;  ///< [heads, rows of q], natural log; null: not wanted
  const QueryKeys* queries = nullptr;
  std::int64_t query_count = 0;
  const std::int32_t* keys = nullptr;  ///< rows of k and v
  std::int64_t pairs = 0;              ///< of queries and keys; for cost() only

  std::int64_t blocks() const {
    return (q.heads * query_count * warp_lanes + threads - 1) / threads;
  }
  std::size_t shared_bytes() const { return 0; }
  /// All rows of k and v, and the queries named.
  Cost cost() const {
    return attention_forward_cost(static_cast<Count>(pairs), q.heads, query_count, k.rows,
                                  q.head_dim, sizeof(T));
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t warp = lane.block() * (threads / warp_lanes) + lane.thread() / warp_lanes;
    if (warp >= q.heads * query_count) return;
    const std::int64_t head = warp / query_count;
    const QueryKeys query = queries[warp % query_count];
    const int channel = lane.thread() % key_lanes;  // and every key_lanes-th after it
    const int group = lane.thread() % warp_lanes / key_lanes;
    const int head_dim = static_cast<int>(q.head_dim);
    const float infinity = std::numeric_limits<float>::infinity();
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));

    float own[index(channels)], sums[index(channels)];
    const T* const q_row = row_of(q, head, query.row);
    OSPSIM_UNROLL
    for (int c = 0; c < channels; ++c) {
      const int d = channel + c * key_lanes;
      own[c] = d < head_dim ? to_float(q_row[d]) * scale : 0.0f;
      sums[c] = 0.0f;
    }

    float max = -infinity, sum = 0.0f;
    constexpr int keys_at_once = warp_lanes / key_lanes;
    for (std::int64_t first = query.first_key; first < query.end_key; first += keys_at_once) {
      const bool named = first + group < query.end_key;
      const std::int64_t key = named ? keys[first + group] : 0;
      float logit = 0.0f;
      if (named) {
        const T* const k_row = row_of(k, head, key);
        OSPSIM_UNROLL
        for (int c = 0; c < channels; ++c) {
          const int d = channel + c * key_lanes;
          if (d < head_dim) logit += own[c] * to_float(k_row[d]);
        }
      }
      logit = warp_combine(lane, logit, Sum{}, key_lanes);
      if (!named) continue;
      const float larger = Max{}(max, logit);
      const float shrink = std::exp(max - larger), weight = std::exp(logit - larger);
      const T* const v_row = row_of(v, head, key);
      OSPSIM_UNROLL
      for (int c = 0; c < channels; ++c) {
        const int d = channel + c * key_lanes;
        if (d < head_dim) sums[c] = sums[c] * shrink + weight * to_float(v_row[d]);
      }
      sum = sum * shrink + weight;
      max = larger;
    }

    for (int mask = key_lanes; mask < warp_lanes; mask *= 2) {
      const float other_max = lane.shuffle_xor(max, mask), other_sum = lane.shuffle_xor(sum, mask);
      const float larger = Max{}(max, other_max);
      const float shrink = max == larger ? 1.0f : std::exp(max - larger);
      const float other_shrink = other_max == larger ? 1.0f : std::exp(other_max - larger);
      OSPSIM_UNROLL
      for (int c = 0; c < channels; ++c)
        if (c * key_lanes < head_dim)
          sums[c] = sums[c] * shrink + lane.shuffle_xor(sums[c], mask) * other_shrink;
      sum = sum * shrink + other_sum * other_shrink;
      max = larger;
    }

    if (group != 0) return;
    const bool empty = query.first_key >= query.end_key;
    T* const o_row = row_of(o, head, query.row);
    OSPSIM_UNROLL
    for (int c = 0; c < channels; ++c) {
      const int d = channel + c * key_lanes;
      if (d < head_dim) narrow(empty ? 0.0f : sums[c] / sum, o_row[d]);
    }
    if (lse != nullptr && channel == 0) lse[head * q.rows + query.row] = max + std::log(sum);
  }

 private:
  template <class U>
  OSPSIM_HOST_DEVICE static U* row_of(const HeadTensor<U>& tensor, std::int64_t head,
                                      std::int64_t row) {
    return tensor.data + head * tensor.head_stride + row * tensor.row_stride;
  }
};

}  // namespace ospsim
