#include "sim/network/replayer/network.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace ospsim::replayer {
namespace {

namespace s4u = simgrid::s4u;
using Route = std::vector<s4u::LinkInRoute>;

const s4u::Link* add_link(s4u::NetZone* zone, const std::string& name, double bytes_per_s) {
  return zone->create_link(name, bytes_per_s)->set_latency(0)->seal();
}

/// A zone, and its router through which everything from outside comes.
struct Door {
  s4u::NetZone* zone;
  simgrid::kernel::routing::NetPoint* router;
};

/// Connects a zone to the centre of the star it lies in.
void attach(s4u::NetZone* star, const Door& inner, const Route& up, const Route& down) {
  auto* const point = inner.zone->get_netpoint();
  star->add_route(point, nullptr, inner.router, nullptr, up, false);
  star->add_route(nullptr, point, nullptr, inner.router, down, false);
}

}  // namespace

Network::Network(const Cluster& cluster, int devices)
    : cluster_(cluster),
      nodes_((devices + cluster.devices_per_node - 1) / cluster.devices_per_node) {
  const bool has_leaves = cluster.fabric == Cluster::Fabric::fat_tree;
  const int nodes_per_leaf = has_leaves ? cluster.nodes_per_leaf : nodes_;
  const double uplink_bytes_per_s = cluster.nodes_per_leaf * cluster.nics_per_node *
                                    cluster.nic_bytes_per_s / cluster.oversubscription;
  s4u::NetZone* const spine = s4u::create_star_zone("spine");
  for (int node = 0, leaf_number = 0; node < nodes_; ++leaf_number) {
    const std::string name = fmt::format("leaf {}", leaf_number);
    s4u::NetZone* const leaf = s4u::create_star_zone(name);
    leaf->set_parent(spine);
    // The way out is a zone like the nodes: SimGrid finds no route from a node's inside to a router
    // that lies directly in the leaf.
    Door out{s4u::create_full_zone(name + " uplink"), nullptr};
    out.zone->set_parent(leaf);
    out.router = out.zone->create_router(name + " router");
    out.zone->seal();
    attach(leaf, out, {}, {});
    for (int port = 0; port < nodes_per_leaf && node < nodes_; ++port, ++node) {
      const int first_device = node * cluster.devices_per_node;
      add_node(leaf, node, std::min(devices - first_device, cluster.devices_per_node));
    }
    leaf->seal();
    Route up, down;
    if (has_leaves) {
      up.emplace_back(add_link(spine, name + " up", uplink_bytes_per_s));
      down.emplace_back(add_link(spine, name + " down", uplink_bytes_per_s));
    }
    attach(spine, {leaf, out.router}, up, down);
  }
  spine->seal();
}

void Network::add_node(s4u::NetZone* leaf, int node, int devices) {
  const std::string name = fmt::format("node {}", node);
  s4u::NetZone* const zone = s4u::create_full_zone(name);
  zone->set_parent(leaf);
  auto* const router = zone->create_router(name + " router");
  const bool pcie = cluster_.link == Cluster::Link::pcie;
  Route bridge, nics_up, nics_down, links_up, links_down;
  if (pcie) bridge.emplace_back(add_link(zone, name + " bridge", cluster_.host_bridge_bytes_per_s));
  for (int nic = 0; nic < cluster_.nics_per_node; ++nic) {
    const std::string port = fmt::format("{} nic {}", name, nic);
    nics_up.emplace_back(add_link(zone, port + " up", cluster_.nic_bytes_per_s));
    nics_down.emplace_back(add_link(zone, port + " down", cluster_.nic_bytes_per_s));
  }
  std::vector<s4u::Host*> hosts;
  for (int device = 0; device < devices; ++device) {
    const std::string port = fmt::format("{} device {}", name, device);
    hosts.push_back(zone->create_host(port, 1.0)->seal());
    links_up.emplace_back(add_link(zone, port + " up", cluster_.link_bytes_per_s));
    links_down.emplace_back(add_link(zone, port + " down", cluster_.link_bytes_per_s));
  }
  const auto join = [](const auto&... parts) {
    Route route;
    (route.insert(route.end(), parts.begin(), parts.end()), ...);
    return route;
  };
  const auto one = [](const Route& links, std::size_t index) { return Route{links[index]}; };
  for (std::size_t from = 0; from < hosts.size(); ++from) {
    auto* const point = hosts[from]->get_netpoint();
    for (std::size_t to = 0; to < hosts.size(); ++to)
      if (from != to)
        zone->add_route(point, hosts[to]->get_netpoint(), nullptr, nullptr,
                        join(one(links_up, from), bridge, one(links_down, to)), false);
    if (cluster_.nics_per_node == 0) continue;
    const std::size_t nic =
        from * nics_up.size() / static_cast<std::size_t>(cluster_.devices_per_node);
    // Between a switched node's device and its NIC lies a PCIe lane of the device's own, faster
    // than either; in a PCIe node the traffic takes the device's link and the host bridge.
    const Route own_up = pcie ? join(one(links_up, from), bridge) : Route{};
    const Route own_down = pcie ? join(bridge, one(links_down, from)) : Route{};
    zone->add_route(point, router, nullptr, nullptr, join(own_up, one(nics_up, nic)), false);
    zone->add_route(router, point, nullptr, nullptr, join(one(nics_down, nic), own_down), false);
  }
  zone->seal();
  attach(leaf, {zone, router}, {}, {});
  hosts_.insert(hosts_.end(), hosts.begin(), hosts.end());
}

}  // namespace ospsim::replayer
