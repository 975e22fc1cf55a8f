#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels_ref/host_device.hpp"

/// How kernels are written here. A kernel is a value that knows its launch and its cost:
///
///     struct Kernel {
///       static constexpr int threads = 256;    // of a block, a multiple of 32
///       std::int64_t blocks() const;           // of the launch
///       std::size_t shared_bytes() const;      // of a block; the memory is not cleared
///       Cost cost() const;                     // the bytes it must move, each operand once
///       template <class Lane>
///       OSPSIM_HOST_DEVICE void operator()(Lane& lane) const;  // one thread of one block
///     };
///
/// All a kernel asks of its thread, warp and block it asks of `lane`: thread(), threads(), block(),
/// blocks(), sync(), shared<T>(), shuffle_xor(value, mask), atomic_max, atomic_add. On a device
/// that is DeviceLane (cuda/launch.cuh). The tests run the same kernels on the host, with lanes of
/// their own that also find missing barriers, so that what a kernel computes is known before a
/// device is there.
namespace ospsim {

inline constexpr int warp_lanes = 32;

/// N elements that are read or written at once; their address is a multiple of their size.
template <class T, std::size_t N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};
template <class T>
inline constexpr std::size_t pack_size = 16 / sizeof(T);
/// 16 bytes: what one thread moves in one instruction.
template <class T>
using Pack16 = Pack<T, pack_size<T>>;

template <class T>
OSPSIM_HOST_DEVICE Pack16<T> load16(const T* from) {
  return *reinterpret_cast<const Pack16<T>*>(from);
}
template <class T>
OSPSIM_HOST_DEVICE void store16(T* to, const Pack16<T>& value) {
  *reinterpret_cast<Pack16<T>*>(to) = value;
}

struct Sum {
  template <class T>
  OSPSIM_HOST_DEVICE constexpr T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  OSPSIM_HOST_DEVICE constexpr T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

/// The value of all `lanes` neighbouring lanes combined, in every one of them. All lanes of the
/// warp take part; `lanes` is a power of two up to 32. Pairs are combined in the same way in every
/// lane, so all get the same bits.
template <class Lane, class T, class Combine>
OSPSIM_HOST_DEVICE T warp_combine(Lane& lane, T value, Combine combine, int lanes = warp_lanes) {
  for (int mask = lanes / 2; mask > 0; mask /= 2)
    value = combine(value, lane.shuffle_xor(value, mask));
  return value;
}

/// The same over the block. `scratch` holds one T per warp; it may be used again after a sync().
template <class Lane, class T, class Combine>
OSPSIM_HOST_DEVICE T block_combine(Lane& lane, T value, Combine combine, T* scratch) {
  value = warp_combine(lane, value, combine);
  const int warps = lane.threads() / warp_lanes;
  if (lane.thread() % warp_lanes == 0) scratch[lane.thread() / warp_lanes] = value;
  lane.sync();
  value = scratch[0];
  for (int w = 1; w < warps; ++w) value = combine(value, scratch[w]);
  return value;
}

}  // namespace ospsim
