#include "analysis/network_time.hpp"

#include <gtest/gtest.h>

#include "kernels_ref/errors.hpp"
#include "tests/sim/network_support.hpp"

namespace ospsim {
namespace {

using Placement = ReplaySettings::Placement;
using AllToAll = ReplaySettings::AllToAll;

TEST(NetworkTime, OneExchangeWorkedByHand) {
  // Rank 0 sends 3 and receives 1 GB inside its node, sends 1 and receives 0.5 GB beyond it.
  const Exchange exchange{.sent = {{1, 3'000'000'000}, {8, 1'000'000'000}},
                          .received = {{1, 1'000'000'000}, {9, 500'000'000}}};
  ReplaySettings settings{.platform = test_platform()};
  const auto seconds = [&] { return exchange_seconds(exchange, 0, 16, 0, settings); };
  EXPECT_DOUBLE_EQ(seconds(), 10e-6 + 5e-6 + 0.1);  // the NIC: 1 GB at 10 GB/s
  settings.platform.nic->bandwidth = quantity(100e9);
  EXPECT_DOUBLE_EQ(seconds(), 10e-6 + 5e-6 + 0.03);  // the link: 3 GB at 100 GB/s
  settings.platform.nic->per_node = quantity(1);
  EXPECT_DOUBLE_EQ(seconds(), 10e-6 + 5e-6 + 0.08);  // one eighth of the NIC
  settings.with_latency = false;
  EXPECT_DOUBLE_EQ(seconds(), 0.08);
  settings.platform.link.kind = Platform::Link::Kind::pcie;
  settings.platform.link.host_bridge = quantity(400e9);
  EXPECT_DOUBLE_EQ(seconds(), 0.08);  // the bridge: (2 + 1.5) GB at 400 / 8 GB/s are 0.07
  settings.platform.link.host_bridge = quantity(100e9);
  EXPECT_DOUBLE_EQ(seconds(), 0.28);
  settings.platform.link.bandwidth = quantity(10e9);
  EXPECT_DOUBLE_EQ(seconds(), 0.4);  // 3 + 1 GB leave over the device's own link
}

TEST(NetworkTime, SharesCountTheDevicesInUse) {
  // 10 ranks: the second node has two, which share its one NIC; the first has eight.
  ReplaySettings settings{.platform = test_platform(), .with_latency = false};
  settings.platform.nic->per_node = quantity(1);
  const Exchange to_nine{.sent = {{9, 1'000'000'000}}}, to_zero{.sent = {{0, 1'000'000'000}}};
  EXPECT_DOUBLE_EQ(exchange_seconds(to_nine, 0, 10, 0, settings), 0.8);
  EXPECT_DOUBLE_EQ(exchange_seconds(to_zero, 9, 10, 0, settings), 0.2);
  settings.platform.nic->per_node = quantity(4);
  EXPECT_DOUBLE_EQ(exchange_seconds(to_zero, 9, 10, 0, settings), 0.2);  // ranks 8 and 9: one NIC
  settings.replicas = 2;  // replica 1 holds devices 10 to 19
  EXPECT_DOUBLE_EQ(exchange_seconds(to_zero, 9, 10, 1, settings), 0.2);
  EXPECT_DOUBLE_EQ(exchange_seconds(Exchange{.sent = {{5, 100}}}, 0, 10, 1, settings), 1e-9);
  EXPECT_DOUBLE_EQ(exchange_seconds(Exchange{.sent = {{6, 100}}}, 0, 10, 1, settings), 2e-8);
}

TEST(NetworkTime, Placement) {
  ReplaySettings settings{.platform = test_platform(), .replicas = 8, .with_latency = false};
  const Exchange exchange{.sent = {{1, 1'000'000'000}}};
  EXPECT_DOUBLE_EQ(exchange_seconds(exchange, 0, 2, 3, settings), 0.01);
  settings.placement = Placement::strided;
  EXPECT_DOUBLE_EQ(exchange_seconds(exchange, 0, 2, 3, settings), 0.1);
}

TEST(NetworkTime, RoundsAddUp) {
  ReplaySettings settings{.platform = test_platform(), .all_to_all = AllToAll::pairwise};
  const Ledger ledger = all_to_all(4, 1'000'000'000);
  EXPECT_DOUBLE_EQ(network_seconds(ledger, settings), 10e-6 + 3 * (1e-6 + 0.01));
}

TEST(NetworkTime, ALedgerIsItsSlowestRankWithOverlap) {
  ReplaySettings settings{.platform = test_platform(), .with_latency = false};
  Ledger ledger = ring(2, 3, 1'000'000'000, 4e9, true);  // 10 ms beside 4 ms
  EXPECT_DOUBLE_EQ(network_seconds(ledger, settings), 0.03);
  EXPECT_DOUBLE_EQ(network_seconds(ring(2, 3, 1'000'000'000, 4e9, false), settings), 0.042);
  ledger.ranks[1].push_back(Computation{.flops = 1e9, .bytes = 1e9});
  EXPECT_DOUBLE_EQ(network_seconds(ledger, settings), 0.04);
  std::get<Exchange>(ledger.ranks[1][0]).packing_bytes = 100'000'000;
  EXPECT_DOUBLE_EQ(network_seconds(ledger, settings), 0.041);
  settings.with_packing = settings.with_computation = false;
  EXPECT_DOUBLE_EQ(network_seconds(ledger, settings), 0.03);
}

TEST(NetworkTime, NoNodeIsBeyondASingleNode) {
  const ReplaySettings settings{.platform = load_platform("h200-nvlink")};
  EXPECT_GT(network_seconds(all_to_all(8, 1), settings), 0);
  EXPECT_THROW(network_seconds(all_to_all(9, 1), settings), InputError);
}

// NCCL permute + all-to-all + permute of 75,600 tokens x 40 heads x 128 in bf16 on H200s, bytes
// that leave a rank over time, as measured by the authors of fast-ulysses (README of
// triple-mu/fast-ulysses). Nothing in the preset was fitted to it.
TEST(NetworkTime, NearWhatWasMeasuredOnH200) {
  struct Measured {
    int ranks;
    double bytes_per_s;
  };
  for (const auto& [ranks, measured] :
       {Measured{2, 171e9}, Measured{4, 202e9}, Measured{8, 203e9}}) {
    const std::int64_t own = 75600LL * 40 * 128 * 2 / ranks;
    Ledger ledger = all_to_all(ranks, own / ranks);
    for (Trace& trace : ledger.ranks)
      std::get<Exchange>(trace[0]).packing_bytes = 4 * own;  // read and written, before and after
    const double seconds = network_seconds(ledger, {.platform = load_platform("h200-nvlink")});
    const double bytes_per_s = static_cast<double>(own / ranks * (ranks - 1)) / seconds;
    EXPECT_GT(bytes_per_s, measured) << ranks;  // packing at full memory bandwidth is generous
    EXPECT_LT(bytes_per_s, 1.25 * measured) << ranks;
  }
}

}  // namespace
}  // namespace ospsim
