// Tiled attention with online softmax (Milakov and Gimelshein, arXiv 1805.02867; FlashAttention-2,
// arXiv 2307.08691): a task owns up to own_tile rows of one group and head, and the rows of the
// other side pass by it, so that no array of queries x keys exists.
//
// One head of 8,192 tokens and 128 channels, GFLOP/s forward / backward (counted as 10 FLOP per
// pair and channel, of 14 executed), on 2 vCPU AMD EPYC with AVX-512; FMA loop: 117 a core.
//   naive       straight loops in double, one thread                             4 /   5
//   version 1   384 x 64 tiles, SIMD products in registers, one thread     AVX-512   97 /  73
//   version 2   384 x 128 tiles: outputs are loaded and stored half         scalar    12 /   9
//               as often                                                    SSE4      33 /  25
//                                                                           AVX2      96 /  70
//                                                                           AVX-512   99 /  73
//   version 3   tiles spread over two threads                               AVX-512  196 / 147
//   version 4   a tile's own sum before the running one: relative error     AVX-512  195 / 148
//               at 80,640 tokens 5.0e-6 -> 0.6e-6 (medians of 7 at
//               16,384 / 4,096 tokens)
// At 80,640 tokens (one head of a 768P video) version 4 takes 17.0 s forward (median of 7); version
// 3 took 56.4 s backward (one run).

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/attention/check.hpp"
#include "kernels_ref/parallel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels_ref/attention/cpu.cpp"
#include <hwy/foreach_target.h>

#include "kernels_ref/cpu/tile-inl.h"

