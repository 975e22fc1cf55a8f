#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <compare>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels_ref/cuda/hopper.hpp"
#include "tests/kernels_ref/host_launch.hpp"

/// Runs kernels for compute capability 9.0 (kernels_ref/cuda/hopper.hpp) on the host, from the
/// documented semantics of mbarrier, cp.async.bulk.tensor, wgmma, bar and setmaxnreg, and shares
/// nothing with the helpers of the kernels. What is asynchronous happens at the worst time:
///
/// - a copy's destination is NaNs from the moment it starts; copies land in random order, late;
/// - an mma's operands in memory and its A registers must be the same when it starts and when its
///   warp waits for it; its accumulators are NaNs in between;
/// - each warp of a warp group gets through its own wait alone, at times long after the others;
/// - what stage16 wrote is not there until fence_async;
/// - std::logic_error for a barrier that is not initialised, a map that is not acquired, an mma
///   without a fence, leftovers of a barrier, a copy or an mma at the end of a block, and a copy or
///   an arrival for a block that has ended.
namespace ospsim {

inline float float_of_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}
/// To nearest, ties to even.
inline std::uint16_t bf16_of_float(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return 0x7fff;
  const std::uint32_t low = bits & 0xffffu;
  std::uint32_t high = bits >> 16;
  if (low > 0x8000u || (low == 0x8000u && (high & 1u) != 0)) ++high;
  return static_cast<std::uint16_t>(high);
}

/// A tensor map for the emulator.
inline TensorMap host_tensor_map(const TileMap& map) {
  static_assert(sizeof(TileMap) <= sizeof(TensorMap));
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
  };
  require(reinterpret_cast<std::uintptr_t>(map.data) % 16 == 0, "a tensor map's address");
  for (std::size_t i = 0; i < 4; ++i) {
    require(map.extent[i] >= 1 && map.extent[i] <= std::int64_t{1} << 32, "a tensor map's extents");
    require(map.box[i] >= 1 && map.box[i] <= 256, "a tensor map's box");
  }
  for (const auto stride : map.stride_bytes)
    require(stride % 16 == 0 && stride > 0 && stride < std::int64_t{1} << 40,
            "a tensor map's strides");
  require(map.box[0] * 2 <= 128, "rows of a box longer than the swizzle");
  TensorMap encoded{};
  std::memcpy(encoded.bytes, &map, sizeof map);
  return encoded;
}

/// The lanes of the blocks of one cluster, and the units that work for them. Threads are numbered
/// through the cluster.
class HopperCluster : public HostBlock {
 public:
  static constexpr std::uint32_t shared_start = 1024;  // as on a device, not 0

  HopperCluster(int threads, std::size_t shared_bytes, int blocks, LaneOrder order)
      : HostBlock(threads * blocks, stride_of(shared_bytes) * static_cast<std::size_t>(blocks),
                  order),
        block_threads_(threads),
        shared_bytes_(shared_bytes),
        lanes_(static_cast<std::size_t>(threads * blocks)),
        named_(static_cast<std::size_t>(blocks)) {
    for (int b = 0; b < blocks; ++b) in_block_.push_back({.expected = threads, .values = {}});
  }

  int block_threads() const { return block_threads_; }
  int rank_of(int thread) const { return thread / block_threads_; }
  Meeting& block_of(int thread) { return in_block_[static_cast<std::size_t>(rank_of(thread))]; }
  unsigned char* shared_of(int rank) {
    return shared() + stride_of(shared_bytes_) * static_cast<std::size_t>(rank);
  }

  template <class Body>
  void run_blocks(const Body& body) {
    barriers_.clear();
    for (auto& named : named_) named = {};
    ended_.assign(named_.size(), 0);
    copies_.clear();
    for (auto& lane : lanes_) lane = {};
    std::exception_ptr error;  // a fiber's exceptions cannot leave it
    try {
      run([&](int thread) {
        try {
          body(thread);
        } catch (...) {
          if (!error) error = std::current_exception();
        }
        ++ended_[static_cast<std::size_t>(rank_of(thread))];
      });
    } catch (...) {
      if (!error) error = std::current_exception();
    }
    if (error) std::rethrow_exception(error);
    require(copies_.empty(), "a block ends while copies are under way");
    for (const auto& lane : lanes_) {
      require(lane.mmas.empty(), "a block ends while an mma is under way");
      require(lane.staged.empty(), "shared memory was written for an mma and never fenced");
    }
    for (const auto& of_block : named_)
      for (const auto& named : of_block)
        require(named.arrived == 0, "arrivals at a named barrier are left over");
  }

