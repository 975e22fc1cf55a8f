#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels_ref/cuda/lane.hpp"

/// What kernels for devices of compute capability 9.0 ask of their lane beyond cuda/lane.hpp. On a
/// device that is HopperLane (cuda/hopper.cuh); the tests have one of their own, written from the
/// documented semantics of the instructions.
///
///   shared_address(pointer)               of shared memory, as the instructions name it
///   barrier_init(b, arrivals), barrier_init_fence()
///   barrier_arrive(b), barrier_expect(b, bytes)    the latter arrives too
///   barrier_wait(b, parity)               until the phase of that parity is over; a new barrier is
///                                         in phase 0 and counts phase 1 as over
///   load_tile(map, to, b, at)             starts a copy of the box at `at` (4 coordinates,
///                                         innermost first) that completes on barrier b
///   cluster_rank(), cluster_sync()        in a cluster of two blocks with consecutive numbers
///   cluster_meet()                        cluster_sync that orders no writes
///   load_tile_to_both(map, to, b, at)     load_tile into both blocks, at the same place in each,
///                                         completing on the barrier at the place of b in each
///   barrier_arrive_at(b, rank)            at the barrier at the place of b in block `rank`
///   acquire_map(map)                      before the first copy with a map that the host wrote
///   mma_ss<N>(d, a, b, accumulate)        d[64, N] (+)= a[64, 16] b[16, N]; both in shared memory,
///                                         named by operand descriptors, both K-major
///   mma_rs(d, a, b, accumulate)           the same with a in registers, b MN-major and N = 128
///   mma_fence(), mma_commit(), mma_wait<n>(registers...)   the registers are arrays that are read
///                                         or written only after the wait
///   stage16(to, value), fence_async()     16 bytes to shared memory for an mma to read, and the
///                                         fence that must follow
///   sync_warp(), named_sync(id, threads), named_arrive(id, threads)
///   more_registers<n>(), fewer_registers<n>()      for each lane of a warp group
///   warp_uniform(value), exp2(x), log2(x), pack_bf16(low, high)
#if defined(__CUDACC__)
#define OSPSIM_NO_UNROLL _Pragma("unroll 1")
#else
#define OSPSIM_NO_UNROLL
#endif

namespace ospsim {

inline constexpr int warpgroup_lanes = 128;

/// A barrier in shared memory that counts arrivals and bytes of copies.
struct alignas(8) CopyBarrier {
  std::uint64_t state;
};

/// A tensor map as the device reads it; opaque.
struct alignas(128) TensorMap {
  unsigned char bytes[128];
};

/// What a tensor map says: an array of bf16 numbers of which boxes are copied to shared memory, the
/// box's rows of 64 numbers one after the other, swizzled in units of 128 bytes. What lies outside
/// of the array is filled with zeros. Index 0 is the innermost dimension, whose stride is 1.
struct TileMap {
  const void* data = nullptr;                  ///< a multiple of 16 bytes
  std::array<std::int64_t, 4> extent{};        ///< at least 1 each
  std::array<std::int64_t, 3> stride_bytes{};  ///< of dimensions 1, 2, 3; multiples of 16
  std::array<std::int32_t, 4> box{};           ///< at most 256 each; box[0] is 64
};

/// Where a swizzled tile of rows of 128 bytes keeps a 16-byte piece; the tile starts at a multiple
/// of 1024 bytes.
OSPSIM_HOST_DEVICE constexpr int swizzled_offset(int row, int piece) {
  return row * 128 + ((piece ^ (row & 7)) << 4);
}

/// Descriptors of mma operands that lie in shared memory as such tiles.
///
/// K-major: rows of the tile are rows of the operand (M or N), `address` that of the first of its
/// 16 numbers of K. The next 16 lie 32 bytes on.
OSPSIM_HOST_DEVICE constexpr std::uint64_t k_major_operand(std::uint32_t address) {
  constexpr std::uint64_t swizzle_128 = std::uint64_t{1} << 62;
  constexpr std::uint64_t eight_rows = 1024 / 16;
  return swizzle_128 | eight_rows << 32 | std::uint64_t{1} << 16 | (address & 0x3ffff) >> 4;
}
/// MN-major: rows of the tile are K, and each holds 64 numbers of N; the next 64 of N lie
/// `next_64` bytes on. The next 16 of K lie 2048 bytes on.
OSPSIM_HOST_DEVICE constexpr std::uint64_t mn_major_operand(std::uint32_t address,
                                                            std::uint32_t next_64) {
  constexpr std::uint64_t swizzle_128 = std::uint64_t{1} << 62;
  constexpr std::uint64_t eight_rows = 1024 / 16;
  return swizzle_128 | eight_rows << 32 | std::uint64_t{(next_64 & 0x3ffff) >> 4} << 16 |
         (address & 0x3ffff) >> 4;
}
/// The operand that starts `bytes` on.
OSPSIM_HOST_DEVICE constexpr std::uint64_t operand_at(std::uint64_t operand, int bytes) {
  return operand + static_cast<std::uint64_t>(bytes >> 4);
}

}  // namespace ospsim