#ifndef OSPSIM_ATTENTION_CPU_ONCE
#define OSPSIM_ATTENTION_CPU_ONCE
namespace ospsim {
namespace {

using Tensor = HeadTensor<float>;
using ConstTensor = HeadTensor<const float>;
using Rows = std::span<const std::int64_t>;

// Rows a task owns, and rows of the other side that pass by it at a time. The former is large
// enough to make packing the latter cheap, and small enough for all of a task's memory to stay in a
// 1 MiB L2.
constexpr std::int64_t own_tile = 384;
constexpr std::int64_t passing_tile = 128;

struct ForwardCall {
  ConstTensor q, k, v;
  Tensor o;
  std::span<float> lse;
  float scale;
};

struct BackwardCall {
  ConstTensor q, k, v, d_o;
  std::span<const float> lse;
  std::span<const float> mean_dp;  ///< per head and query row, the sum of p * dp = d_o . o
  Tensor dq, dk, dv;
  float scale;
};

}  // namespace

}  // namespace ospsim
#endif

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {
namespace {

using Buffer = hwy::AlignedFreeUniquePtr<float[]>;

void pack(const ConstTensor& from, std::int64_t head, Rows rows, float* packed, std::int64_t ld) {
  const auto source = [&](std::int64_t i) {
    return from.row(head, rows[static_cast<std::size_t>(i)]);
  };
  pack_rows(std::ssize(rows), from.head_dim, source, packed, ld);
}

void pack_transposed(const ConstTensor& from, std::int64_t head, Rows rows, float* packed,
                     std::int64_t ld) {
  const auto source = [&](std::int64_t i) {
    return from.row(head, rows[static_cast<std::size_t>(i)]);
  };
  pack_columns(std::ssize(rows), from.head_dim, source, packed, ld);
}

/// Writes rows packed[row][ld] times `factor` back.
void unpack(const float* packed, std::int64_t ld, float factor, const Tensor& to, std::int64_t head,
            Rows rows) {
  for (const auto row : rows) {
    float* const destination = to.row(head, row);
    for (std::int64_t d = 0; d < to.head_dim; ++d) destination[d] = factor * packed[d];
    packed += ld;
  }
}

/// Replaces one row of logits by exp(scale * logit - max) and returns their sum, where `max` is
/// raised to the largest scaled logit so far.
float softmax_row(float* row, std::int64_t padded, float scale, float& max) {
  const Floats floats;
  Vector largest = hn::Load(floats, row);
  for (std::int64_t j = lanes(); j < padded; j += lanes())
    largest = hn::Max(largest, hn::Load(floats, row + j));
  max = std::max(max, scale * hn::GetLane(hn::MaxOfLanes(floats, largest)));

  const Vector factor = hn::Set(floats, scale), subtracted = hn::Set(floats, max);
  Vector sum = hn::Zero(floats);
  for (std::int64_t j = 0; j < padded; j += lanes()) {
    const Vector p = exp(hn::MulSub(factor, hn::Load(floats, row + j), subtracted));
    hn::Store(p, floats, row + j);
    sum = hn::Add(sum, p);
  }
  return hn::GetLane(hn::SumOfLanes(floats, sum));
}

void scale_row(float* row, std::int64_t padded, float factor) {
  const Floats floats;
  for (std::int64_t j = 0; j < padded; j += lanes())
    hn::Store(hn::Mul(hn::Set(floats, factor), hn::Load(floats, row + j)), floats, row + j);
}

void forward_tile(const ForwardCall& call, std::int64_t head, Rows queries, Rows keys) {
  const std::int64_t head_dim = call.q.head_dim;
  const std::int64_t own = round_up(std::ssize(queries), tile_rows);
  const std::int64_t width = round_up(head_dim, lanes());
  const std::int64_t passing = round_up(std::min(passing_tile, std::ssize(keys)), lanes());
  const Buffer q = zeroed(own * head_dim), o = zeroed(own * width), p = zeroed(own * passing);
  const Buffer k_transposed = zeroed(head_dim * passing), v = zeroed(passing * width);
  std::vector<float> max(queries.size(), -std::numeric_limits<float>::infinity());
  std::vector<double> sum(queries.size());

  pack(call.q, head, queries, q.get(), head_dim);
  for (Rows left = keys; !left.empty();) {
    const auto count = std::min(passing_tile, std::ssize(left));
    const Rows tile = left.first(static_cast<std::size_t>(count));
    left = left.subspan(tile.size());
    const std::int64_t padded = round_up(count, lanes());
    pack_transposed(call.k, head, tile, k_transposed.get(), padded);
    pack(call.v, head, tile, v.get(), width);

    multiply<false>(own, padded, head_dim, q.get(), head_dim, k_transposed.get(), padded, p.get(),
                    passing);
    for (std::size_t i = 0; i < queries.size(); ++i) {
      float* const row = p.get() + static_cast<std::int64_t>(i) * passing;
      std::fill(row + count, row + padded, -std::numeric_limits<float>::infinity());
      const float max_before = max[i];
      const float tile_sum = softmax_row(row, padded, call.scale, max[i]);
      const float shrink = std::exp(max_before - max[i]);
      sum[i] = sum[i] * shrink + tile_sum;
      if (shrink != 1) scale_row(o.get() + static_cast<std::int64_t>(i) * width, width, shrink);
    }
    multiply<true>(own, width, count, p.get(), passing, v.get(), width, o.get(), width);
  }
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const float inverse = keys.empty() ? 0.0f : static_cast<float>(1 / sum[i]);
    unpack(o.get() + static_cast<std::int64_t>(i) * width, width, inverse, call.o, head,
           queries.subspan(i, 1));
    if (!call.lse.empty())
      call.lse[static_cast<std::size_t>(head * call.q.rows + queries[i])] =
          static_cast<float>(max[i] + std::log(sum[i]));
  }
}

/// One row of the backward pass: logits become p = exp(scale * logit - lse), and dp becomes
/// d_logit = p * (dp - mean_dp). `lse` and `mean_dp` give the vectors for columns j and up.
template <class Lse, class MeanDp>
HWY_INLINE void backward_row(float* logits, float* dp, std::int64_t padded, float scale, Lse lse,
                             MeanDp mean_dp) {
  const Floats floats;
  const Vector factor = hn::Set(floats, scale);
  for (std::int64_t j = 0; j < padded; j += lanes()) {
    const Vector p = exp(hn::MulSub(factor, hn::Load(floats, logits + j), lse(j)));
    hn::Store(p, floats, logits + j);
    hn::Store(hn::Mul(p, hn::Sub(hn::Load(floats, dp + j), mean_dp(j))), floats, dp + j);
  }
}

/// dq of some queries: the keys pass by.
void backward_query_tile(const BackwardCall& call, std::int64_t head, Rows queries, Rows keys) {
  const Floats floats;
  const std::int64_t head_dim = call.q.head_dim;
  const std::int64_t own = round_up(std::ssize(queries), tile_rows);
  const std::int64_t width = round_up(head_dim, lanes());
  const std::int64_t passing = round_up(std::min(passing_tile, std::ssize(keys)), lanes());
  const Buffer q = zeroed(own * head_dim), d_o = zeroed(own * head_dim), dq = zeroed(own * width);
  const Buffer logits = zeroed(own * passing), dp = zeroed(own * passing);
  const Buffer k_transposed = zeroed(head_dim * passing), v_transposed = zeroed(head_dim * passing);
  const Buffer k = zeroed(passing * width);

  pack(call.q, head, queries, q.get(), head_dim);
  pack(call.d_o, head, queries, d_o.get(), head_dim);
  for (Rows left = keys; !left.empty();) {
    const Rows tile = left.first(std::min<std::size_t>(passing_tile, left.size()));
    left = left.subspan(tile.size());
    const std::int64_t padded = round_up(std::ssize(tile), lanes());
    pack_transposed(call.k, head, tile, k_transposed.get(), padded);
    pack_transposed(call.v, head, tile, v_transposed.get(), padded);
    pack(call.k, head, tile, k.get(), width);

    multiply<false>(own, padded, head_dim, q.get(), head_dim, k_transposed.get(), padded,
                    logits.get(), passing);
    multiply<false>(own, padded, head_dim, d_o.get(), head_dim, v_transposed.get(), padded,
                    dp.get(), passing);
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const auto at = static_cast<std::size_t>(head * call.q.rows + queries[i]);
      const Vector lse = hn::Set(floats, call.lse[at]), mean_dp = hn::Set(floats, call.mean_dp[at]);
      const std::int64_t row = static_cast<std::int64_t>(i) * passing;
      backward_row(
          logits.get() + row, dp.get() + row, padded, call.scale,
          [&](std::int64_t) HWY_ATTR { return lse; },
          [&](std::int64_t) HWY_ATTR { return mean_dp; });
    }
    multiply<true>(own, width, std::ssize(tile), dp.get(), passing, k.get(), width, dq.get(),
                   width);
  }
  unpack(dq.get(), width, call.scale, call.dq, head, queries);
}

