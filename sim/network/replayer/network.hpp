#pragma once

#include <simgrid/s4u.hpp>
#include <vector>

#include "sim/network/replayer/request.hpp"

namespace ospsim::replayer {

/// The cluster as SimGrid knows it. Links have no latency of their own: a flow starts once its ends
/// have waited for `latency_s`. (A SimGrid link with latency shares its bandwidth in proportion to
/// round-trip times, as TCP does and these networks do not.)
class Network {
 public:
  /// As many nodes as `devices` need; device numbers run through the nodes in order.
  Network(const Cluster& cluster, int devices);

  simgrid::s4u::Host* host(int device) const { return hosts_[static_cast<std::size_t>(device)]; }
  double latency_s(int device, int other) const {
    return node_of(device) == node_of(other) ? cluster_.link_latency_s : cluster_.nic_latency_s;
  }
  int nodes() const { return nodes_; }

 private:
  int node_of(int device) const { return device / cluster_.devices_per_node; }
  void add_node(simgrid::s4u::NetZone* leaf, int node, int devices);

  Cluster cluster_;
  int nodes_ = 0;
  std::vector<simgrid::s4u::Host*> hosts_;
};

}  // namespace ospsim::replayer
