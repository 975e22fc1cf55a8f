#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

namespace ospsim::replayer {

/// What the links of a cluster carry; see `Platform` for what each number means.
struct Cluster {
  enum class Link { network_switch, pcie };
  enum class Fabric { none, crossbar, fat_tree };

  int devices_per_node = 1;
  Link link = Link::network_switch;
  double link_bytes_per_s = 0, link_latency_s = 0;
  double host_bridge_bytes_per_s = 0;  ///< pcie only
  int nics_per_node = 0;               ///< 0: a node is alone
  double nic_bytes_per_s = 0, nic_latency_s = 0;
  Fabric fabric = Fabric::none;
  int nodes_per_leaf = 1;  ///< fat tree only, like the next
  double oversubscription = 1;
  double exchange_launch_s = 0;
};

struct Part {
  int peer = 0;
  std::uint64_t bytes = 0;
};

/// A computation (`label` below 0) or an exchange.
struct Event {
  int label = -1;
  double compute_s = 0;
  double packing_s = 0;
  bool overlaps_next = false;
  std::vector<Part> sent, received;
  bool is_exchange() const { return label >= 0; }
};
using Trace = std::vector<Event>;

struct Request {
  Cluster cluster;
  int replicas = 1;
  bool strided = false, pairwise = false;
  std::vector<std::string> labels;
  std::vector<Trace> ranks;

  int ranks_per_replica() const { return static_cast<int>(ranks.size()); }
  int devices() const { return ranks_per_replica() * replicas; }
  int device_of(int replica, int rank) const {
    return strided ? rank * replicas + replica : replica * ranks_per_replica() + rank;
  }
};

/// Reads the document described in sim/network/replay.hpp. Throws std::runtime_error with one line
/// that names the field, for a cluster too small for its devices, and where two ranks disagree on
/// what passes between them.
Request read_request(std::istream& input);

}  // namespace ospsim::replayer
