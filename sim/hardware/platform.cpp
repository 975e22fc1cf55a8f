#include "sim/hardware/platform.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <nlohmann/json.hpp>

#include "kernels_ref/errors.hpp"
#include "platforms_json.hpp"

namespace ospsim {
namespace {

using nlohmann::json;

constexpr double max_count = 1 << 20;

template <typename Choice>
struct Named {
  std::string_view name;
  Choice value;
};
constexpr std::array quantity_kinds{Named<Quantity::Kind>{"announced", Quantity::Kind::announced},
                                    Named<Quantity::Kind>{"shipping", Quantity::Kind::shipping},
                                    Named<Quantity::Kind>{"measured", Quantity::Kind::measured},
                                    Named<Quantity::Kind>{"inferred", Quantity::Kind::inferred}};
constexpr std::array link_kinds{
    Named<Platform::Link::Kind>{"switch", Platform::Link::Kind::network_switch},
    Named<Platform::Link::Kind>{"pcie", Platform::Link::Kind::pcie}};
constexpr std::array fabric_kinds{
    Named<Platform::Fabric::Kind>{"none", Platform::Fabric::Kind::none},
    Named<Platform::Fabric::Kind>{"crossbar", Platform::Fabric::Kind::crossbar},
    Named<Platform::Fabric::Kind>{"fat-tree", Platform::Fabric::Kind::fat_tree}};

/// What a number may be.
struct Allowed {
  std::string_view unit;
  bool zero = false, integer = false;
};
constexpr Allowed flops_per_s{"flop/s"}, bytes_per_s{"bytes/s"}, seconds{"s", true}, ratio{"1"},
    count{"1", false, true};

/// One JSON object of a description. All of its fields must be known.
class Object {
 public:
  Object(const json& value, std::string what, std::string path,
         std::initializer_list<std::string_view> fields)
      : value_(value), what_(std::move(what)), path_(std::move(path)) {
    if (!value_.is_object()) refuse(path_.empty() ? "it" : path_, "is not an object");
    for (const auto& [key, ignored] : value_.items())
      if (std::find(fields.begin(), fields.end(), key) == fields.end())
        refuse(printable(name(key)),
               fmt::format("is unknown; known are {}", fmt::join(fields, ", ")));
  }

  bool has(const char* key) const { return value_.contains(key); }

  Object object(const char* key, std::initializer_list<std::string_view> fields) const {
    return {at(key), what_, name(key), fields};
  }
  std::string text(const char* key) const {
    const json& field = at(key);
    if (!field.is_string() || field.get<std::string>().empty()) refuse(name(key), "is not a text");
    return field.get<std::string>();
  }
  template <typename Choice, std::size_t size>
  Choice one_of(const char* key, const std::array<Named<Choice>, size>& choices) const {
    const std::string given = text(key);
    std::vector<std::string_view> names;
    for (const auto& choice : choices) {
      if (choice.name == given) return choice.value;
      names.push_back(choice.name);
    }
    refuse(name(key), fmt::format("is not one of {}", fmt::join(names, ", ")));
  }
  Quantity quantity(const char* key, const Allowed& allowed) const {
    const Object field = object(key, {"value", "unit", "source", "kind"});
    const json& number = field.at("value");
    const double value = number.is_number() ? number.get<double>() : std::nan("");
    if (!std::isfinite(value) || value < 0 || (value == 0 && !allowed.zero))
      refuse(field.name("value"),
             allowed.zero ? "is not a number of at least 0" : "is not a number above 0");
    if (allowed.integer && (value != std::floor(value) || value > max_count))
      refuse(field.name("value"), fmt::format("is not a whole number up to {:.0f}", max_count));
    Quantity result{value, field.text("unit"), field.text("source"),
                    field.one_of("kind", quantity_kinds)};
    if (result.unit != allowed.unit)
      refuse(field.name("unit"), fmt::format("is not '{}'", allowed.unit));
    return result;
  }

  [[noreturn]] void refuse(const std::string& field, const std::string& why) const {
    throw InputError(fmt::format("{}: {} {}", what_, field, why));
  }

 private:
  const json& at(const char* key) const {
    if (!value_.contains(key)) refuse(name(key), "is missing");
    return value_[key];
  }
  std::string name(const std::string& key) const {
    return path_.empty() ? key : fmt::format("{}.{}", path_, key);
  }
  /// Keys of a file may hold anything.
  static std::string printable(const std::string& text) {
    return json(text).dump(-1, ' ', true, json::error_handler_t::replace);
  }

