#pragma once

#include "sim/network/replay.hpp"
#include "sim/parallel/ledger.hpp"

namespace ospsim {

/// How long a schedule of exchanges takes by the alpha-beta model, each device on its own: what
/// sim/network simulates, from formulas.
///
/// One exchange of one device takes
///
///   exchange_launch + latency of its farthest peer + the largest of
///     bytes out, bytes in (inside the node)              / bandwidth of its link
///     bytes out, bytes in (to other nodes)               / its share of its NIC's bandwidth
///     pcie: bytes out, bytes in (all)                    / bandwidth of its link
///     pcie: (bytes to + from the node's others) / 2 + bytes to + from other nodes
///                                                        / its share of the host bridge
///
/// where a share is what is left for one device when all devices in use behind the NIC or the
/// bridge do what this one does. In rounds (pairwise) everything after exchange_launch is paid per
/// round, for the round's parts. A trace takes the sum over its events: computations and packing as
/// in `ReplaySettings`, exchanges that overlap with the next computation the longer of the two. A
/// ledger takes as long as the slowest device of all replicas.
///
/// Included: every device's own resources, and the placement. Left out: contention in the fabric
/// (the uplinks of a fat tree are taken to be wide enough), devices that share a resource and do
/// different things at different times, and waiting for a peer that comes late to an exchange.
/// Where these do not occur simulation and formula agree. Contention and waiting make a simulation
/// longer; sharing may make it shorter, and by much: of a ring over nodes with one NIC only one
/// device a node sends to another, and has the whole NIC, of which the formula gives it a share.
///
/// Seconds; throws InputError for more devices than a platform without network has.
double exchange_seconds(const Exchange& exchange, int rank, int ranks, int replica,
                        const ReplaySettings& settings);
double network_seconds(const Ledger& ledger, const ReplaySettings& settings);

}  // namespace ospsim
