#pragma once

#include <cstdint>
#include <vector>

#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// Whether rows of padding are kept, as the paper's code keeps them through all sparse blocks, or
/// left out: no operation but attention cares how long a sub-sequence is.
enum class PaddingRows { kept, left_out };

/// The order of the rows of a tensor on a device. Sub-sequences follow one another; in each its
/// tokens come first, in the order of their slots, and then its padding. (Attention does not care
/// in which order its keys come; a library that is told lengths wants them in front.)
struct RowOrder {
  std::vector<std::int32_t> tokens;   ///< [rows], the row's token in the grid, -1: padding
  std::vector<std::int64_t> lengths;  ///< valid tokens of each sub-sequence
  std::vector<std::int64_t> first;    ///< where each sub-sequence begins, and the number of rows

  std::int64_t rows() const { return first.back(); }
  std::int64_t subsequences() const { return static_cast<std::int64_t>(lengths.size()); }
};

/// Throws InputError for more than 2^31 - 1 rows.
RowOrder row_order(const Layout& layout, PaddingRows padding);

/// `count` sub-sequences from `first` on: what a rank of sparse sequence parallelism holds.
RowOrder part_of(const RowOrder& order, std::int64_t first, std::int64_t count);

/// For each row of `to` the row of `from` that holds the same token, -1 for padding.
std::vector<std::int32_t> row_map(const RowOrder& from, const RowOrder& to);

/// Neighbouring sub-sequences that one batched call can take: equal lengths, evenly spaced.
struct EqualRun {
  std::int64_t first_subsequence = 0, subsequences = 0;
  std::int64_t length = 0;   ///< valid tokens of each
  std::int64_t spacing = 0;  ///< rows from one to the next
  friend bool operator==(const EqualRun&, const EqualRun&) = default;
};
std::vector<EqualRun> equal_runs(const RowOrder& order);

}  // namespace ospsim
