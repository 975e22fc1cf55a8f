#pragma once

#include <cstdint>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/cuda/lane.hpp"

// Rows moved into another order on a device: what a rearrangement of a video, its padding and the
// packing of an exchange have in common.
//   version 1   a row to as many lanes as it has 16-byte pieces, up to 128. Not measured: of rows
//               of 1,280 bytes, which Ulysses sends to one of 8 ranks, a multiprocessor would have
//               15 KB in flight, less than 4.3 TB/s need, and 3 lanes of 8 nothing to do
//   version 2   to fewer, from 16 on, that each read five pieces before they write one: 120 KB in
//               flight. Floor: bytes over copy bandwidth. Not measured yet
namespace ospsim {

/// to[row] = from[source[row]], or zeros where source[row] < 0 (padding). Rows are `row_bytes`
/// long, a multiple of 16, and follow one another; addresses are multiples of 16. Rows of `from`
/// that nothing names are not read.
struct GatherRows {
  static constexpr int threads = 128;
  static constexpr int pieces_in_flight = 5;  ///< a row of 5,120 bf16 numbers in one go
  static constexpr int together = 16;         ///< lanes that read neighbouring pieces, 256 bytes

  const unsigned char* from = nullptr;
  unsigned char* to = nullptr;
  const std::int32_t* source = nullptr;  ///< [rows]
  std::int64_t rows = 0;
  std::int32_t row_bytes = 0;
  std::int64_t padding = 0;  ///< rows of it, which are not read

  OSPSIM_HOST_DEVICE int pieces() const { return row_bytes / 16; }
  OSPSIM_HOST_DEVICE int lanes_per_row() const {
    int lanes = 1;
    while (lanes < threads && lanes < pieces() &&
           (lanes < together || lanes * pieces_in_flight < pieces()))
      lanes *= 2;
    return lanes;
  }
  OSPSIM_HOST_DEVICE int rows_per_block() const { return threads / lanes_per_row(); }

  std::int64_t blocks() const { return (rows + rows_per_block() - 1) / rows_per_block(); }
  std::size_t shared_bytes() const { return 0; }
  /// Every row read, but for padding, and written once, and the map.
  Cost cost() const {
    return {.bytes = static_cast<double>(2 * rows - padding) * row_bytes +
                     static_cast<double>(rows) * sizeof(std::int32_t)};
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    using Piece = Pack<std::uint32_t, 4>;
    const int lanes = lanes_per_row(), count = pieces();
    const std::int64_t row = lane.block() * rows_per_block() + lane.thread() / lanes;
    if (row >= rows) return;
    const std::int64_t at = source[row];
    const auto* const read = reinterpret_cast<const Piece*>(from + at * row_bytes);
    auto* const write = reinterpret_cast<Piece*>(to + row * row_bytes);
    for (int first = lane.thread() % lanes; first < count; first += lanes * pieces_in_flight) {
      Piece piece[pieces_in_flight] = {};
      OSPSIM_UNROLL
      for (int p = 0; p < pieces_in_flight; ++p)
        if (at >= 0 && first + p * lanes < count) piece[p] = read[first + p * lanes];
      OSPSIM_UNROLL
      for (int p = 0; p < pieces_in_flight; ++p)
        if (first + p * lanes < count) write[first + p * lanes] = piece[p];
    }
  }
};

}  // namespace ospsim
