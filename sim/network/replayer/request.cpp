#include "sim/network/replayer/request.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

namespace ospsim::replayer {
namespace {

using nlohmann::json;

constexpr int request_version = 1;
constexpr int max_devices = 1 << 20;

template <typename... Arguments>
[[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw std::runtime_error("replay request: " +
                           fmt::format(format, std::forward<Arguments>(arguments)...));
}

/// One JSON object, and how to call it in a message.
class Object {
 public:
  Object(const json& value, std::string where) : value_(value), where_(std::move(where)) {
    if (!value_.is_object()) refuse("{} is not an object", where_);
  }

  bool has(const char* key) const { return value_.contains(key) && !value_[key].is_null(); }
  const json& at(const char* key) const {
    if (!value_.contains(key)) refuse("{} has no '{}'", where_, key);
    return value_[key];
  }
  Object object(const char* key) const { return {at(key), name(key)}; }
  const json& array(const char* key) const {
    const json& field = at(key);
    if (!field.is_array()) refuse("{} is not an array", name(key));
    return field;
  }
  double number(const char* key, bool zero_is_fine) const {
    const json& field = at(key);
    const double value = field.is_number() ? field.get<double>() : std::nan("");
    if (!std::isfinite(value) || value < 0 || (value == 0 && !zero_is_fine))
      refuse("{} is not a {} number", name(key), zero_is_fine ? "non-negative" : "positive");
    return value;
  }
  int count(const char* key, int least, int most) const {
    const json& field = at(key);
    if (!field.is_number_integer() || field < least || field > most)
      refuse("{} is not an integer in {}..{}", name(key), least, most);
    return field.get<int>();
  }
  template <typename Choice>
  Choice one_of(const char* key, const std::map<std::string, Choice>& choices) const {
    const json& field = at(key);
    const auto found = field.is_string() ? choices.find(field.get<std::string>()) : choices.end();
    if (found == choices.end()) refuse("{} is not a choice that is known", name(key));
    return found->second;
  }
  std::string name(const char* key) const { return fmt::format("{}.{}", where_, key); }

 private:
  const json& value_;
  std::string where_;
};

Cluster read_cluster(const Object& platform) {
  Cluster cluster;
  cluster.devices_per_node = platform.count("devices_per_node", 1, max_devices);
  cluster.exchange_launch_s = platform.number("exchange_launch_s", true);
  const Object link = platform.object("link");
  cluster.link = link.one_of<Cluster::Link>(
      "kind", {{"switch", Cluster::Link::network_switch}, {"pcie", Cluster::Link::pcie}});
  cluster.link_bytes_per_s = link.number("bytes_per_s", false);
  cluster.link_latency_s = link.number("latency_s", true);
  if (cluster.link == Cluster::Link::pcie)
    cluster.host_bridge_bytes_per_s = link.number("host_bridge_bytes_per_s", false);
  if (platform.has("nic")) {
    const Object nic = platform.object("nic");
    cluster.nics_per_node = nic.count("per_node", 1, cluster.devices_per_node);
    cluster.nic_bytes_per_s = nic.number("bytes_per_s", false);
    cluster.nic_latency_s = nic.number("latency_s", true);
  }
  const Object fabric = platform.object("fabric");
  cluster.fabric =
      fabric.one_of<Cluster::Fabric>("kind", {{"none", Cluster::Fabric::none},
                                              {"crossbar", Cluster::Fabric::crossbar},
                                              {"fat-tree", Cluster::Fabric::fat_tree}});
  if ((cluster.fabric == Cluster::Fabric::none) != (cluster.nics_per_node == 0))
    refuse("platform.nic and platform.fabric go together");
  if (cluster.fabric == Cluster::Fabric::fat_tree) {
    cluster.nodes_per_leaf = fabric.count("nodes_per_leaf", 1, max_devices);
    cluster.oversubscription = fabric.number("oversubscription", false);
  }
  return cluster;
}

std::vector<Part> read_parts(const json& parts, const std::string& where, int rank, int ranks) {
  std::vector<Part> result;
  result.reserve(parts.size());
  for (const json& part : parts) {
    if (!part.is_array() || part.size() != 2 || !part[0].is_number_integer() ||
        !part[1].is_number_unsigned())
      refuse("{} holds something other than [peer, bytes]", where);
    if (part[0] < 0 || part[0] >= ranks || part[0] == rank)
      refuse("{} names peer {}, which is not another rank below {}", where, part[0].dump(), ranks);
    result.push_back({part[0].get<int>(), part[1].get<std::uint64_t>()});
  }
  return result;
}

Event read_event(const json& value, int rank, int ranks, int labels, std::size_t index) {
  const Object event(value, fmt::format("ranks[{}][{}]", rank, index));
  Event result;
  if (event.has("compute_s")) {
    result.compute_s = event.number("compute_s", true);
    return result;
  }
  result.label = event.count("exchange", 0, labels - 1);
  result.sent = read_parts(event.array("sent"), event.name("sent"), rank, ranks);
  result.received = read_parts(event.array("received"), event.name("received"), rank, ranks);
  if (event.has("packing_s")) result.packing_s = event.number("packing_s", true);
  if (event.has("overlaps_next")) {
    const json& overlaps = event.at("overlaps_next");
    if (!overlaps.is_boolean()) refuse("{} is not true or false", event.name("overlaps_next"));
    result.overlaps_next = overlaps.get<bool>();
  }
  return result;
}

/// A part that nobody receives would leave its sender waiting for ever.
void require_matching(const std::vector<Trace>& ranks) {
  std::map<std::pair<int, int>, std::vector<std::uint64_t>> sent, received;
  for (int rank = 0; const Trace& trace : ranks) {
    for (const Event& event : trace) {
      for (const Part& part : event.sent) sent[{rank, part.peer}].push_back(part.bytes);
      for (const Part& part : event.received) received[{part.peer, rank}].push_back(part.bytes);
    }
    ++rank;
  }
  const auto require = [](const auto& some, const auto& others) {
    for (const auto& [pair, bytes] : some) {
      const auto other = others.find(pair);
      if (other == others.end() || other->second != bytes)
        refuse("rank {} does not receive what rank {} sends to it", pair.second, pair.first);
    }
  };
  require(sent, received);
  require(received, sent);
}

void require_room(const Request& request) {
  const Cluster& cluster = request.cluster;
  if (cluster.fabric == Cluster::Fabric::none && request.devices() > cluster.devices_per_node)
    refuse("{} devices do not fit in one node of {}, and the platform has no network",
           request.devices(), cluster.devices_per_node);
}

}  // namespace

Request read_request(std::istream& input) {
  const json document = json::parse(input, nullptr, false);
  if (document.is_discarded()) refuse("it is not JSON");
  const Object root(document, "the document");
  root.count("version", request_version, request_version);

  Request request;
  request.cluster = read_cluster(root.object("platform"));
  request.strided = root.one_of<bool>("placement", {{"packed", false}, {"strided", true}});
  request.pairwise = root.one_of<bool>("schedule", {{"concurrent", false}, {"pairwise", true}});
  for (const json& label : root.array("labels")) {
    if (!label.is_string()) refuse("labels holds something other than a string");
    request.labels.push_back(label.get<std::string>());
  }
  const json& ranks = root.array("ranks");
  if (ranks.empty() || ranks.size() > max_devices)
    refuse("the number of ranks is not in 1..{}", max_devices);
  const int count = static_cast<int>(ranks.size());
  request.replicas = root.count("replicas", 1, max_devices / count);
  for (int rank = 0; const json& trace : ranks) {
    if (!trace.is_array()) refuse("ranks[{}] is not an array", rank);
    Trace& events = request.ranks.emplace_back();
    for (std::size_t index = 0; index < trace.size(); ++index)
      events.push_back(
          read_event(trace[index], rank, count, static_cast<int>(request.labels.size()), index));
    ++rank;
  }
  require_room(request);
  require_matching(request.ranks);
  return request;
}

}  // namespace ospsim::replayer