  /// A place in the shared memory of a block: its rank in the cluster, and the address there.
  struct Place {
    int rank = 0;
    std::uint32_t address = 0;
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  Place place_of(const void* pointer) {
    const auto offset =
        static_cast<std::size_t>(static_cast<const unsigned char*>(pointer) - shared());
    const Place place{static_cast<int>(offset / stride_of(shared_bytes_)),
                      shared_start + static_cast<std::uint32_t>(offset % stride_of(shared_bytes_))};
    require(place.rank < rank_of(static_cast<int>(lanes_.size())) &&
                place.address - shared_start < shared_bytes_,
            "not in shared memory");
    return place;
  }

  // mbarrier -------------------------------------------------------------------------------------

  struct Barrier {
    int count = 0, pending = 0;
    std::int64_t bytes = 0;
    unsigned phase = 0;
  };
  void init(const CopyBarrier* b, int count) {
    require(reinterpret_cast<std::uintptr_t>(b) % 8 == 0, "a barrier's address");
    barriers_[place_of(b)] = {count, count, 0, 0};
  }
  Barrier& barrier(const CopyBarrier* b) { return barrier(place_of(b)); }
  Barrier& barrier(Place b) {
    require(ended_[static_cast<std::size_t>(b.rank)] < block_threads_,
            "a block has ended that others still copy to or signal");
    const auto found = barriers_.find(b);
    require(found != barriers_.end(), "a barrier is used before it is initialised");
    return found->second;
  }
  void arrive(Barrier& b) {
    require(--b.pending >= 0, "more arrivals than a barrier expects");
    settle(b);
  }
  /// Time passes: a copy may land.
  void pass_time(int thread) {
    if (copies_.empty()) return;
    mark_progress(thread);
    if (random_() % 16 == 0) land_one();
  }
  /// Lets others run ahead: mostly not at all, at times far.
  void linger(int thread) {
    unsigned turns = random_() % 4 == 0 ? random_() % 64 : 0;
    wait_until(thread, [&] {
      mark_progress(thread);
      return turns-- == 0;
    });
  }
  /// Something happened or may yet happen, so that others wait in vain is not certain.
  void mark_progress(int thread) {
    Meeting nobody{.expected = 1, .values = {}};
    meet(thread, nobody);
  }

  // Copies ---------------------------------------------------------------------------------------

  struct Copy {
    TileMap map;
    Place to, barrier;
    std::array<std::int32_t, 4> at{};
  };
  void start(const Copy& copy) {
    std::int64_t bytes = 2;
    for (const auto b : copy.map.box) bytes *= b;
    require(copy.to.address % 128 == 0, "a copy's destination");
    require(copy.to.address - shared_start + static_cast<std::size_t>(bytes) <= shared_bytes_,
            "a copy past the end of shared memory");
    barrier(copy.barrier);
    std::memset(at(copy.to), 0xff, static_cast<std::size_t>(bytes));
    copies_.push_back(copy);
  }

  // Mma ------------------------------------------------------------------------------------------

  /// As one lane issued it. d[64, n] (+)= a[64, 16] b[16, n].
  struct Mma {
    int n = 0;
    float* d = nullptr;
    bool a_in_registers = false, b_transposed = false, accumulate = false;
    std::uint64_t a = 0, b = 0;
    const std::uint32_t* a_registers = nullptr;
    int group = 0;
    std::array<std::uint32_t, 4> a_at_issue{};
    std::vector<std::uint16_t> memory_at_issue;  ///< of lane 0 of a warp
  };
  struct LaneState {
    bool fenced = false;
    std::set<const TensorMap*> acquired;
    int open_group = 0;  ///< groups committed so far
    std::vector<Mma> mmas;
    std::map<float*, std::vector<float>> accumulators;  ///< of mmas under way
    std::vector<std::pair<unsigned char*, Pack<std::uint32_t, 4>>> staged;
  };
  LaneState& state(int thread) { return lanes_[static_cast<std::size_t>(thread)]; }

