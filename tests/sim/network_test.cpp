#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "analysis/network_time.hpp"
#include "kernels_ref/errors.hpp"
#include "tests/sim/network_support.hpp"

namespace ospsim {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

using Placement = ReplaySettings::Placement;
using AllToAll = ReplaySettings::AllToAll;

constexpr double relative = 1e-3;

void expect_seconds(double ours, double expected) {
  EXPECT_NEAR(ours, expected, relative * expected);
}

Platform fat_tree(double oversubscription) {
  Platform platform = test_platform();
  platform.devices_per_node = platform.nic->per_node = quantity(2);
  platform.fabric = {Platform::Fabric::Kind::fat_tree, quantity(2), quantity(oversubscription)};
  return platform;
}

TEST(Network, PointToPointWorkedByHand) {
  SKIP_WITHOUT_REPLAYER();
  Ledger ledger;
  ledger.ranks = {{Exchange{.label = "x", .sent = {{1, 1'000'000'000}}}},
                  {Exchange{.label = "x", .received = {{0, 1'000'000'000}}}}};
  const ReplayResult result = simulate(ledger, {.platform = test_platform()});
  EXPECT_NEAR(result.time_s, 10e-6 + 1e-6 + 0.01, 1e-9);
  ASSERT_EQ(result.exchanges.size(), 1U);
  EXPECT_EQ(result.exchanges[0].label, "x");
  EXPECT_NEAR(result.exchanges[0].time.mean_s, 0.010011, 1e-9);
  EXPECT_NEAR(result.exposed.max_s, 0.010011, 1e-9);
  EXPECT_EQ(result.flows, 1);
  EXPECT_EQ(result.bytes, 1'000'000'000);
  EXPECT_EQ(result.devices, 2);
  EXPECT_EQ(result.nodes, 1);

  Platform two_nodes = test_platform();
  two_nodes.devices_per_node = two_nodes.nic->per_node = quantity(1);
  EXPECT_NEAR(simulate(ledger, {.platform = two_nodes}).time_s, 10e-6 + 5e-6 + 0.1, 1e-9);
}

TEST(Network, AllToAllOfEightOnNvlinkIsTheClosedForm) {
  SKIP_WITHOUT_REPLAYER();
  const std::int64_t bytes_per_pair = 12'096'000;  // 75,600 tokens x 5,120 in bf16 over 8 x 8
  const Ledger ledger = all_to_all(8, bytes_per_pair);
  const ReplaySettings settings{.platform = load_platform("h200-nvlink")};
  const double expected = 58e-6 + 1e-6 + 7 * 12'096'000 / 350e9;
  expect_seconds(simulate(ledger, settings).time_s, expected);
  expect_seconds(network_seconds(ledger, settings), expected);
}

TEST(Network, UnevenPartsEndWithTheBusiestDevice) {
  SKIP_WITHOUT_REPLAYER();
  // Rank 3 receives three times what it sends; no other link carries more than half of that.
  Ledger ledger;
  for (int rank = 0; rank < 4; ++rank)
    ledger.ranks.push_back({exchange_of(rank, ranks_from(0, 4), "q", [](int, int to) {
      return to == 3 ? 30'000'000 : 10'000'000;
    })});
  const ReplaySettings settings{.platform = test_platform(), .with_latency = false};
  EXPECT_NEAR(simulate(ledger, settings).time_s, 90e6 / 100e9, 1e-9);
  EXPECT_NEAR(network_seconds(ledger, settings), 90e6 / 100e9, 1e-12);
}

TEST(Network, TwoLevels) {
  SKIP_WITHOUT_REPLAYER();
  const Ledger ledger = all_to_all(16, 10'000'000);
  const double overhead = 10e-6 + 5e-6;
  const auto check = [&](const Platform& platform, double expected) {
    const ReplaySettings settings{.platform = platform};
    expect_seconds(simulate(ledger, settings).time_s, expected);
    expect_seconds(network_seconds(ledger, settings), expected);
  };
  Platform platform = test_platform();
  check(platform, overhead + 8 * 10e6 / 10e9);  // 8 peers in the other node
  platform.nic->per_node = quantity(2);
  check(platform, overhead + 4 * 8 * 10e6 / 10e9);  // 4 devices share a NIC
  platform.nic->per_node = quantity(1);
  check(platform, overhead + 8 * 8 * 10e6 / 10e9);
  platform.link.bandwidth = quantity(0.5e9);
  check(platform, overhead + 7 * 10e6 / 0.5e9);  // now the links inside the node are slowest
}

TEST(Network, EverythingInAPcieBoxCrossesItsHostBridge) {
  SKIP_WITHOUT_REPLAYER();
  Platform platform = test_platform();
  platform.link = {Platform::Link::Kind::pcie, quantity(25e9), quantity(1e-6), quantity(50e9)};
  platform.nic->per_node = quantity(1);
  const auto check = [&](int ranks, double expected) {
    const Ledger ledger = all_to_all(ranks, 10'000'000);
    const ReplaySettings settings{.platform = platform, .with_latency = false};
    expect_seconds(simulate(ledger, settings).time_s, expected);
    expect_seconds(network_seconds(ledger, settings), expected);
  };
  check(2, 10e6 / 25e9);           // the link; the bridge carries 20e6 at 50e9
  check(8, 8 * 7 * 10e6 / 50e9);   // the bridge
  check(16, 8 * 8 * 10e6 / 10e9);  // the NIC; the bridge carries 56 + 64 + 64 parts
  platform.nic->bandwidth = quantity(100e9);
  check(16, (56 + 64 + 64) * 10e6 / 50e9);
}

TEST(Network, RingHidesBehindComputationExactly) {
  SKIP_WITHOUT_REPLAYER();
  const auto seconds = [](double flops, bool overlap) {
    const ReplaySettings settings{.platform = test_platform(), .with_latency = false};
    const Ledger ledger = ring(8, 7, 5'000'000'000, flops, overlap);  // 50 ms a step
    const ReplayResult result = simulate(ledger, settings);
    EXPECT_NEAR(network_seconds(ledger, settings), result.time_s, 1e-9);
    EXPECT_NEAR(result.exchanges.at(0).time.max_s, 7 * 0.05, 1e-9);
    EXPECT_NEAR(result.computation.mean_s, 7 * flops / 1e12, 1e-9);
    EXPECT_NEAR(result.time_s, result.computation.max_s + result.exposed.max_s, 1e-9);
    return result.time_s;
  };
  EXPECT_NEAR(seconds(100e9, true), 7 * 0.1, 1e-9);
  EXPECT_NEAR(seconds(20e9, true), 7 * 0.05, 1e-9);
  EXPECT_NEAR(seconds(20e9, false), 7 * 0.07, 1e-9);
}

TEST(Network, OverlappingExchangesQueueAndAreWaitedFor) {
  SKIP_WITHOUT_REPLAYER();
  // k and v (10 ms each) beside 15 ms of work: 20 ms; then one more exchange that nothing hides.
  Ledger ledger = ring(2, 1, 1'000'000'000, 15e9, true);
  for (Trace& trace : ledger.ranks) {
    trace.insert(trace.begin(), trace.front());
    Exchange last = std::get<Exchange>(trace.front());
    last.label = "last";
    trace.push_back(last);
  }
  const ReplaySettings settings{.platform = test_platform(), .with_latency = false};
  EXPECT_NEAR(simulate(ledger, settings).time_s, 0.03, 1e-9);
  EXPECT_NEAR(network_seconds(ledger, settings), 0.03, 1e-9);
}

TEST(Network, PackingIsChargedToTheDevice) {
  SKIP_WITHOUT_REPLAYER();
  Ledger ledger = ring(2, 1, 1'000'000'000, 20e9, true);  // 10 ms beside 20 ms
  for (Trace& trace : ledger.ranks) std::get<Exchange>(trace[0]).packing_bytes = 400'000'000;
  ReplaySettings settings{.platform = test_platform(), .with_latency = false};
  const ReplayResult with = simulate(ledger, settings);
  EXPECT_NEAR(with.time_s, 0.024, 1e-9);
  EXPECT_NEAR(with.packing.max_s, 0.004, 1e-9);
  EXPECT_NEAR(with.exposed.max_s, 0, 1e-9);
  EXPECT_NEAR(network_seconds(ledger, settings), 0.024, 1e-9);
  settings.with_packing = false;
  EXPECT_NEAR(simulate(ledger, settings).time_s, 0.02, 1e-9);
  settings.with_computation = false;
  EXPECT_NEAR(simulate(ledger, settings).time_s, 0.01, 1e-9);
}

TEST(Network, ComputationIsTheSlowerOfArithmeticAndMemory) {
  SKIP_WITHOUT_REPLAYER();
  Ledger ledger;
  ledger.ranks = {
      {Computation{.flops = 3e12, .bytes = 1e11}, Computation{.flops = 0, .bytes = 2e11}}};
  ReplaySettings settings{.platform = test_platform()};
  EXPECT_NEAR(simulate(ledger, settings).time_s, 3 + 2, 1e-9);
  settings.efficiency = 0.5;
  EXPECT_NEAR(simulate(ledger, settings).time_s, 6 + 2, 1e-9);
  EXPECT_NEAR(network_seconds(ledger, settings), 6 + 2, 1e-9);
}

TEST(Network, OversubscriptionSlowsWhatLeavesTheLeaf) {
  SKIP_WITHOUT_REPLAYER();
  // 4 nodes of 2 devices, 2 nodes to a leaf: a leaf's 4 NICs of 10 GB/s share uplinks of 40 /
  // ratio.
  const auto seconds = [](const Ledger& ledger, double oversubscription) {
    return simulate(ledger, {.platform = fat_tree(oversubscription), .with_latency = false}).time_s;
  };
  Ledger across;  // everybody sends to the same place in the other leaf
  for (int rank = 0; rank < 8; ++rank)
    across.ranks.push_back(
        {exchange_of(rank, {rank, (rank + 4) % 8}, "x", [](int, int) { return 10'000'000; })});
  EXPECT_NEAR(seconds(across, 1), 1e-3, 1e-8);
  EXPECT_NEAR(seconds(across, 2), 2e-3, 1e-8);
  EXPECT_NEAR(seconds(across, 4), 4e-3, 1e-8);
  // All to all: 6 parts through each NIC, but 4 x 4 through an uplink.
  const Ledger all = all_to_all(8, 10'000'000);
  EXPECT_NEAR(seconds(all, 1), 6e-3, 1e-8);
  EXPECT_NEAR(seconds(all, 4), 16e-3, 1e-8);
  EXPECT_NEAR(network_seconds(all, {.platform = fat_tree(4), .with_latency = false}), 6e-3, 1e-8);
  // What stays in the leaf does not notice.
  EXPECT_NEAR(seconds(all_to_all(4, 10'000'000), 4), 2e-3, 1e-8);
}

TEST(Network, PlacementDecidesWhatIsNear) {
  SKIP_WITHOUT_REPLAYER();
  ReplaySettings settings{.platform = test_platform(), .replicas = 8, .with_latency = false};
  const Ledger ledger = all_to_all(2, 10'000'000);
  EXPECT_NEAR(simulate(ledger, settings).time_s, 10e6 / 100e9, 1e-9);
  EXPECT_NEAR(network_seconds(ledger, settings), 10e6 / 100e9, 1e-9);
  settings.placement =
      Placement::strided;  // rank 0 of all replicas in one node, rank 1 in the other
  const ReplayResult strided = simulate(ledger, settings);
  EXPECT_NEAR(strided.time_s, 10e6 / 10e9, 1e-9);
  EXPECT_NEAR(network_seconds(ledger, settings), 10e6 / 10e9, 1e-9);
  EXPECT_EQ(strided.devices, 16);
  EXPECT_EQ(strided.nodes, 2);
  EXPECT_EQ(strided.flows, 16);
  EXPECT_EQ(strided.bytes, 160'000'000);
}

TEST(Network, RoundsPayALatencyEach) {
  SKIP_WITHOUT_REPLAYER();
  const Ledger ledger = all_to_all(8, 10'000'000);
  const double wire = 7 * 10e6 / 100e9;
  ReplaySettings settings{.platform = test_platform()};
  EXPECT_NEAR(simulate(ledger, settings).time_s, 10e-6 + 1e-6 + wire, 1e-9);
  settings.all_to_all = AllToAll::pairwise;
  EXPECT_NEAR(simulate(ledger, settings).time_s, 10e-6 + 7 * 1e-6 + wire, 1e-9);
  EXPECT_NEAR(network_seconds(ledger, settings), 10e-6 + 7 * 1e-6 + wire, 1e-9);
}

TEST(Network, RoundsLeaveLinksIdle) {
  SKIP_WITHOUT_REPLAYER();
  // Over two nodes of 2: at once, a NIC sends 2 parts while the link sends 1; in rounds the one
  // near round comes on top.
  Platform platform = test_platform();
  platform.devices_per_node = platform.nic->per_node = quantity(2);
  platform.link.bandwidth = quantity(20e9);
  const Ledger ledger = all_to_all(4, 10'000'000);
  ReplaySettings settings{.platform = platform, .with_latency = false};
  EXPECT_NEAR(simulate(ledger, settings).time_s, 2e-3, 1e-8);
  settings.all_to_all = AllToAll::pairwise;
  // Round 1: 0>1 near, 1>2 far, 2>3 near, 3>0 far; round 2 all far; round 3 like round 1.
  EXPECT_NEAR(simulate(ledger, settings).time_s, 3e-3, 1e-8);
  EXPECT_NEAR(network_seconds(ledger, settings), 3e-3, 1e-8);
}

TEST(Network, ReplicasOnNodesOfTheirOwnDoNotInteract) {
  SKIP_WITHOUT_REPLAYER();
  ReplaySettings settings{.platform = test_platform()};
  const Ledger ledger = all_to_all(16, 10'000'000);
  const double alone = simulate(ledger, settings).time_s;
  settings.replicas = 4;
  EXPECT_NEAR(simulate(ledger, settings).time_s, alone, 1e-9);
  settings.replicas = 2;  // and where two share every NIC they take twice as long
  settings.platform.devices_per_node = quantity(2);
  settings.platform.nic->per_node = quantity(1);
  settings.placement = Placement::strided;
  settings.with_latency = false;
  const Ledger pair = all_to_all(2, 10'000'000);
  EXPECT_NEAR(simulate(pair, settings).time_s, 2e-3, 1e-8);
  EXPECT_NEAR(network_seconds(pair, settings), 2e-3, 1e-8);
}

TEST(Network, WhoComesLateKeepsItsPeersWaiting) {
  SKIP_WITHOUT_REPLAYER();
  // Rank 0 works 10 ms before the exchange, rank 1 after it: 30 ms with an exchange of 10 ms. The
  // closed form knows no waiting and says 20 ms.
  Ledger ledger = all_to_all(2, 1'000'000'000);
  const Computation work{.flops = 10e9};
  ledger.ranks[0].insert(ledger.ranks[0].begin(), work);
  ledger.ranks[1].push_back(work);
  const ReplaySettings settings{.platform = test_platform(), .with_latency = false};
  const ReplayResult result = simulate(ledger, settings);
  EXPECT_NEAR(result.time_s, 0.03, 1e-9);
  EXPECT_NEAR(result.exchanges.at(0).time.max_s, 0.02, 1e-9);
  EXPECT_NEAR(result.exchanges.at(0).time.mean_s, 0.015, 1e-9);
  EXPECT_NEAR(network_seconds(ledger, settings), 0.02, 1e-9);
}

TEST(Network, AnExchangeWithNobodyTakesNoTime) {
  SKIP_WITHOUT_REPLAYER();
  const ReplaySettings settings{.platform = test_platform(), .replicas = 3};
  EXPECT_EQ(simulate(all_to_all(1, 1), settings).time_s, 0);
  EXPECT_EQ(network_seconds(all_to_all(1, 1), settings), 0);
}

TEST(Network, TheRequestIsAsDocumented) {
  Ledger ledger = ring(2, 1, 5, 2e12, true);
  std::get<Exchange>(ledger.ranks[0][0]).packing_bytes = 300'000'000'000;
  ReplaySettings settings{
      .platform = test_platform(), .replicas = 3, .placement = Placement::strided};
  const json platform = json::parse(R"({
    "devices_per_node": 8, "exchange_launch_s": 1e-5,
    "link": {"kind": "switch", "bytes_per_s": 1e11, "latency_s": 1e-6},
    "nic": {"per_node": 8, "bytes_per_s": 1e10, "latency_s": 5e-6},
    "fabric": {"kind": "crossbar"}})");
  EXPECT_EQ(json::parse(replay_request(ledger, settings)), json({{"version", 1},
                                                                 {"platform", platform},
                                                                 {"replicas", 3},
                                                                 {"placement", "strided"},
                                                                 {"schedule", "concurrent"},
                                                                 {"labels", {"kv"}},
                                                                 {"ranks", json::parse(R"([
      [{"exchange": 0, "sent": [[1, 5]], "received": [[1, 5]], "packing_s": 3.0,
        "overlaps_next": true}, {"compute_s": 2.0}],
      [{"exchange": 0, "sent": [[0, 5]], "received": [[0, 5]], "overlaps_next": true},
       {"compute_s": 2.0}]])")}}));
  settings.platform = load_platform("h200-fat-tree-4to1");
  settings.with_latency = false;
  const json fat = json::parse(replay_request(ledger, settings)).at("platform");
  EXPECT_EQ(fat.at("fabric"),
            json::parse(R"({"kind": "fat-tree", "nodes_per_leaf": 4, "oversubscription": 4.0})"));
  EXPECT_EQ(fat.at("exchange_launch_s"), 0);
  EXPECT_EQ(fat.at("nic").at("latency_s"), 0);
}

TEST(Network, SettingsThatCannotBeAreRefused) {
  const Ledger ledger = all_to_all(4, 1);
  const auto refuse = [&](const ReplaySettings& settings) {
    EXPECT_THROW(replay_request(ledger, settings), InputError);
  };
  refuse({.platform = test_platform(), .replicas = 0});
  refuse({.platform = test_platform(), .efficiency = 0});
  refuse({.platform = load_platform("h200-nvlink"), .replicas = 3});
  EXPECT_THROW(replay_request({}, {.platform = test_platform()}), InputError);
  EXPECT_THROW(network_seconds(ledger, {.platform = load_platform("h200-nvlink"),
                                        .replicas = 3,
                                        .placement = Placement::strided}),
               InputError);
  EXPECT_EQ(parse_placement("strided"), Placement::strided);
  EXPECT_EQ(parse_all_to_all("pairwise"), AllToAll::pairwise);
  EXPECT_THROW(parse_placement("scattered"), InputError);
  EXPECT_THROW(parse_all_to_all("bruck"), InputError);
}

TEST(Network, AProgramThatIsNoReplayerIsReported) {
  EXPECT_THROW(run_replayer("/nonexistent/ospsim-replay", "{}"), UnavailableError);
  EXPECT_THROW(run_replayer("/bin/false", std::string(10'000'000, ' ')), std::runtime_error);
  EXPECT_THROW(parse_replay(""), std::runtime_error);
  EXPECT_THROW(parse_replay("{\"version\": 2}"), std::runtime_error);
}

TEST(Network, ARequestThatIsWrongIsRefusedInOneLine) {
  SKIP_WITHOUT_REPLAYER();
  const json valid =
      json::parse(replay_request(all_to_all(2, 10), {.platform = fat_tree(2), .replicas = 2}));
  const auto refusal = [](const std::string& request) -> std::string {
    try {
      run_replayer(OSPSIM_REPLAY, request);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(valid.dump()), "accepted");
  for (const char* text : {"", "{", "3", "[]", "{}", "\xff"})
    EXPECT_THAT(refusal(text), HasSubstr("ospsim-replay: replay request: ")) << text;
  struct Case {
    const char *pointer, *value, *named;
  };
  for (const auto& [pointer, value, named] :
       std::initializer_list<Case>{{"/version", "2", "version"},
                                   {"/replicas", "0", "replicas"},
                                   {"/replicas", "1000000000", "replicas"},
                                   {"/placement", "\"random\"", "placement"},
                                   {"/schedule", "7", "schedule"},
                                   {"/labels", "[3]", "labels"},
                                   {"/labels", "[]", "exchange"},
                                   {"/ranks", "[]", "ranks"},
                                   {"/ranks/0", "3", "ranks[0]"},
                                   {"/ranks/0/0", "3", "ranks[0][0]"},
                                   {"/ranks/0/0/exchange", "-1", "exchange"},
                                   {"/ranks/0/0/sent", "[[2, 10]]", "sent"},
                                   {"/ranks/0/0/sent", "[[0, 10]]", "sent"},
                                   {"/ranks/0/0/sent", "[[1, -10]]", "sent"},
                                   {"/ranks/0/0/sent", "[[1, 1.5]]", "sent"},
                                   {"/ranks/0/0/sent", "[[1, 11]]", "rank 1 does not receive"},
                                   {"/ranks/0/0/sent", "[]", "rank 1 does not receive"},
                                   {"/ranks/0/0/received", "null", "received"},
                                   {"/ranks/0/0/packing_s", "-1", "packing_s"},
                                   {"/ranks/0/0/overlaps_next", "1", "overlaps_next"},
                                   {"/ranks/0/0", "{\"compute_s\": \"long\"}", "compute_s"},
                                   {"/platform/link/kind", "\"rope\"", "link.kind"},
                                   {"/platform/link/bytes_per_s", "0", "link.bytes_per_s"},
                                   {"/platform/nic", "null", "nic"},
                                   {"/platform/nic/per_node", "3", "nic.per_node"},
                                   {"/platform/fabric/kind", "\"none\"", "fabric"},
                                   {"/platform/fabric/nodes_per_leaf", "0", "nodes_per_leaf"},
                                   {"/platform/devices_per_node", "2.5", "devices_per_node"}}) {
    json changed = valid;
    changed[json::json_pointer(pointer)] = json::parse(value);
    EXPECT_THAT(refusal(changed.dump()), AllOf(HasSubstr(named), Not(HasSubstr("\n")))) << pointer;
  }
}

TEST(Network, RanksThatWaitForEachOtherAreReported) {
  SKIP_WITHOUT_REPLAYER();
  // Each has its own order of the same two exchanges.
  const Exchange send{.label = "x", .sent = {{1, 10}}},
      receive{.label = "x", .received = {{1, 20}}};
  Exchange sent = send, received = receive;
  sent.sent[0] = {0, 20};
  received.received[0] = {0, 10};
  Ledger ledger;
  ledger.ranks = {{send, receive}, {sent, received}};
  try {
    simulate(ledger, {.platform = test_platform()});
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("wait for each other"));
  }
}

}  // namespace
}  // namespace ospsim
