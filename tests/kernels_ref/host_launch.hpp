#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OSPSIM_SWAP_CONTEXTS  // what sanitizers follow; ten times slower, for it asks the kernel
#endif

#include "kernels_ref/cuda/lane.hpp"

/// Runs a kernel (kernels_ref/cuda/lane.hpp) on the host. The lanes of a block are fibers: each
/// runs until it waits for others. The order in which they get their turn is the caller's; a kernel
/// that lacks a barrier gives another result in another order, and one that never gets through a
/// barrier is found out.
namespace ospsim {

enum class LaneOrder { ascending, descending, shuffled };
inline constexpr LaneOrder lane_orders[] = {LaneOrder::ascending, LaneOrder::descending,
                                            LaneOrder::shuffled};

/// The lanes of one block.
class HostBlock {
 public:
  /// Some lanes that wait for each other, and what they hand each other there.
  struct Meeting {
    int expected = 0, arrived = 0;
    std::uint64_t generation = 0;
    std::vector<std::byte> values;
  };

  HostBlock(int threads, std::size_t shared_bytes, LaneOrder order)
      : threads_(threads),
        everyone_{.expected = threads, .values = {}},
        warps_(static_cast<std::size_t>((threads + warp_lanes - 1) / warp_lanes)),
        shared_(shared_bytes + alignment) {
    for (std::size_t w = 0; w < warps_.size(); ++w)
      warps_[w].expected = std::min(warp_lanes, threads - static_cast<int>(w) * warp_lanes);
    turns_.resize(static_cast<std::size_t>(threads));
    std::iota(turns_.begin(), turns_.end(), 0);
    if (order == LaneOrder::descending) std::ranges::reverse(turns_);
    if (order == LaneOrder::shuffled) std::ranges::shuffle(turns_, std::mt19937(7));
    for (int t = 0; t < threads; ++t) make(t);
  }
  HostBlock(const HostBlock&) = delete;
  HostBlock& operator=(const HostBlock&) = delete;
#if defined(__SANITIZE_THREAD__)
  ~HostBlock() {
    for (const auto& lane : lanes_) __tsan_destroy_fiber(lane->tsan);
  }
#endif

  int threads() const {
    return threads_;
  }
  Meeting& everyone() {
    return everyone_;
  }
  Meeting& warp_of(int thread) {
    return warps_[static_cast<std::size_t>(thread / warp_lanes)];
  }
  unsigned char* shared() {
    const auto address = reinterpret_cast<std::uintptr_t>(shared_.data());
    return shared_.data() + (alignment - address % alignment) % alignment;
  }

  /// Calls body(thread) in every lane and returns when all have returned. Shared memory starts as
  /// NaNs.
  void run(std::function<void(int)> body) {
    std::ranges::fill(shared_, static_cast<unsigned char>(0xff));
    body_ = std::move(body);
    int finished = 0;
    for (const auto& lane : lanes_) lane->done = false;
    while (finished < threads_) {
      progress_ = false;
      for (const int t : turns_) {
        Fiber& lane = *lanes_[static_cast<std::size_t>(t)];
        if (lane.done) continue;
        switch_to(lane);
        if (lane.done) {
          ++finished;
          progress_ = true;
        }
      }
      if (!progress_)
        throw std::logic_error(
            "a kernel's lanes wait for each other in vain: a barrier that not all reach");
    }
  }

  /// Waits until all that are expected have come.
  void meet(int thread, Meeting& meeting) {
    const auto generation = meeting.generation;
    if (++meeting.arrived == meeting.expected) {
      meeting.arrived = 0;
      ++meeting.generation;
      progress_ = true;
    }
    while (meeting.generation == generation) yield(thread);
  }
  /// For waits on what is no meeting: true conditions are progress.
  template <class Condition>
  void wait_until(int thread, const Condition& condition) {
    while (!condition()) yield(thread);
    progress_ = true;
  }

 private:
  static constexpr std::size_t alignment = 1024;
#if defined(OSPSIM_SWAP_CONTEXTS)
  static constexpr std::size_t stack_bytes = 256 * 1024;
#else
  static constexpr std::size_t stack_bytes = 64 * 1024;
#endif
  struct Fiber {
    ucontext_t context{};
    std::unique_ptr<unsigned char[]> stack{new unsigned char[stack_bytes]};
    bool started = false, done = false;
    jmp_buf resume;
    void* tsan = nullptr;
  };

