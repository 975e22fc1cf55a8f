#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ospsim {

/// A number, and where it comes from.
struct Quantity {
  /// announced: by the maker, not yet sold; shipping: a data sheet's; measured: by somebody, on
  /// that part; inferred: derived from other numbers or taken over from another part, as `source`
  /// says.
  enum class Kind { announced, shipping, measured, inferred };

  double value = 0;
  std::string unit;  ///< "flop/s", "bytes/s", "s" or "1"
  std::string source;
  Kind kind = Kind::inferred;
};
std::string_view to_string(Quantity::Kind kind);

/// Devices in equal nodes, and the network between the nodes. Bandwidths are what transfers reach,
/// not line rates.
struct Platform {
  struct Link {
    /// `network_switch`: every device has its own link into a switch that never blocks. `pcie`:
    /// every transfer, also one to or from a NIC, crosses the node's one host bridge besides the
    /// links of its devices.
    enum class Kind { network_switch, pcie };

    Kind kind = Kind::network_switch;
    Quantity bandwidth;                   ///< of one device in one direction
    Quantity latency;                     ///< device to device
    std::optional<Quantity> host_bridge;  ///< pcie only: all that crosses it in both directions
  };
  struct Nic {
    Quantity per_node;   ///< shared evenly by the devices of the node
    Quantity bandwidth;  ///< of one NIC in one direction
    Quantity latency;    ///< device to device, between nodes
  };
  struct Fabric {
    /// `none`: one node only. `crossbar`: NICs meet in a core that never blocks. `fat_tree`: the
    /// NICs of `nodes_per_leaf` nodes meet in a leaf switch, whose uplinks carry, in each
    /// direction, what its NICs carry divided by `oversubscription`.
    enum class Kind { none, crossbar, fat_tree };

    Kind kind = Kind::none;
    std::optional<Quantity> nodes_per_leaf, oversubscription;  ///< fat tree only
  };

  std::string name, title;
  Quantity matrix_flops_per_s;  ///< sustained by one device on bf16 matrix work
  Quantity memory_bandwidth;    ///< of one device
  Quantity exchange_launch;     ///< what starting one exchange costs before anything moves
  Quantity devices_per_node;
  Link link;
  std::optional<Nic> nic;  ///< absent exactly when the fabric is `none`
  Fabric fabric;

  int node_devices() const { return static_cast<int>(devices_per_node.value); }
  int node_nics() const { return nic ? static_cast<int>(nic->per_node.value) : 0; }
};

/// Every number of a platform under its field's path ("link.bandwidth").
std::vector<std::pair<std::string, Quantity>> quantities(const Platform& platform);

std::vector<std::string> platform_names();

/// A platform of `platform_names()`, else the platform described in a JSON file (the form is that
/// of one entry of sim/hardware/platforms.json; `like` names a preset whose fields it takes over
/// where it has none). Throws InputError with one line that names the
/// file and the field.
Platform load_platform(const std::string& name_or_path);

/// Reads one platform. `what` names the text in messages. Throws InputError.
Platform parse_platform(std::string_view json, const std::string& what);

}  // namespace ospsim