  void issue(int thread, Mma mma) {
    LaneState& lane = state(thread);
    require(lane.fenced, "an mma without wgmma.fence before it");
    mma.group = lane.open_group;
    if (!lane.accumulators.contains(mma.d)) {
      lane.accumulators[mma.d].assign(mma.d, mma.d + mma.n / 2);
      std::fill_n(mma.d, mma.n / 2, std::numeric_limits<float>::quiet_NaN());
    }
    if (mma.a_in_registers) std::copy_n(mma.a_registers, 4, mma.a_at_issue.begin());
    if (thread % warp_lanes == 0) mma.memory_at_issue = operands(thread, mma);
    lane.mmas.push_back(std::move(mma));
  }
  /// Of all lanes of a warp together: all but the last `groups` groups are done.
  void wait(int thread, int groups) {
    meet(thread, warp_of(thread));
    if (thread % warp_lanes == 0) {
      linger(thread);
      finish_mmas(thread, groups);
    }
    meet(thread, warp_of(thread));
    state(thread).fenced = false;
  }

  // Named barriers -------------------------------------------------------------------------------

  struct Named {
    int arrived = 0, expected = 0;
    std::uint64_t generation = 0;
  };
  Named& arrive_named(int thread, int id, int threads) {
    require(id > 0 && id < 16 && threads % warp_lanes == 0, "a named barrier");
    Named& named = named_[static_cast<std::size_t>(rank_of(thread))][static_cast<std::size_t>(id)];
    require(named.arrived == 0 || named.expected == threads,
            "a named barrier is used with two counts at once");
    named.expected = threads;
    if (++named.arrived == threads) {
      named.arrived = 0;
      ++named.generation;
    }
    return named;
  }

  static void require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  }

 private:
  static constexpr std::size_t stride_of(std::size_t shared_bytes) {
    return (shared_bytes + 1023) / 1024 * 1024;
  }
  unsigned char* at(Place place) { return shared_of(place.rank) + (place.address - shared_start); }
  // The 128-byte swizzle works on address bits: 4 to 6 are combined with 7 to 9.
  static std::uint32_t swizzle(std::uint32_t address) { return address ^ (address >> 7 & 7u) << 4; }

  void settle(Barrier& b) {
    if (b.pending > 0 || b.bytes != 0) return;
    b.phase ^= 1;
    b.pending = b.count;
  }

