#include "sim/parallel/shared_attention.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {

AttentionPlan::AttentionPlan(const RowNumbers& numbers, BlockKind kind, const Sharding& hidden,
                             std::int64_t heads, std::int64_t head_width, int ulysses_ranks,
                             int ring_ranks, Communicator& communicator)
    : head_dim(head_width) {
  const int rank = communicator.rank();
  const int ulysses_rank = rank % ulysses_ranks, first = rank - ulysses_rank;
  own_heads = part_of(heads, ulysses_ranks, ulysses_rank);

  std::vector<int> neighbours(index(ulysses_ranks));
  std::iota(neighbours.begin(), neighbours.end(), first);
  const auto gathered_rows = [&](int first_rank) {
    return all_rows(std::span(hidden).subspan(index(first_rank), index(ulysses_ranks)));
  };
  const auto own_rows = gathered_rows(first);
  ulysses = communicator.subgroup(neighbours);
  if (ulysses_ranks > 1) {
    Sharding by_rows(hidden.begin() + first, hidden.begin() + first + ulysses_ranks), by_heads;
    for (int u = 0; u < ulysses_ranks; ++u) {
      const Range part = part_of(heads, ulysses_ranks, u);
      by_heads.push_back({own_rows, {part.first * head_dim, part.last * head_dim}});
    }
    to_heads.emplace(by_rows, by_heads, ulysses_rank);
    from_heads.emplace(by_heads, by_rows, ulysses_rank);
  }

  std::vector<int> circle{rank};
  if (ring_ranks > 1) {
    circle.resize(index(ring_ranks));
    for (int r = 0; r < ring_ranks; ++r) circle[index(r)] = ulysses_rank + r * ulysses_ranks;
  }
  ring = communicator.subgroup(circle);
  for (const int member : circle) {
    const auto keys = gathered_rows(member - member % ulysses_ranks);
    rows_at.push_back(std::ssize(keys));
    groups.push_back(attention_groups(numbers, kind, own_rows, keys));
  }
}

std::int64_t AttentionPlan::elements_of(int ring_rank) const {
  return rows_at[index(ring_rank)] * own_heads.size() * head_dim;
}

HeadTensor<const float> SharedAttention::heads_of(const float* data, std::int64_t rows) const {
  return rows_first(data, plan_->own_heads.size(), rows, plan_->head_dim);
}
HeadTensor<float> SharedAttention::heads_of(float* data, std::int64_t rows) const {
  return rows_first(data, plan_->own_heads.size(), rows, plan_->head_dim);
}

void SharedAttention::to_heads(const StepContext& context, const char* label,
                               std::span<const float> x, std::span<float> y) {
  if (!plan_->to_heads)
    std::copy(x.begin(), x.end(), y.begin());
  else
    plan_->to_heads->run(*plan_->ulysses, {.label = label, .block = context.block}, context.wire, x,
                         y);
}

void SharedAttention::from_heads(const StepContext& context, const char* label,
                                 std::span<const float> x, std::span<float> y) {
  if (!plan_->from_heads)
    std::copy(x.begin(), x.end(), y.begin());
  else
    plan_->from_heads->run(*plan_->ulysses, {.label = label, .block = context.block}, context.wire,
                           x, y);
}

void SharedAttention::record_attention(const StepContext& context, int ring_rank, bool backward) {
  const auto cost = backward ? attention_backward_cost : attention_forward_cost;
  const Cost c = cost(attended_pairs(plan_->groups[index(ring_rank)]), plan_->own_heads.size(),
                      plan_->rows_at[index(plan_->ring->rank())], plan_->rows_at[index(ring_rank)],
                      plan_->head_dim, context.wire.bytes_per_element);
  plan_->ring->record(
      {backward ? "attention backward" : "attention", context.block, c.flops, c.bytes});
}

void SharedAttention::forward(const StepContext& context, std::span<const float> q,
                              std::span<const float> k, std::span<const float> v,
                              std::span<float> o) {
  if (!context.computes && plan_->is_alone()) return;
  if (plan_->ring->carries_payload()) {
    const std::size_t elements = index(plan_->elements_of(plan_->ring->rank()));
    q_.resize(elements);
    kv_.resize(2 * elements);
    o_.resize(elements);
  }
  to_heads(context, "q", q, q_);
  to_heads(context, "k", k, std::span(kv_).first(kv_.size() / 2));
  to_heads(context, "v", v, std::span(kv_).last(kv_.size() / 2));
  attend_ring(context);
  from_heads(context, "o", o_, o);
}

