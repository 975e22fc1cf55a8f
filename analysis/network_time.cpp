#include "analysis/network_time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <variant>
#include <vector>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

/// Bytes that one device moves at a time.
struct Load {
  double near_out = 0, near_in = 0;  ///< from and to devices of its node
  double far_out = 0, far_in = 0;    ///< from and to other nodes
};

/// The surroundings of one device.
class Place {
 public:
  Place(int rank, int ranks, int replica, const ReplaySettings& settings)
      : settings_(settings), ranks_(ranks), replica_(replica), device_(device_of(rank)) {
    const int per_node = platform().node_devices();
    const int in_use = ranks * settings.replicas;
    if (!platform().nic && in_use > per_node)
      throw InputError(fmt::format("platform '{}' is one node of {} devices; {} are needed",
                                   platform().name, per_node, in_use));
    node_devices_ = std::min(per_node, in_use - device_ / per_node * per_node);
    for (int local = 0; local < node_devices_; ++local)
      if (nic_of(local) == nic_of(device_ % per_node)) ++nic_devices_;
  }

  bool is_near(int rank) const {
    const int per_node = platform().node_devices();
    return device_of(rank) / per_node == device_ / per_node;
  }

  double seconds(const Load& load) const {
    const Platform::Link& link = platform().link;
    const double link_rate = link.bandwidth.value;
    const bool far = load.far_out > 0 || load.far_in > 0;
    double result = std::max(load.near_out, load.near_in) / link_rate;
    if (far) {
      const double nic_share = platform().nic->bandwidth.value / nic_devices_;
      result = std::max({result, load.far_out / nic_share, load.far_in / nic_share});
    }
    if (link.host_bridge) {
      const double bridge_share = link.host_bridge->value / node_devices_;
      const double crossing = (load.near_out + load.near_in) / 2 + load.far_out + load.far_in;
      result = std::max({result, (load.near_out + load.far_out) / link_rate,
                         (load.near_in + load.far_in) / link_rate, crossing / bridge_share});
    }
    return result;
  }

 private:
  const Platform& platform() const { return settings_.platform; }
  int device_of(int rank) const {
    return settings_.placement == ReplaySettings::Placement::packed
               ? replica_ * ranks_ + rank
               : rank * settings_.replicas + replica_;
  }
  int nic_of(int local) const { return local * platform().node_nics() / platform().node_devices(); }

  const ReplaySettings& settings_;
  int ranks_, replica_, device_;
  int node_devices_ = 0, nic_devices_ = 0;  ///< in use
};

/// The parts to `to` and from `from`; all of them when these are below 0.
double parts_seconds(const Exchange& exchange, int to, int from, const Place& place,
                     const ReplaySettings& settings) {
  Load load;
  bool near = false, far = false;
  const auto add = [&](const Exchange::Part& part, double& near_bytes, double& far_bytes) {
    const bool is_near = place.is_near(part.peer);
    (is_near ? near : far) = true;
    (is_near ? near_bytes : far_bytes) += static_cast<double>(part.bytes);
  };
  for (const Exchange::Part& part : exchange.sent)
    if (to < 0 || part.peer == to) add(part, load.near_out, load.far_out);
  for (const Exchange::Part& part : exchange.received)
    if (from < 0 || part.peer == from) add(part, load.near_in, load.far_in);
  double latency = 0;
  if (settings.with_latency && near) latency = settings.platform.link.latency.value;
  if (settings.with_latency && far)
    latency = std::max(latency, settings.platform.nic->latency.value);
  return latency + place.seconds(load);
}

double rounds_seconds(const Exchange& exchange, int rank, const Place& place,
                      const ReplaySettings& settings) {
  std::set<int> members{rank};
  for (const auto* const parts : {&exchange.sent, &exchange.received})
    for (const Exchange::Part& part : *parts) members.insert(part.peer);
  const std::vector<int> group(members.begin(), members.end());
  const auto size = group.size();
  const auto own = static_cast<std::size_t>(std::distance(members.begin(), members.find(rank)));
  double sum = 0;
  for (std::size_t round = 1; round < size; ++round)
    sum += parts_seconds(exchange, group[(own + round) % size], group[(own + size - round) % size],
                         place, settings);
  return sum;
}

double work_seconds(const Computation& computation, const ReplaySettings& settings) {
  if (!settings.with_computation) return 0;
  const double sustained = settings.platform.matrix_flops_per_s.value * settings.efficiency;
  return std::max(computation.flops / sustained,
                  computation.bytes / settings.platform.memory_bandwidth.value);
}

double trace_seconds(const Trace& trace, int rank, int ranks, int replica,
                     const ReplaySettings& settings) {
  double sum = 0, beside = 0;  // `beside`: exchanges that wait for a computation to hide behind
  for (const Event& event : trace) {
    if (const auto* work = std::get_if<Computation>(&event)) {
      sum += std::max(work_seconds(*work, settings), beside);
      beside = 0;
      continue;
    }
    const auto& exchange = std::get<Exchange>(event);
    if (settings.with_packing)
      sum += static_cast<double>(exchange.packing_bytes) / settings.platform.memory_bandwidth.value;
    beside += exchange_seconds(exchange, rank, ranks, replica, settings);
    if (!exchange.overlaps_next) {
      sum += beside;
      beside = 0;
    }
  }
  return sum + beside;
}

}  // namespace

double exchange_seconds(const Exchange& exchange, int rank, int ranks, int replica,
                        const ReplaySettings& settings) {
  if (exchange.sent.empty() && exchange.received.empty()) return 0;
  const Place place(rank, ranks, replica, settings);
  const double launch = settings.with_latency ? settings.platform.exchange_launch.value : 0;
  return launch + (settings.all_to_all == ReplaySettings::AllToAll::pairwise
                       ? rounds_seconds(exchange, rank, place, settings)
                       : parts_seconds(exchange, -1, -1, place, settings));
}

double network_seconds(const Ledger& ledger, const ReplaySettings& settings) {
  const int ranks = static_cast<int>(ledger.ranks.size());
  double slowest = 0;
  for (int replica = 0; replica < settings.replicas; ++replica)
    for (int rank = 0; rank < ranks; ++rank)
      slowest = std::max(slowest, trace_seconds(ledger.ranks[static_cast<std::size_t>(rank)], rank,
                                                ranks, replica, settings));
  return slowest;
}

}  // namespace ospsim