/// dk and dv of some keys: the queries pass by.
void backward_key_tile(const BackwardCall& call, std::int64_t head, Rows keys, Rows queries) {
  const Floats floats;
  const std::int64_t head_dim = call.q.head_dim;
  const std::int64_t own = round_up(std::ssize(keys), tile_rows);
  const std::int64_t width = round_up(head_dim, lanes());
  const std::int64_t passing = round_up(std::min(passing_tile, std::ssize(queries)), lanes());
  const Buffer k = zeroed(own * head_dim), v = zeroed(own * head_dim);
  const Buffer dk = zeroed(own * width), dv = zeroed(own * width);
  const Buffer logits = zeroed(own * passing), dp = zeroed(own * passing);
  const Buffer q_transposed = zeroed(head_dim * passing),
               do_transposed = zeroed(head_dim * passing);
  const Buffer q = zeroed(passing * width), d_o = zeroed(passing * width);
  const Buffer lse = zeroed(passing), mean_dp = zeroed(passing);

  pack(call.k, head, keys, k.get(), head_dim);
  pack(call.v, head, keys, v.get(), head_dim);
  for (Rows left = queries; !left.empty();) {
    const Rows tile = left.first(std::min<std::size_t>(passing_tile, left.size()));
    left = left.subspan(tile.size());
    const std::int64_t padded = round_up(std::ssize(tile), lanes());
    pack_transposed(call.q, head, tile, q_transposed.get(), padded);
    pack_transposed(call.d_o, head, tile, do_transposed.get(), padded);
    pack(call.q, head, tile, q.get(), width);
    pack(call.d_o, head, tile, d_o.get(), width);
    for (std::size_t j = 0; j < tile.size(); ++j) {
      const auto at = static_cast<std::size_t>(head * call.q.rows + tile[j]);
      lse[j] = call.lse[at];
      mean_dp[j] = call.mean_dp[at];
    }

    multiply<false>(own, padded, head_dim, k.get(), head_dim, q_transposed.get(), padded,
                    logits.get(), passing);
    multiply<false>(own, padded, head_dim, v.get(), head_dim, do_transposed.get(), padded, dp.get(),
                    passing);
    for (std::int64_t i = 0; i < std::ssize(keys); ++i)
      backward_row(
          logits.get() + i * passing, dp.get() + i * passing, padded, call.scale,
          [&](std::int64_t j) HWY_ATTR { return hn::Load(floats, lse.get() + j); },
          [&](std::int64_t j) HWY_ATTR { return hn::Load(floats, mean_dp.get() + j); });
    multiply<true>(own, width, std::ssize(tile), logits.get(), passing, d_o.get(), width, dv.get(),
                   width);
    multiply<true>(own, width, std::ssize(tile), dp.get(), passing, q.get(), width, dk.get(),
                   width);
  }
  unpack(dk.get(), width, call.scale, call.dk, head, keys);
  unpack(dv.get(), width, 1.0f, call.dv, head, keys);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ospsim {
namespace {

HWY_EXPORT(forward_tile);
HWY_EXPORT(backward_query_tile);
HWY_EXPORT(backward_key_tile);

/// A part of the rows of one side of a group, for one head: what one thread works on.
struct Task {
  std::int64_t head;
  const AttentionGroup* group;
  std::size_t first, count;
};

std::vector<Task> cut(std::span<const AttentionGroup> groups, std::int64_t heads,
                      std::vector<std::int64_t> AttentionGroup::*side) {
  std::vector<Task> tasks;
  for (std::int64_t head = 0; head < heads; ++head)
    for (const auto& group : groups) {
      const std::size_t rows = (group.*side).size();
      for (std::size_t first = 0; first < rows; first += own_tile)
        tasks.push_back({head, &group, first, std::min<std::size_t>(own_tile, rows - first)});
    }
  return tasks;
}

/// The sum over channels of d_o * o, per head and query row named by a group.
std::vector<float> mean_dp(std::span<const AttentionGroup> groups, ConstTensor o, ConstTensor d_o,
                           int threads) {
  std::vector<float> mean(static_cast<std::size_t>(o.heads * o.rows));
  const auto tasks = cut(groups, o.heads, &AttentionGroup::queries);
  parallel_for(std::ssize(tasks), threads, [&](std::int64_t i) {
    const auto& [head, group, first, count] = tasks[static_cast<std::size_t>(i)];
    for (const auto row : Rows(group->queries).subspan(first, count)) {
      const float* const a = o.row(head, row);
      mean[static_cast<std::size_t>(head * o.rows + row)] =
          static_cast<float>(std::inner_product(a, a + o.head_dim, d_o.row(head, row), 0.0));
    }
  });
  return mean;
}

float logit_scale(std::int64_t head_dim) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)));
}

}  // namespace

