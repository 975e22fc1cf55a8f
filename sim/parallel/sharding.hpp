#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/block/rope.hpp"
#include "sim/model/model.hpp"
#include "sim/parallel/strategy.hpp"

namespace ospsim {

/// Numbers the rows of a tensor of hidden states for all its shardings alike: row = sample *
/// padded_tokens + place in the padded grid in (t, y, x) order (for 1-D patterns: in the padded
/// flat order).
class RowNumbers {
 public:
  explicit RowNumbers(const Sequence& sequence);

  std::int64_t padded_tokens() const { return unsplit_.padded_tokens(); }
  std::int64_t batch() const { return batch_; }
  std::int64_t row(std::int64_t sample, std::int64_t token) const {
    return sample * padded_tokens() + unsplit_.place(token).slot;
  }
  std::int64_t sample(std::int64_t row) const { return row / padded_tokens(); }
  /// Nothing for a row of padding.
  std::optional<std::int64_t> token(std::int64_t row) const {
    return unsplit_.token({0, row % padded_tokens()});
  }
  /// The original position; the origin for a row of padding.
  TokenPosition position(std::int64_t row) const;

  const Layout& layout(Phase phase) const { return phase == Phase::token ? token_ : group_; }
  const Layout& unsplit() const { return unsplit_; }

 private:
  Layout token_, group_, unsplit_;
  std::int64_t batch_;
};

/// What a rank holds of a [rows, channels] tensor: whole rows or a range of their channels, stored
/// [rows.size(), channels.size()] in this order.
struct Shard {
  std::vector<std::int64_t> rows;
  Range channels;
  std::int64_t elements() const { return std::ssize(rows) * channels.size(); }
};

/// By rank of a group.
using Sharding = std::vector<Shard>;

/// All rows of the shards, in their order.
std::vector<std::int64_t> all_rows(std::span<const Shard> shards);

/// Every rank a run of the valid tokens, part_of(tokens, ranks, rank) in (t, y, x) order, of each
/// sample; the sample is the outer index.
Sharding flat_sharding(const Sequence& sequence, const RowNumbers& numbers, int ranks);

/// Rank ssp_index * ulysses + ulysses_index holds, of its run of sub-sequences of the phase, the
/// slots inside its rectangle of the frame (PartGrid), padding included. The sub-sequence is the
/// outermost index, then the sample, then the slot (paper section 3.1).
Sharding subsequence_sharding(const Sequence& sequence, const RowNumbers& numbers, Phase phase,
                              int ssp, int ulysses);

/// The groups that attend: queries and keys name positions in the two lists of rows, in the order
/// of the slots. Full attention stays inside a sample, sparse attention inside a sub-sequence of
/// it. Rows of padding are queries without keys.
std::vector<AttentionGroup> attention_groups(const RowNumbers& numbers, BlockKind kind,
                                             std::span<const std::int64_t> query_rows,
                                             std::span<const std::int64_t> key_rows);

std::vector<TokenPosition> positions_of(const RowNumbers& numbers,
                                        std::span<const std::int64_t> rows);

}  // namespace ospsim
