#include "kernels_ref/attention/attention.hpp"

#include <numeric>

#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {

std::vector<AttentionGroup> groups_in_place(const Layout& layout) {
  std::vector<AttentionGroup> groups;
  for (std::int64_t c = 0; c < layout.subsequences(); ++c) {
    const auto tokens = layout.tokens_of(c);
    groups.push_back({tokens, tokens});
  }
  return groups;
}

std::vector<AttentionGroup> groups_rearranged(const Layout& layout) {
  std::vector<AttentionGroup> groups;
  for (std::int64_t c = 0; c < layout.subsequences(); ++c) {
    AttentionGroup valid, padding;
    for (std::int64_t slot = 0; slot < layout.subsequence_length(); ++slot) {
      auto& rows = layout.token({c, slot}) ? valid.queries : padding.queries;
      rows.push_back(c * layout.subsequence_length() + slot);
    }
    valid.keys = valid.queries;
    groups.push_back(std::move(valid));
    if (!padding.queries.empty()) groups.push_back(std::move(padding));
  }
  return groups;
}

std::vector<AttentionGroup> group_of_all(std::int64_t queries, std::int64_t keys) {
  AttentionGroup all{std::vector<std::int64_t>(static_cast<std::size_t>(queries)),
                     std::vector<std::int64_t>(static_cast<std::size_t>(keys))};
  std::iota(all.queries.begin(), all.queries.end(), 0);
  std::iota(all.keys.begin(), all.keys.end(), 0);
  return {std::move(all)};
}

Count attended_pairs(std::span<const AttentionGroup> groups) {
  Count pairs = 0;
  for (const auto& group : groups)
    pairs += static_cast<Count>(group.queries.size()) * static_cast<Count>(group.keys.size());
  return pairs;
}

namespace {

// Each pair costs two FLOP per product, head and channel.
Cost attention_cost(int products, int query_tensors, int key_tensors, Count pairs,
                    std::int64_t heads, std::int64_t query_rows, std::int64_t key_rows,
                    std::int64_t head_dim, int bytes_per_element) {
  const double channels = static_cast<double>(heads) * static_cast<double>(head_dim);
  const double rows = static_cast<double>(query_tensors) * static_cast<double>(query_rows) +
                      static_cast<double>(key_tensors) * static_cast<double>(key_rows);
  return {.flops = 2.0 * products * static_cast<double>(pairs) * channels,
          .bytes = rows * channels * bytes_per_element};
}

}  // namespace

Cost attention_forward_cost(Count pairs, std::int64_t heads, std::int64_t query_rows,
                            std::int64_t key_rows, std::int64_t head_dim, int bytes_per_element) {
  return attention_cost(2, 2, 2, pairs, heads, query_rows, key_rows, head_dim, bytes_per_element);
}

Cost attention_backward_cost(Count pairs, std::int64_t heads, std::int64_t query_rows,
                             std::int64_t key_rows, std::int64_t head_dim, int bytes_per_element) {
  return attention_cost(5, 4, 4, pairs, heads, query_rows, key_rows, head_dim, bytes_per_element);
}

}  // namespace ospsim
