#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/hardware/platform.hpp"
#include "sim/parallel/ledger.hpp"

namespace ospsim {

/// How a ledger is laid over a platform, and what is counted.
struct ReplaySettings {
  /// Which device is rank r (of R) of replica g (of G): g * R + r when `packed`, so that a group
  /// lies in as few nodes as possible; r * G + g when `strided`, so that it lies in as many.
  enum class Placement { packed, strided };
  /// Whether an exchange with several peers sends all its parts at once or, `pairwise`, in rounds
  /// of one part out and one part in.
  enum class AllToAll { concurrent, pairwise };

  Platform platform;
  int replicas = 1;  ///< groups that work side by side, each with the ledger's ranks
  Placement placement = Placement::packed;
  AllToAll all_to_all = AllToAll::concurrent;
  /// Computations take the larger of flops / (efficiency x the platform's sustained FLOP/s) and
  /// bytes / memory bandwidth; else no time.
  bool with_computation = true;
  double efficiency = 1;
  /// Packing moves its bytes at memory bandwidth, half before and half after its exchange; else it
  /// takes no time.
  bool with_packing = true;
  /// Latencies and the cost of starting an exchange; else none.
  bool with_latency = true;
};

/// "packed" or "strided"; "concurrent" or "pairwise". Throw InputError.
ReplaySettings::Placement parse_placement(std::string_view text);
ReplaySettings::AllToAll parse_all_to_all(std::string_view text);
std::string_view to_string(ReplaySettings::Placement placement);

/// Mean and maximum over all devices.
struct Seconds {
  double mean_s = 0, max_s = 0;
};

struct ReplayResult {
  struct Label {
    std::string label;
    /// From entering an exchange to having sent and received all of it, waiting for peers included,
    /// packing not; summed over the exchanges of the label.
    Seconds time;
  };
  double time_s = 0;  ///< until the last device is done
  std::vector<Label>
      exchanges;  ///< in the order in which rank 0 first meets them, then rank 1, ...
  Seconds computation, packing;
  Seconds exposed;  ///< what exchanges add to a device's time; the rest hides behind computations
  std::int64_t devices = 0, nodes = 0, flows = 0,
               bytes = 0;  ///< `bytes` and `flows` over all devices
};

/// The request that `ospsim-replay` reads, one JSON document:
///
///   {"version": 1,
///    "platform": {"devices_per_node": 8, "exchange_launch_s": 5.8e-05,
///                 "link": {"kind": "switch" | "pcie", "bytes_per_s": B, "latency_s": L,
///                          "host_bridge_bytes_per_s": B (pcie)},
///                 "nic": null | {"per_node": N, "bytes_per_s": B, "latency_s": L},
///                 "fabric": {"kind": "none" | "crossbar" | "fat-tree",
///                            "nodes_per_leaf": N, "oversubscription": X (fat-tree)}},
///    "replicas": G, "placement": "packed" | "strided", "schedule": "concurrent" | "pairwise",
///    "labels": ["q", ...],
///    "ranks": [[EVENT, ...], ...]}     the ranks of one replica
///
///   EVENT: {"compute_s": S}
///        | {"exchange": index of its label, "sent": [[peer, bytes], ...], "received": likewise,
///           "packing_s": S, "overlaps_next": true | false}
///
/// and its answer:
///
///   {"version": 1, "time_s": S, "exchanges": [{"label": "q", "mean_s": S, "max_s": S}, ...],
///    "computation": {"mean_s": S, "max_s": S}, "packing": likewise, "exposed": likewise,
///    "devices": N, "nodes": N, "flows": N, "bytes": N}
///
/// What is replayed: a rank works through its trace. An exchange starts with `exchange_launch_s`,
/// then (each round of it, when pairwise) waits for the longest latency among its parts; a part
/// then flows once both of its ends are there, sharing links max-min fairly with whatever else
/// flows, and the exchange ends with its last part. Exchanges that overlap run one after the other
/// beside the next computation; what follows it waits for both. Without a computation to hide
/// behind they run alone.
///
/// Throws InputError for settings that cannot be (no replica, efficiency not above 0, more devices
/// than a platform without network has).
std::string replay_request(const Ledger& ledger, const ReplaySettings& settings);

/// Reads the answer. Throws std::runtime_error when it is none.
ReplayResult parse_replay(std::string_view answer);

/// Runs `program`, which is ospsim-replay, on a request. Throws UnavailableError where it cannot be
/// started, std::runtime_error with what it says where it refuses or dies.
std::string run_replayer(const std::string& program, std::string_view request);

}  // namespace ospsim
