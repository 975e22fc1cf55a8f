#include "sim/parallel/sharding.hpp"

#include <algorithm>
#include <utility>

namespace ospsim {

RowNumbers::RowNumbers(const Sequence& sequence)
    : token_(sequence.pattern, sequence.grid, Phase::token),
      group_(sequence.pattern, sequence.grid, Phase::group),
      unsplit_(token_.unsplit()),
      batch_(sequence.batch) {}

TokenPosition RowNumbers::position(std::int64_t row) const {
  const auto found = token(row);
  return found ? position_of(*found, unsplit_.grid()) : TokenPosition{};
}

Sharding flat_sharding(const Sequence& sequence, const RowNumbers& numbers, int ranks) {
  Sharding sharding;
  for (int rank = 0; rank < ranks; ++rank) {
    const Range tokens = part_of(sequence.grid.tokens(), ranks, rank);
    Shard shard{.channels = {0, sequence.dim()}};
    shard.rows.reserve(static_cast<std::size_t>(tokens.size() * sequence.batch));
    for (std::int64_t sample = 0; sample < sequence.batch; ++sample)
      for (std::int64_t token = tokens.first; token < tokens.last; ++token)
        shard.rows.push_back(numbers.row(sample, token));
    sharding.push_back(std::move(shard));
  }
  return sharding;
}

namespace {

/// Which part of the frame each coordinate of an axis falls into, units kept whole.
std::vector<int> part_of_coordinate(const Sequence& sequence, const Layout& layout, int axis,
                                    int parts) {
  const std::int64_t padded = layout.axis(axis).padded;
  const std::int64_t unit = unit_extent(sequence.pattern, sequence.grid, axis);
  std::vector<int> part(static_cast<std::size_t>(padded));
  for (int p = 0; p < parts; ++p) {
    const Range units = part_of(padded / unit, parts, p);
    std::fill(part.begin() + units.first * unit, part.begin() + units.last * unit, p);
  }
  return part;
}

/// Which ulysses rank holds each place of the padded grid.
std::vector<int> part_of_place(const Sequence& sequence, const RowNumbers& numbers, int parts) {
  const Layout& layout = numbers.layout(Phase::token);
  const PartGrid cut = part_grid(parts, sequence.pattern);
  const int last = layout.axis_count() - 1;
  const auto column = part_of_coordinate(sequence, layout, last, cut.columns);
  const auto row =
      cut.rows > 1 ? part_of_coordinate(sequence, layout, last - 1, cut.rows) : std::vector<int>{0};
  const auto width = std::ssize(column), height = std::ssize(row);
  std::vector<int> part(static_cast<std::size_t>(numbers.padded_tokens()));
  for (std::int64_t i = 0; i < std::ssize(part); ++i)
    part[static_cast<std::size_t>(i)] =
        row[static_cast<std::size_t>(i / width % height)] * cut.columns +
        column[static_cast<std::size_t>(i % width)];
  return part;
}

}  // namespace

Sharding subsequence_sharding(const Sequence& sequence, const RowNumbers& numbers, Phase phase,
                              int ssp, int ulysses) {
  const Layout& layout = numbers.layout(phase);
  const Rearrangement to_places(layout, numbers.unsplit());
  const auto part = part_of_place(sequence, numbers, ulysses);
  const std::int64_t length = layout.subsequence_length();
  Sharding sharding(static_cast<std::size_t>(ssp * ulysses));
  for (auto& shard : sharding) shard.channels = {0, sequence.dim()};
  for (int s = 0; s < ssp; ++s) {
    const Range own = part_of(layout.subsequences(), ssp, s);
    for (std::int64_t subsequence = own.first; subsequence < own.last; ++subsequence)
      for (std::int64_t sample = 0; sample < sequence.batch; ++sample)
        for (std::int64_t slot = 0; slot < length; ++slot) {
          const std::int64_t place = to_places.map(subsequence * length + slot);
          const int rank = s * ulysses + part[static_cast<std::size_t>(place)];
          sharding[static_cast<std::size_t>(rank)].rows.push_back(sample * numbers.padded_tokens() +
                                                                  place);
        }
  }
  return sharding;
}

std::vector<std::int64_t> all_rows(std::span<const Shard> shards) {
  std::vector<std::int64_t> rows;
  for (const Shard& shard : shards) rows.insert(rows.end(), shard.rows.begin(), shard.rows.end());
  return rows;
}

std::vector<AttentionGroup> attention_groups(const RowNumbers& numbers, BlockKind kind,
                                             std::span<const std::int64_t> query_rows,
                                             std::span<const std::int64_t> key_rows) {
  const Layout& layout =
      kind == BlockKind::full
          ? numbers.unsplit()
          : numbers.layout(kind == BlockKind::token ? Phase::token : Phase::group);
  const Rearrangement to_slots(numbers.unsplit(), layout);
  const std::int64_t length = layout.subsequence_length();

  using SlotAndIndex = std::pair<std::int64_t, std::int64_t>;
  struct Members {
    std::vector<SlotAndIndex> queries, keys;
  };
  std::vector<Members> members(static_cast<std::size_t>(numbers.batch() * layout.subsequences()));
  AttentionGroup padding;
  const auto add = [&](std::span<const std::int64_t> rows, std::vector<SlotAndIndex> Members::*list,
                       std::vector<std::int64_t>* rest) {
    for (std::int64_t i = 0; i < std::ssize(rows); ++i) {
      const std::int64_t row = rows[static_cast<std::size_t>(i)];
      if (!numbers.token(row)) {
        if (rest != nullptr) rest->push_back(i);
        continue;
      }
      const std::int64_t place = to_slots.map(row % numbers.padded_tokens());
      const std::int64_t group = numbers.sample(row) * layout.subsequences() + place / length;
      (members[static_cast<std::size_t>(group)].*list).emplace_back(place % length, i);
    }
  };
  add(query_rows, &Members::queries, &padding.queries);
  add(key_rows, &Members::keys, nullptr);

  const auto in_order = [](std::vector<SlotAndIndex>& list) {
    std::sort(list.begin(), list.end());
    std::vector<std::int64_t> indices;
    indices.reserve(list.size());
    for (const auto& [slot, i] : list) indices.push_back(i);
    return indices;
  };
  std::vector<AttentionGroup> groups;
  for (Members& lists : members)
    if (!lists.queries.empty()) groups.push_back({in_order(lists.queries), in_order(lists.keys)});
  if (!padding.queries.empty()) groups.push_back(std::move(padding));
  return groups;
}

std::vector<TokenPosition> positions_of(const RowNumbers& numbers,
                                        std::span<const std::int64_t> rows) {
  std::vector<TokenPosition> positions;
  positions.reserve(rows.size());
  for (const std::int64_t row : rows) positions.push_back(numbers.position(row));
  return positions;
}

}  // namespace ospsim
