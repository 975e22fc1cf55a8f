#include "kernels_ref/block/device_forward.hpp"

#include "kernels_ref/errors.hpp"

namespace ospsim {

const char* to_string(Work work) {
  switch (work) {
    case Work::rearrange:
      return "rearrange";
    case Work::norm:
      return "norm";
    case Work::projection:
      return "projection";
    case Work::self_attention:
      return "self_attention";
    case Work::text:
      return "text";
    case Work::cross_attention:
      return "cross_attention";
    case Work::feed_forward:
      return "feed_forward";
    case Work::quantize:
      break;
  }
  return "quantize";
}

DeviceSequence device_sequence(const RowOrder& order, std::int64_t ulysses) {
  DeviceSequence sequence{
      .rows = order.rows() / ulysses, .ulysses = ulysses, .runs = equal_runs(order)};
  for (const auto& run : sequence.runs) {
    if (run.spacing % ulysses != 0)
      throw InputError("a sub-sequence of " + std::to_string(run.spacing) +
                       " rows cannot be shared out evenly over " + std::to_string(ulysses) +
                       " ranks");
    sequence.run_rows.push_back(order.first[index(run.first_subsequence)]);
  }
  return sequence;
}

std::vector<std::int32_t> split_heads_map(std::int64_t rows, std::int64_t ulysses) {
  std::vector<std::int32_t> map;
  for (std::int64_t rank = 0; rank < ulysses; ++rank)
    for (std::int64_t row = 0; row < rows; ++row)
      map.push_back(static_cast<std::int32_t>(row * ulysses + rank));
  return map;
}

std::vector<std::int32_t> merge_heads_map(std::int64_t rows, std::int64_t ulysses) {
  return split_heads_map(ulysses, rows);
}

std::vector<DevicePosition> device_positions(const RowOrder& order, const Grid& grid) {
  const auto in_place = positions_in_place(grid);
  std::vector<DevicePosition> positions;
  for (const auto token : order.tokens)
    positions.push_back(token < 0 ? DevicePosition{} : device_position(in_place[index(token)]));
  return positions;
}

}  // namespace ospsim