template <>
void attention_forward<Backend::cpu>(std::span<const AttentionGroup> groups, ConstTensor q,
                                     ConstTensor k, ConstTensor v, Tensor o, std::span<float> lse,
                                     int threads) {
  check_attention_forward<float>(groups, q, k, v, o, lse);
  const ForwardCall call{q, k, v, o, lse, logit_scale(q.head_dim)};
  const auto tasks = cut(groups, q.heads, &AttentionGroup::queries);
  parallel_for(std::ssize(tasks), threads, [&](std::int64_t i) {
    const auto& [head, group, first, count] = tasks[static_cast<std::size_t>(i)];
    HWY_DYNAMIC_DISPATCH(forward_tile)
    (call, head, Rows(group->queries).subspan(first, count), group->keys);
  });
}

template <>
void attention_backward<Backend::cpu>(std::span<const AttentionGroup> groups, ConstTensor q,
                                      ConstTensor k, ConstTensor v, ConstTensor o, ConstTensor d_o,
                                      std::span<const float> lse, Tensor dq, Tensor dk, Tensor dv,
                                      int threads) {
  check_attention_backward<float>(groups, q, k, v, o, d_o, lse, dq, dk, dv);
  const auto mean = mean_dp(groups, o, d_o, threads);
  const BackwardCall call{q, k, v, d_o, lse, mean, dq, dk, dv, logit_scale(q.head_dim)};
  const auto query_tasks = cut(groups, q.heads, &AttentionGroup::queries);
  const auto key_tasks = cut(groups, q.heads, &AttentionGroup::keys);
  parallel_for(std::ssize(query_tasks) + std::ssize(key_tasks), threads, [&](std::int64_t i) {
    if (i < std::ssize(query_tasks)) {
      const auto& [head, group, first, count] = query_tasks[static_cast<std::size_t>(i)];
      HWY_DYNAMIC_DISPATCH(backward_query_tile)
      (call, head, Rows(group->queries).subspan(first, count), group->keys);
    } else {
      const auto& [head, group, first, count] =
          key_tasks[static_cast<std::size_t>(i - std::ssize(query_tasks))];
      HWY_DYNAMIC_DISPATCH(backward_key_tile)
      (call, head, Rows(group->keys).subspan(first, count), group->queries);
    }
  });
}

}  // namespace ospsim
#endif