  void land_one() {
    const std::size_t chosen = random_() % copies_.size();
    const Copy copy = copies_[chosen];
    copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(chosen));
    const auto& [data, extent, stride_bytes, box] = copy.map;
    std::uint32_t to = copy.to.address;
    for (std::int32_t i3 = 0; i3 < box[3]; ++i3)
      for (std::int32_t i2 = 0; i2 < box[2]; ++i2)
        for (std::int32_t i1 = 0; i1 < box[1]; ++i1)
          for (std::int32_t i0 = 0; i0 < box[0]; ++i0, to += 2) {
            const std::array<std::int64_t, 4> from{
                std::int64_t{copy.at[0]} + i0, std::int64_t{copy.at[1]} + i1,
                std::int64_t{copy.at[2]} + i2, std::int64_t{copy.at[3]} + i3};
            bool inside = true;
            for (std::size_t d = 0; d < 4; ++d)
              inside = inside && from[d] >= 0 && from[d] < extent[d];
            std::uint16_t value = 0;
            if (inside)
              std::memcpy(&value,
                          static_cast<const unsigned char*>(data) + from[0] * 2 +
                              from[1] * stride_bytes[0] + from[2] * stride_bytes[1] +
                              from[3] * stride_bytes[2],
                          2);
            std::memcpy(at({copy.to.rank, swizzle(to)}), &value, 2);
          }
    Barrier& b = barrier(copy.barrier);
    b.bytes -= static_cast<std::int64_t>(to - copy.to.address);  // may be ahead of the expectation
    settle(b);
  }

  /// A matrix operand in shared memory, as its descriptor names it. `mn` counts rows of A or
  /// columns of B.
  struct Descriptor {
    std::uint32_t start, leading, stride;
    explicit Descriptor(std::uint64_t bits)
        : start(static_cast<std::uint32_t>(bits & 0x3fff) << 4),
          leading(static_cast<std::uint32_t>(bits >> 16 & 0x3fff) << 4),
          stride(static_cast<std::uint32_t>(bits >> 32 & 0x3fff) << 4) {
      require(bits >> 62 == 1, "an operand that is not swizzled by 128 bytes");
      require((bits >> 49 & 7) == 0, "an operand with a base offset");
    }
    // K-major: the pattern is 8 of MN, 128 bytes apart, by 64 of K; the next 8 of MN lie at the
    // stride offset.
    std::uint32_t k_major(int mn, int k) const {
      return start + static_cast<std::uint32_t>(mn / 8) * stride +
             static_cast<std::uint32_t>(mn % 8 * 128 + k * 2);
    }
    // MN-major: it is 8 of K, 128 bytes apart, by 64 of MN; the next 64 of MN lie at the leading
    // offset, the next 8 of K at the stride offset.
    std::uint32_t mn_major(int mn, int k) const {
      return start + static_cast<std::uint32_t>(mn / 64) * leading +
             static_cast<std::uint32_t>(k / 8) * stride +
             static_cast<std::uint32_t>(k % 8 * 128 + mn % 64 * 2);
    }
  };
  std::uint16_t read(int rank, std::uint32_t address) {
    require(address >= shared_start && address - shared_start + 2 <= shared_bytes_,
            "an operand outside of shared memory");
    std::uint16_t value;
    std::memcpy(&value, at({rank, swizzle(address)}), 2);
    return value;
  }
  /// What a warp reads: b[16][n], then, if it lies in memory, its rows of a, [16][16].
  std::vector<std::uint16_t> operands(int thread, const Mma& mma) {
    std::vector<std::uint16_t> values;
    const Descriptor b(mma.b);
    values.reserve(static_cast<std::size_t>(16 * (mma.n + 16)));
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < mma.n; ++n)
        values.push_back(
            read(rank_of(thread), mma.b_transposed ? b.mn_major(n, k) : b.k_major(n, k)));
    if (!mma.a_in_registers) {
      const Descriptor a(mma.a);
      const int first_row = thread / warp_lanes % 4 * 16;
      for (int row = 0; row < 16; ++row)
        for (int k = 0; k < 16; ++k)
          values.push_back(read(rank_of(thread), a.k_major(first_row + row, k)));
    }
    return values;
  }

  void finish_mmas(int first_thread, int groups) {
    const int last_group = state(first_thread).open_group - groups;
    auto& mmas = state(first_thread).mmas;
    std::size_t done = 0;
    for (; done < mmas.size() && mmas[done].group < last_group; ++done) {
      const Mma& mma = mmas[done];
      for (int l = 0; l < warp_lanes; ++l) {
        LaneState& lane = state(first_thread + l);
        require(lane.mmas.size() == mmas.size(), "lanes of a warp that issued different mmas");
        const Mma& of_lane = lane.mmas[done];
        require(of_lane.a == mma.a && of_lane.b == mma.b && of_lane.n == mma.n &&
                    of_lane.accumulate == mma.accumulate,
                "an mma that differs between the lanes of a warp");
        require(!mma.a_in_registers || std::equal(of_lane.a_at_issue.begin(),
                                                  of_lane.a_at_issue.end(), of_lane.a_registers),
                "operand registers changed under an mma");
      }
      multiply(first_thread, done);
    }
    for (int l = 0; l < warp_lanes; ++l) {
      LaneState& lane = state(first_thread + l);
      lane.mmas.erase(lane.mmas.begin(), lane.mmas.begin() + static_cast<std::ptrdiff_t>(done));
      for (auto at = lane.accumulators.begin(); at != lane.accumulators.end();) {
        const auto waits = [&](const Mma& mma) { return mma.d == at->first; };
        if (std::ranges::any_of(lane.mmas, waits)) {
          ++at;
          continue;
        }
        std::ranges::copy(at->second, at->first);
        at = lane.accumulators.erase(at);
      }
    }
  }

  void multiply(int first_thread, std::size_t which) {
    const Mma& mma = state(first_thread).mmas[which];
    const auto memory = operands(first_thread, mma);
    require(memory == mma.memory_at_issue, "shared memory changed under an mma");
    const auto n = static_cast<std::size_t>(mma.n);
    std::vector<float> a(256), b(16 * n), d(16 * n);
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = float_of_bf16(memory[i]);
    if (mma.a_in_registers) {
      // Register r of lane l: row l / 4 + 8 (r % 2), columns 2 (l % 4) + 8 (r / 2) and the next.
      for (int l = 0; l < warp_lanes; ++l)
        for (int r = 0; r < 4; ++r) {
          const auto bits =
              state(first_thread + l).mmas[which].a_at_issue[static_cast<std::size_t>(r)];
          const auto at =
              static_cast<std::size_t>((l / 4 + 8 * (r % 2)) * 16 + 2 * (l % 4) + 8 * (r / 2));
          a[at] = float_of_bf16(static_cast<std::uint16_t>(bits & 0xffff));
          a[at + 1] = float_of_bf16(static_cast<std::uint16_t>(bits >> 16));
        }
    } else {
      for (std::size_t i = 0; i < 256; ++i) a[i] = float_of_bf16(memory[b.size() + i]);
    }
    for (std::size_t row = 0; row < 16; ++row)
      for (std::size_t k = 0; k < 16; ++k)
        for (std::size_t c = 0; c < n; ++c) d[row * n + c] += a[row * 16 + k] * b[k * n + c];
    // Register i of lane l: row l / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (l % 4) + i % 2.
    for (int l = 0; l < warp_lanes; ++l) {
      LaneState& lane = state(first_thread + l);
      auto& to = lane.accumulators[lane.mmas[which].d];
      for (int i = 0; i < mma.n / 2; ++i) {
        const auto row = static_cast<std::size_t>(l / 4 + 8 * (i / 2 % 2));
        const auto column = static_cast<std::size_t>(8 * (i / 4) + 2 * (l % 4) + i % 2);
        float& value = to[static_cast<std::size_t>(i)];
        value = d[row * n + column] + (mma.accumulate ? value : 0);
      }
    }
  }

  int block_threads_;
  std::size_t shared_bytes_;
  std::vector<LaneState> lanes_;
  std::map<Place, Barrier> barriers_;
  std::vector<std::array<Named, 16>> named_;
  std::vector<Meeting> in_block_;
  std::vector<int> ended_;  // lanes of each block
  std::vector<Copy> copies_;
  std::mt19937 random_{11};
};

