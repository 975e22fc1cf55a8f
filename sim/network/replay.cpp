#include "sim/network/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <variant>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/names.hpp"

namespace ospsim {
namespace {

using nlohmann::json;

constexpr int format_version = 1;

constexpr Named<ReplaySettings::Placement> placement_names[]{
    {"packed", ReplaySettings::Placement::packed}, {"strided", ReplaySettings::Placement::strided}};
constexpr Named<ReplaySettings::AllToAll> schedule_names[]{
    {"concurrent", ReplaySettings::AllToAll::concurrent},
    {"pairwise", ReplaySettings::AllToAll::pairwise}};

json platform_json(const Platform& platform, bool with_latency) {
  const auto latency = [with_latency](const Quantity& quantity) {
    return with_latency ? quantity.value : 0.0;
  };
  const Platform::Link& link = platform.link;
  const bool pcie = link.kind == Platform::Link::Kind::pcie;
  json result{{"devices_per_node", platform.node_devices()},
              {"exchange_launch_s", latency(platform.exchange_launch)},
              {"link",
               {{"kind", pcie ? "pcie" : "switch"},
                {"bytes_per_s", link.bandwidth.value},
                {"latency_s", latency(link.latency)}}},
              {"nic", nullptr},
              {"fabric", {{"kind", "none"}}}};
  if (link.host_bridge) result["link"]["host_bridge_bytes_per_s"] = link.host_bridge->value;
  if (platform.nic)
    result["nic"] = {{"per_node", platform.node_nics()},
                     {"bytes_per_s", platform.nic->bandwidth.value},
                     {"latency_s", latency(platform.nic->latency)}};
  const Platform::Fabric& fabric = platform.fabric;
  if (fabric.kind == Platform::Fabric::Kind::crossbar) result["fabric"]["kind"] = "crossbar";
  if (fabric.kind == Platform::Fabric::Kind::fat_tree)
    result["fabric"] = {{"kind", "fat-tree"},
                        {"nodes_per_leaf", std::llround(fabric.nodes_per_leaf.value().value)},
                        {"oversubscription", fabric.oversubscription.value().value}};
  return result;
}

double computation_seconds(const Computation& computation, const ReplaySettings& settings) {
  if (!settings.with_computation) return 0;
  const Platform& platform = settings.platform;
  return std::max(computation.flops / (settings.efficiency * platform.matrix_flops_per_s.value),
                  computation.bytes / platform.memory_bandwidth.value);
}

json parts_json(const std::vector<Exchange::Part>& parts) {
  json result = json::array();
  for (const Exchange::Part& part : parts) result.push_back({part.peer, part.bytes});
  return result;
}

class Labels {
 public:
  std::size_t index(const std::string& label) {
    const auto found = std::find(all_.begin(), all_.end(), label);
    if (found != all_.end()) return static_cast<std::size_t>(found - all_.begin());
    all_.push_back(label);
    return all_.size() - 1;
  }
  const std::vector<std::string>& all() const { return all_; }

 private:
  std::vector<std::string> all_;
};

json event_json(const Event& event, const ReplaySettings& settings, Labels& labels) {
  if (const auto* computation = std::get_if<Computation>(&event))
    return {{"compute_s", computation_seconds(*computation, settings)}};
  const Exchange& exchange = std::get<Exchange>(event);
  json result{{"exchange", labels.index(exchange.label)},
              {"sent", parts_json(exchange.sent)},
              {"received", parts_json(exchange.received)}};
  if (settings.with_packing && exchange.packing_bytes > 0)
    result["packing_s"] =
        static_cast<double>(exchange.packing_bytes) / settings.platform.memory_bandwidth.value;
  if (exchange.overlaps_next) result["overlaps_next"] = true;
  return result;
}

void check(const Ledger& ledger, const ReplaySettings& settings) {
  if (ledger.ranks.empty()) throw InputError("a ledger without ranks cannot be replayed");
  if (settings.replicas < 1)
    throw InputError(fmt::format("replicas is {}; at least 1 is needed", settings.replicas));
  if (!(settings.efficiency > 0) || !std::isfinite(settings.efficiency))
    throw InputError(fmt::format("efficiency is {}; it must be above 0", settings.efficiency));
  const auto devices =
      static_cast<std::int64_t>(ledger.ranks.size()) * static_cast<std::int64_t>(settings.replicas);
  const Platform& platform = settings.platform;
  if (platform.fabric.kind == Platform::Fabric::Kind::none && devices > platform.node_devices())
    throw InputError(fmt::format(
        "platform '{}' is one node of {} devices; {} ranks in {} replicas "
        "need {}",
        platform.name, platform.node_devices(), ledger.ranks.size(), settings.replicas, devices));
}

Seconds read_seconds(const json& value) {
  return {value.at("mean_s").get<double>(), value.at("max_s").get<double>()};
}

}  // namespace

ReplaySettings::Placement parse_placement(std::string_view text) {
  return parse_name(placement_names, "placement", text);
}
std::string_view to_string(ReplaySettings::Placement placement) {
  return name_of(placement_names, placement);
}

ReplaySettings::AllToAll parse_all_to_all(std::string_view text) {
  return parse_name(schedule_names, "all-to-all schedule", text);
}

std::string replay_request(const Ledger& ledger, const ReplaySettings& settings) {
  check(ledger, settings);
  Labels labels;
  json ranks = json::array();
  for (const Trace& trace : ledger.ranks) {
    json events = json::array();
    for (const Event& event : trace) events.push_back(event_json(event, settings, labels));
    ranks.push_back(std::move(events));
  }
  const json request{{"version", format_version},
                     {"platform", platform_json(settings.platform, settings.with_latency)},
                     {"replicas", settings.replicas},
                     {"placement", to_string(settings.placement)},
                     {"schedule", name_of(schedule_names, settings.all_to_all)},
                     {"labels", labels.all()},
                     {"ranks", std::move(ranks)}};
  return request.dump(-1, ' ', true, json::error_handler_t::replace);
}

ReplayResult parse_replay(std::string_view answer) {
  try {
    const json document = json::parse(answer);
    if (document.at("version") != format_version) throw std::runtime_error("another version");
    ReplayResult result;
    result.time_s = document.at("time_s").get<double>();
    for (const json& exchange : document.at("exchanges"))
      result.exchanges.push_back({exchange.at("label").get<std::string>(), read_seconds(exchange)});
    result.computation = read_seconds(document.at("computation"));
    result.packing = read_seconds(document.at("packing"));
    result.exposed = read_seconds(document.at("exposed"));
    result.devices = document.at("devices").get<std::int64_t>();
    result.nodes = document.at("nodes").get<std::int64_t>();
    result.flows = document.at("flows").get<std::int64_t>();
    result.bytes = document.at("bytes").get<std::int64_t>();
    return result;
  } catch (const std::exception& error) {
    throw std::runtime_error(
        fmt::format("what ospsim-replay answered cannot be read: {}", error.what()));
  }
}

}  // namespace ospsim