  const json& value_;
  std::string what_, path_;
};

Platform read_platform(const json& value, const std::string& what) {
  const Object root(value, what, "",
                    {"name", "title", "matrix_flops_per_s", "memory_bandwidth", "exchange_launch",
                     "devices_per_node", "link", "nic", "fabric"});
  Platform platform;
  platform.name = root.text("name");
  platform.title = root.text("title");
  platform.matrix_flops_per_s = root.quantity("matrix_flops_per_s", flops_per_s);
  platform.memory_bandwidth = root.quantity("memory_bandwidth", bytes_per_s);
  platform.exchange_launch = root.quantity("exchange_launch", seconds);
  platform.devices_per_node = root.quantity("devices_per_node", count);

  const Object link = root.object("link", {"kind", "bandwidth", "latency", "host_bridge"});
  platform.link.kind = link.one_of("kind", link_kinds);
  platform.link.bandwidth = link.quantity("bandwidth", bytes_per_s);
  platform.link.latency = link.quantity("latency", seconds);
  if (platform.link.kind == Platform::Link::Kind::pcie)
    platform.link.host_bridge = link.quantity("host_bridge", bytes_per_s);
  else if (link.has("host_bridge"))
    root.refuse("link.host_bridge", "belongs to a link of kind pcie only");

  if (root.has("nic")) {
    const Object nic = root.object("nic", {"per_node", "bandwidth", "latency"});
    platform.nic = {nic.quantity("per_node", count), nic.quantity("bandwidth", bytes_per_s),
                    nic.quantity("latency", seconds)};
    if (platform.node_nics() > platform.node_devices())
      root.refuse("nic.per_node", "exceeds devices_per_node");
  }

  const Object fabric = root.object("fabric", {"kind", "nodes_per_leaf", "oversubscription"});
  platform.fabric.kind = fabric.one_of("kind", fabric_kinds);
  if (platform.fabric.kind == Platform::Fabric::Kind::fat_tree) {
    platform.fabric.nodes_per_leaf = fabric.quantity("nodes_per_leaf", count);
    platform.fabric.oversubscription = fabric.quantity("oversubscription", ratio);
  } else if (fabric.has("nodes_per_leaf") || fabric.has("oversubscription")) {
    root.refuse("fabric",
                "has nodes_per_leaf or oversubscription, which belong to kind fat-tree only");
  }
  if ((platform.fabric.kind == Platform::Fabric::Kind::none) == platform.nic.has_value())
    root.refuse("nic", "is there exactly when fabric.kind is not none");
  return platform;
}

json read_json(std::string_view text, const std::string& what) {
  json result = json::parse(text, nullptr, false);
  if (result.is_discarded()) throw InputError(fmt::format("{}: it is not JSON", what));
  return result;
}

/// The fields of the entry over those of the preset that its `like` names.
json completed(json entry, const std::vector<json>& known, const std::string& what) {
  if (!entry.is_object() || !entry.contains("like")) return entry;
  const json like = entry.at("like");
  const auto base = std::find_if(known.begin(), known.end(),
                                 [&](const json& other) { return other.at("name") == like; });
  if (base == known.end())
    throw InputError(fmt::format("{}: like names no preset that stands before it", what));
  entry.erase("like");
  json whole = *base;
  whole.merge_patch(entry);
  return whole;
}

const std::vector<json>& preset_entries() {
  static const std::vector<json> all = [] {
    const std::string what = "platforms.json";
    std::vector<json> entries;
    for (const json& entry : read_json(platforms_json, what))
      entries.push_back(completed(entry, entries, what));
    return entries;
  }();
  return all;
}

const std::vector<Platform>& presets() {
  static const std::vector<Platform> all = [] {
    std::vector<Platform> result;
    for (const json& entry : preset_entries())
      result.push_back(read_platform(entry, "platforms.json"));
    return result;
  }();
  return all;
}

}  // namespace

std::string_view to_string(Quantity::Kind kind) {
  return std::find_if(quantity_kinds.begin(), quantity_kinds.end(),
                      [kind](const auto& named) { return named.value == kind; })
      ->name;
}

std::vector<std::pair<std::string, Quantity>> quantities(const Platform& platform) {
  std::vector<std::pair<std::string, Quantity>> all{
      {"matrix_flops_per_s", platform.matrix_flops_per_s},
      {"memory_bandwidth", platform.memory_bandwidth},
      {"exchange_launch", platform.exchange_launch},
      {"devices_per_node", platform.devices_per_node},
      {"link.bandwidth", platform.link.bandwidth},
      {"link.latency", platform.link.latency}};
  const auto add = [&all](const char* name, const std::optional<Quantity>& quantity) {
    if (quantity) all.emplace_back(name, *quantity);
  };
  add("link.host_bridge", platform.link.host_bridge);
  if (platform.nic) {
    add("nic.per_node", platform.nic->per_node);
    add("nic.bandwidth", platform.nic->bandwidth);
    add("nic.latency", platform.nic->latency);
  }
  add("fabric.nodes_per_leaf", platform.fabric.nodes_per_leaf);
  add("fabric.oversubscription", platform.fabric.oversubscription);
  return all;
}

std::vector<std::string> platform_names() {
  std::vector<std::string> names;
  for (const Platform& platform : presets()) names.push_back(platform.name);
  return names;
}

Platform parse_platform(std::string_view json_text, const std::string& what) {
  return read_platform(completed(read_json(json_text, what), preset_entries(), what), what);
}

Platform load_platform(const std::string& name_or_path) {
  for (const Platform& platform : presets())
    if (platform.name == name_or_path) return platform;
  std::error_code error;
  std::ifstream file;
  if (std::filesystem::is_regular_file(name_or_path, error))
    file.open(name_or_path, std::ios::binary);
  if (!file.is_open())
    throw InputError(fmt::format("platform '{}' is neither a file that can be read nor one of {}",
                                 name_or_path, fmt::join(platform_names(), ", ")));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_platform(text, name_or_path);
}

}  // namespace ospsim
