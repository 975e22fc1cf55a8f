#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sim/network/replay.hpp"
#include "sim/parallel/ledger.hpp"

#ifdef OSPSIM_REPLAY
#define SKIP_WITHOUT_REPLAYER() static_cast<void>(0)
#else
#define OSPSIM_REPLAY ""
#define SKIP_WITHOUT_REPLAYER() GTEST_SKIP() << "ospsim-replay was not built: SimGrid is missing"
#endif

namespace ospsim {

inline ReplayResult simulate(const Ledger& ledger, const ReplaySettings& settings) {
  return parse_replay(run_replayer(OSPSIM_REPLAY, replay_request(ledger, settings)));
}

inline Quantity quantity(double value) {
  return {value, "any", "a test", {}};
}

/// A cluster of round numbers: nodes of 8 devices with links of 100 GB/s and a NIC of 10 GB/s each.
inline Platform test_platform() {
  Platform platform;
  platform.name = "test";
  platform.matrix_flops_per_s = quantity(1e12);
  platform.memory_bandwidth = quantity(1e11);
  platform.exchange_launch = quantity(10e-6);
  platform.devices_per_node = quantity(8);
  platform.link = {Platform::Link::Kind::network_switch, quantity(100e9), quantity(1e-6), {}};
  platform.nic = {quantity(8), quantity(10e9), quantity(5e-6)};
  platform.fabric.kind = Platform::Fabric::Kind::crossbar;
  return platform;
}

/// The part of `rank` in an exchange in which everybody sends `bytes(from, to)` to everybody of the
/// same group.
inline Exchange exchange_of(int rank, const std::vector<int>& group, const std::string& label,
                            const std::function<std::int64_t(int from, int to)>& bytes) {
  Exchange exchange{.label = label};
  for (const int peer : group) {
    if (peer == rank) continue;
    if (bytes(rank, peer) > 0) exchange.sent.push_back({peer, bytes(rank, peer)});
    if (bytes(peer, rank) > 0) exchange.received.push_back({peer, bytes(peer, rank)});
  }
  return exchange;
}

/// `count` ranks from `first` on, `stride` apart.
inline std::vector<int> ranks_from(int first, int count, int stride = 1) {
  std::vector<int> group;
  for (int i = 0; i < count; ++i) group.push_back(first + i * stride);
  return group;
}

inline Ledger all_to_all(int ranks, std::int64_t bytes_per_pair) {
  Ledger ledger;
  for (int rank = 0; rank < ranks; ++rank)
    ledger.ranks.push_back(
        {exchange_of(rank, ranks_from(0, ranks), "q", [&](int, int) { return bytes_per_pair; })});
  return ledger;
}

/// Every rank passes `bytes` to the next, `steps` times, while it computes for `flops`.
inline Ledger ring(int ranks, int steps, std::int64_t bytes, double flops, bool overlap) {
  Ledger ledger;
  for (int rank = 0; rank < ranks; ++rank) {
    const int next = (rank + 1) % ranks, previous = (rank + ranks - 1) % ranks;
    Trace trace;
    for (int step = 0; step < steps; ++step) {
      trace.push_back(Exchange{.kind = Exchange::Kind::shift,
                               .label = "kv",
                               .sent = {{next, bytes}},
                               .received = {{previous, bytes}},
                               .overlaps_next = overlap});
      trace.push_back(Computation{.label = "attention", .flops = flops});
    }
    ledger.ranks.push_back(std::move(trace));
  }
  return ledger;
}

}  // namespace ospsim
