#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "kernels_ref/block/block_kernels.hpp"
#include "kernels_ref/cuda/buffer.hpp"
#include "kernels_ref/cuda/lane.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/rearrange_kernels.hpp"
#include "tests/experiments/pretend_device/sabotage.hpp"
#include "tests/kernels_ref/host_launch.hpp"

namespace ospsim {
namespace pretend {

/// Whether a kernel's lanes ask nothing of each other: then they need no fibers, which take time.
template <class Kernel>
inline constexpr bool independent = false;
template <>
inline constexpr bool independent<FillNormal> = true;
template <>
inline constexpr bool independent<GatherRows> = true;

/// A lane that cannot wait: a kernel that is wrongly called independent does not compile.
struct LoneLane {
  int in_block;
  std::int64_t of_grid, in_grid;
  int thread() const { return in_block; }
  std::int64_t block() const { return of_grid; }
  std::int64_t blocks() const { return in_grid; }
};

/// A fiber that seldom waits: what lanes hand each other has two places by turns, so that nobody
/// waits until all have read.
struct WaitingLane : HostLane {
  using HostLane::HostLane;

  /// `value` of all lanes of the warp.
  template <class T>
  std::array<T, warp_lanes> of_warp(T value) {
    static_assert(sizeof(T) <= sizeof(double));
    HostBlock::Meeting& warp = team_.warp_of(thread_);
    constexpr std::size_t place = warp_lanes * sizeof(double);
    warp.values.resize(2 * place);
    std::byte* const values = warp.values.data() + (turn_ ? place : 0);
    turn_ = !turn_;
    std::memcpy(values + index(thread_ % warp_lanes) * sizeof(T), &value, sizeof(T));
    team_.meet(thread_, warp);
    std::array<T, warp_lanes> all;
    std::memcpy(all.data(), values, sizeof(all));
    return all;
  }
  template <class T>
  T shuffle_xor(T value, int mask) {
    return of_warp(value)[index((thread_ % warp_lanes) ^ mask)];
  }

 private:
  bool turn_ = false;
};

/// warp_combine of cuda/lane.hpp, to the bit, in one meeting.
template <class T, class Combine>
T warp_combine(WaitingLane& lane, T value, Combine combine, int lanes = warp_lanes) {
  auto values = lane.of_warp(value);
  for (int mask = lanes / 2; mask > 0; mask /= 2) {
    const auto before = values;
    for (int i = 0; i < warp_lanes; ++i)
      values[index(i)] = combine(before[index(i)], before[index(i ^ mask)]);
  }
  return values[index(lane.thread() % warp_lanes)];
}

template <class Kernel>
void run_kernel(const Kernel& kernel) {
  if constexpr (independent<Kernel>) {
    const std::int64_t blocks = kernel.blocks();
    for (std::int64_t block = 0; block < blocks; ++block)
      for (int thread = 0; thread < Kernel::threads; ++thread) {
        LoneLane lane{thread, block, blocks};
        kernel(lane);
      }
  } else {
    host_launch<WaitingLane>(kernel);
  }
}

}  // namespace pretend

// The library may hold launch() with true devices behind it; this must be another one.
inline namespace on_pretend_device {

/// Starts a kernel on a stream; does not wait.
template <class Kernel>
void launch(cudaStream_t stream, const Kernel& kernel) {
  static_assert(std::is_trivially_copyable_v<Kernel> && sizeof(Kernel) <= 4096);
  static_assert(Kernel::threads % warp_lanes == 0 && Kernel::threads <= 1024);
  if (kernel.blocks() == 0) return;
  if (kernel.blocks() < 0 || kernel.blocks() > 0x7fffffff || kernel.shared_bytes() > 227 * 1024)
    throw std::logic_error("a launch that no device takes");
  pretend::put(stream, [kernel] {
    pretend::run_kernel(kernel);
    pretend::spoil(kernel);
  });
}

}  // namespace on_pretend_device
}  // namespace ospsim