/// One thread of a kernel for compute capability 9.0 on the host.
class HostHopperLane : public HostLane {
 public:
  /// `thread` counts through the cluster whose first block is `block`.
  HostHopperLane(HopperCluster& hopper, int thread, std::int64_t block, std::int64_t blocks)
      : HostLane(hopper, thread, block + hopper.rank_of(thread), blocks), hopper_(hopper) {}

  int thread() const { return thread_ % hopper_.block_threads(); }
  int threads() const { return hopper_.block_threads(); }
  void sync() { hopper_.meet(thread_, hopper_.block_of(thread_)); }
  template <class T>
  T* shared() const {
    return reinterpret_cast<T*>(hopper_.shared_of(cluster_rank()));
  }
  int cluster_rank() const { return hopper_.rank_of(thread_); }
  void cluster_sync() { hopper_.meet(thread_, hopper_.everyone()); }
  void cluster_meet() { cluster_sync(); }

  std::uint32_t shared_address(const void* pointer) const {
    const auto place = hopper_.place_of(pointer);
    HopperCluster::require(place.rank == cluster_rank(), "the address of another block");
    return place.address;
  }
  void barrier_init(CopyBarrier* b, int arrivals) {
    hopper_.linger(thread_);
    hopper_.init(b, arrivals);
  }
  void barrier_init_fence() {}
  void barrier_arrive(CopyBarrier* b) {
    hopper_.arrive(hopper_.barrier(b));
    hopper_.mark_progress(thread_);
  }
  void barrier_arrive_at(CopyBarrier* b, int rank) {
    hopper_.arrive(hopper_.barrier({rank, shared_address(b)}));
    hopper_.mark_progress(thread_);
  }
  void barrier_expect(CopyBarrier* b, int bytes) {
    hopper_.barrier(b).bytes += bytes;
    hopper_.arrive(hopper_.barrier(b));
    hopper_.mark_progress(thread_);
  }
  void barrier_wait(CopyBarrier* b, unsigned parity) {
    HopperCluster::Barrier& barrier = hopper_.barrier(b);
    hopper_.wait_until(thread_, [&] {
      if (barrier.phase != parity) return true;
      hopper_.pass_time(thread_);
      return false;
    });
  }
  void acquire_map(const TensorMap* map) { hopper_.state(thread_).acquired.insert(map); }
  void load_tile(const TensorMap* map, void* to, CopyBarrier* b, const std::int32_t (&at)[4]) {
    load(map, to, b, at, cluster_rank());
  }
  void load_tile_to_both(const TensorMap* map, void* to, CopyBarrier* b,
                         const std::int32_t (&at)[4]) {
    for (const int rank : {1, 0}) load(map, to, b, at, rank);
  }