void SharedAttention::attend_ring(const StepContext& context) {
  const int ranks = plan_->ring->size(), own = plan_->ring->rank();
  const std::int64_t rows = plan_->rows_at[index(own)];
  const bool computes = context.computes && !q_.empty();
  Array partial, partial_lse, arriving, passed_on;
  for (int step = 0; step < ranks; ++step) {
    const int owner = (own - step + ranks) % ranks, next = (owner - 1 + ranks) % ranks;
    const Array& held = step == 0 ? kv_ : passed_on;
    if (step + 1 < ranks)
      arriving =
          shift(*plan_->ring,
                {.kind = Exchange::Kind::shift,
                 .label = "k, v",
                 .block = context.block,
                 .overlaps_next = true},
                context.wire, 2 * plan_->elements_of(owner), 2 * plan_->elements_of(next), held);
    record_attention(context, owner, false);
    if (computes) {
      const std::int64_t keys = plan_->rows_at[index(owner)];
      const float* k = held.data();
      const float* v = k + plan_->elements_of(owner);
      Array& o = step == 0 ? o_ : partial;
      Array& lse = step == 0 ? lse_ : partial_lse;
      o.assign(q_.size(), 0);
      lse.assign(index(plan_->own_heads.size() * rows), 0);
      attention_forward<Backend::cpu>(plan_->groups[index(owner)], heads_of(q_.data(), rows),
                                      heads_of(k, keys), heads_of(v, keys),
                                      heads_of(o.data(), rows), lse, context.threads);
      if (step > 0) join(partial, partial_lse);
    }
    passed_on = std::move(arriving);
  }
}

/// Adds attention to further keys: o = the average of both, weighted by their sums of exponentials.
void SharedAttention::join(Array& partial, const Array& partial_lse) {
  const std::int64_t rows = plan_->rows_at[index(plan_->ring->rank())];
  for (std::int64_t i = 0; i < std::ssize(lse_); ++i) {
    const float seen = lse_[index(i)], added = partial_lse[index(i)];
    const float largest = std::max(seen, added);
    if (std::isinf(largest)) continue;  // no keys so far
    const float joined = largest + std::log(std::exp(seen - largest) + std::exp(added - largest));
    const float keep = std::exp(seen - joined), take = std::exp(added - joined);
    float* to = heads_of(o_.data(), rows).row(i / rows, i % rows);
    const float* from = heads_of(partial.data(), rows).row(i / rows, i % rows);
    for (std::int64_t d = 0; d < plan_->head_dim; ++d) to[d] = keep * to[d] + take * from[d];
    lse_[index(i)] = joined;
  }
}

void SharedAttention::backward(const StepContext& context, std::span<const float> d_o,
                               std::span<float> dq, std::span<float> dk, std::span<float> dv) {
  if (!context.computes && plan_->is_alone()) return;
  const int ranks = plan_->ring->size(), own = plan_->ring->rank();
  const std::int64_t rows = plan_->rows_at[index(own)];
  Array d_own(q_.size());
  to_heads(context, "d_o", d_o, d_own);
  const bool computes = context.computes && !d_own.empty();
  Array d_queries(q_.size()), partial_dq;
  Array travelling = kv_;       // K, V of the block at hand
  Array gradients(kv_.size());  // its dK, dV so far
  for (int step = 0; step < ranks; ++step) {
    const int owner = (own - step + ranks) % ranks, next = (owner - 1 + ranks) % ranks;
    const std::int64_t keys = plan_->rows_at[index(owner)], half = plan_->elements_of(owner);
    record_attention(context, owner, true);
    if (computes) {
      partial_dq.assign(q_.size(), 0);
      Array partial(travelling.size());
      attention_backward<Backend::cpu>(
          plan_->groups[index(owner)], heads_of(q_.data(), rows), heads_of(travelling.data(), keys),
          heads_of(travelling.data() + half, keys), heads_of(o_.data(), rows),
          heads_of(d_own.data(), rows), lse_, heads_of(partial_dq.data(), rows),
          heads_of(partial.data(), keys), heads_of(partial.data() + half, keys), context.threads);
      std::transform(partial_dq.begin(), partial_dq.end(), d_queries.begin(), d_queries.begin(),
                     std::plus<>());
      std::transform(partial.begin(), partial.end(), gradients.begin(), gradients.begin(),
                     std::plus<>());
    }
    if (ranks == 1) break;
    // The last shift brings the gradients home; K and V need not go with them.
    const bool last = step + 1 == ranks;
    Array leaving = last ? Array() : travelling;
    leaving.insert(leaving.end(), gradients.begin(), gradients.end());
    const std::int64_t parts = last ? 1 : 2;
    Array arriving =
        shift(*plan_->ring,
              {.kind = Exchange::Kind::shift, .label = "k, v, dk, dv", .block = context.block},
              context.wire, parts * 2 * half, parts * 2 * plan_->elements_of(next), leaving);
    const auto middle = last ? arriving.begin()
                             : arriving.begin() + static_cast<std::ptrdiff_t>(arriving.size() / 2);
    travelling.assign(arriving.begin(), middle);
    gradients.assign(middle, arriving.end());
  }
  const auto half = gradients.begin() + static_cast<std::ptrdiff_t>(gradients.size() / 2);
  from_heads(context, "dq", d_queries, dq);
  from_heads(context, "dk", Array(gradients.begin(), half), dk);
  from_heads(context, "dv", Array(half, gradients.end()), dv);
}

}  // namespace ospsim