  /// What every fiber runs, block after block.
  static void live(unsigned low, unsigned high, unsigned thread) {
    auto* const self = reinterpret_cast<HostBlock*>(static_cast<std::uintptr_t>(low) |
                                                    static_cast<std::uintptr_t>(high) << 32);
    for (;;) {
      self->body_(static_cast<int>(thread));
      self->lanes_[thread]->done = true;
      self->yield(static_cast<int>(thread));
    }
  }
  void make(int thread) {
    Fiber& lane = *lanes_.emplace_back(std::make_unique<Fiber>());
    getcontext(&lane.context);
    lane.context.uc_stack.ss_sp = lane.stack.get();
    lane.context.uc_stack.ss_size = stack_bytes;
    lane.context.uc_link = nullptr;
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    makecontext(&lane.context, reinterpret_cast<void (*)()>(&HostBlock::live), 3,
                static_cast<unsigned>(self), static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(thread));
#if defined(__SANITIZE_THREAD__)
    lane.tsan = __tsan_create_fiber(0);
#endif
  }
  void switch_to(Fiber& lane) {
#if defined(__SANITIZE_THREAD__)
    host_tsan_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(lane.tsan, 0);
#endif
#if defined(OSPSIM_SWAP_CONTEXTS)
    swapcontext(&host_, &lane.context);
#else
    if (_setjmp(host_) == 0) {
      if (lane.started) _longjmp(lane.resume, 1);
      lane.started = true;
      setcontext(&lane.context);
    }
#endif
  }
  void yield(int thread) {
    Fiber& lane = *lanes_[static_cast<std::size_t>(thread)];
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(host_tsan_, 0);
#endif
#if defined(OSPSIM_SWAP_CONTEXTS)
    swapcontext(&lane.context, &host_);
#else
    if (_setjmp(lane.resume) == 0) _longjmp(host_, 1);
#endif
  }

  int threads_;
  Meeting everyone_;
  std::vector<Meeting> warps_;
  std::vector<unsigned char> shared_;
  std::vector<int> turns_;
  std::vector<std::unique_ptr<Fiber>> lanes_;
  std::function<void(int)> body_;
#if defined(OSPSIM_SWAP_CONTEXTS)
  ucontext_t host_{};
#else
  jmp_buf host_;
#endif
  void* host_tsan_ = nullptr;
  bool progress_ = false;
};

/// One thread of a kernel on the host.
class HostLane {
 public:
  HostLane(HostBlock& team, int thread, std::int64_t block, std::int64_t blocks)
      : team_(team), thread_(thread), block_(block), blocks_(blocks) {}

  int thread() const { return thread_; }
  int threads() const { return team_.threads(); }
  std::int64_t block() const { return block_; }
  std::int64_t blocks() const { return blocks_; }
  void sync() { team_.meet(thread_, team_.everyone()); }
  template <class T>
  T* shared() const {
    return reinterpret_cast<T*>(team_.shared());
  }
  template <class T>
  T shuffle_xor(T value, int mask) {
    HostBlock::Meeting& warp = team_.warp_of(thread_);
    const auto at = [&](int lane) { return static_cast<std::size_t>(lane) * sizeof(T); };
    const int own = thread_ % warp_lanes;
    warp.values.resize(warp_lanes * sizeof(T));
    std::memcpy(&warp.values[at(own)], &value, sizeof(T));
    team_.meet(thread_, warp);
    std::memcpy(&value, &warp.values[at(own ^ mask)], sizeof(T));
    team_.meet(thread_, warp);  // nobody writes again before all have read
    return value;
  }
  void atomic_max(std::uint32_t* to, std::uint32_t value) { *to = std::max(*to, value); }
  void atomic_add(unsigned long long* to, unsigned long long value) { *to += value; }

 protected:
  HostBlock& team_;
  int thread_;
  std::int64_t block_, blocks_;
};

/// Runs every block of a kernel, one after the other.
template <class Lane = HostLane, class Kernel>
void host_launch(const Kernel& kernel, LaneOrder order = LaneOrder::ascending) {
  static_assert(Kernel::threads % warp_lanes == 0);
  HostBlock team(Kernel::threads, kernel.shared_bytes(), order);
  for (std::int64_t block = 0; block < kernel.blocks(); ++block)
    team.run([&](int thread) {
      Lane lane(team, thread, block, kernel.blocks());
      kernel(lane);
    });
}

}  // namespace ospsim