  void mma_fence() { hopper_.state(thread_).fenced = true; }
  void mma_commit() { ++hopper_.state(thread_).open_group; }
  template <int Groups, class... Registers>
  void mma_wait(Registers&...) {
    hopper_.wait(thread_, Groups);
  }
  template <int N, std::size_t Registers>
  void mma_ss(float (&d)[Registers], std::uint64_t a, std::uint64_t b, bool accumulate) {
    static_assert(Registers * 2 == N);
    hopper_.issue(thread_, {.n = N, .d = d, .accumulate = accumulate, .a = a, .b = b});
  }
  void mma_rs(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b, bool accumulate) {
    hopper_.issue(thread_, {.n = 128,
                            .d = d,
                            .a_in_registers = true,
                            .b_transposed = true,
                            .accumulate = accumulate,
                            .b = b,
                            .a_registers = a});
  }

  void stage16(void* to, const Pack<std::uint32_t, 4>& value) {
    hopper_.state(thread_).staged.emplace_back(static_cast<unsigned char*>(to), value);
  }
  void fence_async() {
    if (!hopper_.state(thread_).staged.empty()) hopper_.linger(thread_);
    for (const auto& [to, value] : hopper_.state(thread_).staged) std::memcpy(to, &value, 16);
    hopper_.state(thread_).staged.clear();
  }

  void sync_warp() { hopper_.meet(thread_, hopper_.warp_of(thread_)); }
  void named_sync(int id, int threads) {
    const HopperCluster::Named& named = hopper_.arrive_named(thread_, id, threads);
    hopper_.mark_progress(thread_);
    // The last to come has already opened it.
    if (named.arrived == 0) return;
    const auto generation = named.generation;
    hopper_.wait_until(thread_, [&] { return named.generation != generation; });
  }
  void named_arrive(int id, int threads) {
    hopper_.arrive_named(thread_, id, threads);
    hopper_.mark_progress(thread_);
  }
  template <int N>
  void more_registers() {
    static_assert(N % 8 == 0 && N <= 256);
    sync_warp();
  }
  template <int N>
  void fewer_registers() {
    static_assert(N % 8 == 0 && N >= 24);
    sync_warp();
  }

  int warp_uniform(int value) const { return value; }
  float exp2(float x) const { return std::exp2(x); }
  float log2(float x) const { return std::log2(x); }
  std::uint32_t pack_bf16(float low, float high) const {
    return static_cast<std::uint32_t>(bf16_of_float(high)) << 16 | bf16_of_float(low);
  }

 private:
  void load(const TensorMap* map, void* to, CopyBarrier* b, const std::int32_t (&at)[4], int rank) {
    HopperCluster::require(hopper_.state(thread_).acquired.contains(map),
                           "a map is used before it is acquired");
    HopperCluster::Copy copy{.to = {rank, shared_address(to)},
                             .barrier = {rank, shared_address(b)}};
    std::memcpy(&copy.map, map->bytes, sizeof copy.map);
    std::copy_n(at, 4, copy.at.begin());
    hopper_.start(copy);
  }

  HopperCluster& hopper_;
};

/// Runs the blocks of a kernel, a cluster of `cluster` after the other.
template <class Kernel>
void host_hopper_launch(const Kernel& kernel, LaneOrder order = LaneOrder::ascending,
                        int cluster = 1) {
  static_assert(Kernel::threads % warpgroup_lanes == 0 || Kernel::threads == warp_lanes);
  HopperCluster team(Kernel::threads, kernel.shared_bytes(), cluster, order);
  for (std::int64_t block = 0; block < kernel.blocks(); block += cluster)
    team.run_blocks([&](int thread) {
      HostHopperLane lane(team, thread, block, kernel.blocks());
      kernel(lane);
    });
}

}  // namespace ospsim
