#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels_ref/errors.hpp"
#include "sim/hardware/platform.hpp"
#include "tests/experiments/temporary_folder.hpp"

namespace ospsim {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

json number(double value, const std::string& unit) {
  return {{"value", value}, {"unit", unit}, {"source", "this test"}, {"kind", "inferred"}};
}

json valid() {
  return {{"name", "mine"},
          {"title", "two boxes"},
          {"matrix_flops_per_s", number(1e14, "flop/s")},
          {"memory_bandwidth", number(1e12, "bytes/s")},
          {"exchange_launch", number(1e-5, "s")},
          {"devices_per_node", number(4, "1")},
          {"link",
           {{"kind", "pcie"},
            {"bandwidth", number(2e10, "bytes/s")},
            {"latency", number(0, "s")},
            {"host_bridge", number(5e10, "bytes/s")}}},
          {"nic",
           {{"per_node", number(2, "1")},
            {"bandwidth", number(1e10, "bytes/s")},
            {"latency", number(1e-5, "s")}}},
          {"fabric",
           {{"kind", "fat-tree"},
            {"nodes_per_leaf", number(3, "1")},
            {"oversubscription", number(1.5, "1")}}}};
}

std::string refusal(const std::string& text) {
  try {
    parse_platform(text, "it.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Hardware, PresetsAreThere) {
  EXPECT_THAT(platform_names(),
              IsSupersetOf({"h200-nvlink", "h200-ndr", "h200-ndr-1nic", "pcie", "ascend-910c",
                            "ascend-950pr", "h200-fat-tree-2to1", "h200-fat-tree-4to1"}));
}

TEST(Hardware, EveryNumberOfEveryPresetHasItsUnitAndSourceAndIsSane) {
  for (const std::string& name : platform_names()) {
    const Platform platform = load_platform(name);
    EXPECT_EQ(platform.name, name);
    EXPECT_FALSE(platform.title.empty());
    for (const auto& [field, quantity] : quantities(platform)) {
      EXPECT_GT(quantity.source.size(), 10U) << name << " " << field;
      EXPECT_FALSE(quantity.unit.empty()) << name << " " << field;
      EXPECT_GE(quantity.value, 0) << name << " " << field;
    }
    const auto within = [&](const Quantity& quantity, double least, double most) {
      EXPECT_TRUE(least <= quantity.value && quantity.value <= most) << name << quantity.value;
    };
    within(platform.matrix_flops_per_s, 1e14, 2e15);
    within(platform.memory_bandwidth, 1e12, 1e13);
    within(platform.exchange_launch, 1e-6, 1e-3);
    within(platform.devices_per_node, 8, 8);
    within(platform.link.bandwidth, 1e10, 1e12);
    within(platform.link.latency, 1e-7, 1e-4);
    if (!platform.nic) continue;
    within(platform.nic->per_node, 1, 8);
    within(platform.nic->bandwidth, 1e10, 5e10);
    within(platform.nic->latency, 1e-6, 1e-4);
    EXPECT_GT(platform.nic->latency.value, platform.link.latency.value) << name;
  }
}

TEST(Hardware, NobodyPublishedAnAllToAllOnEightH200) {
  const Quantity bandwidth = load_platform("h200-nvlink").link.bandwidth;
  EXPECT_EQ(bandwidth.kind, Quantity::Kind::inferred);
  EXPECT_GE(bandwidth.value, 330e9);
  EXPECT_LE(bandwidth.value, 370e9);
}

TEST(Hardware, PresetsDifferInWhatTheirNamesSay) {
  const auto load = [](const char* name) { return load_platform(name); };
  EXPECT_EQ(load("h200-nvlink").fabric.kind, Platform::Fabric::Kind::none);
  EXPECT_EQ(load("h200-ndr").node_nics(), 8);
  EXPECT_EQ(load("h200-ndr-1nic").node_nics(), 1);
  EXPECT_EQ(load("h200-fat-tree-2to1").fabric.oversubscription->value, 2);
  EXPECT_EQ(load("h200-fat-tree-4to1").fabric.oversubscription->value, 4);
  EXPECT_EQ(load("pcie").link.kind, Platform::Link::Kind::pcie);
}

TEST(Hardware, AFileOfOnesOwn) {
  const TemporaryFolder folder;
  std::ofstream(folder.file("mine.json")) << valid();
  const Platform platform = load_platform(folder.file("mine.json"));
  EXPECT_EQ(platform.name, "mine");
  EXPECT_EQ(platform.node_devices(), 4);
  EXPECT_EQ(platform.node_nics(), 2);
  EXPECT_EQ(platform.link.host_bridge->value, 5e10);
  EXPECT_EQ(platform.fabric.nodes_per_leaf->value, 3);
  EXPECT_EQ(platform.fabric.oversubscription->value, 1.5);
  EXPECT_EQ(quantities(platform).size(), 12U);
  EXPECT_EQ(to_string(platform.link.latency.kind), "inferred");
}

TEST(Hardware, AFileMayChangeAPreset) {
  const Platform platform =
      parse_platform(R"({"like": "h200-ndr", "name": "mine", "nic": {"per_node":
          {"value": 2, "unit": "1", "kind": "inferred", "source": "a choice"}}})",
                     "mine.json");
  EXPECT_EQ(platform.name, "mine");
  EXPECT_EQ(platform.node_nics(), 2);
  EXPECT_EQ(platform.nic->bandwidth.value, load_platform("h200-ndr").nic->bandwidth.value);
  EXPECT_EQ(platform.title, load_platform("h200-ndr").title);
  EXPECT_THROW(parse_platform(R"({"like": "h300"})", "mine.json"), InputError);
  EXPECT_THROW(parse_platform(R"({"like": 3})", "mine.json"), InputError);
}

TEST(Hardware, WhatIsNoPlatformIsRefused) {
  const TemporaryFolder folder;
  for (const std::string& name :
       {std::string("h300"), std::string(""), folder.file("none.json"), folder.file("")})
    EXPECT_THROW(load_platform(name), InputError) << name;
  std::ofstream(folder.file("empty.json")).flush();
  EXPECT_THROW(load_platform(folder.file("empty.json")), InputError);
  for (const char* text : {"", "{", "[]", "3", "null", "{}", "\xff\xfe", "{\"name\": 1e999}"})
    EXPECT_THAT(refusal(text), AllOf(HasSubstr("it.json: "), Not(HasSubstr("\n")))) << text;
}

TEST(Hardware, AWrongFieldIsNamedInOneLine) {
  struct Case {
    const char *pointer, *value, *named;
  };
  for (const auto& [pointer, value, named] : std::initializer_list<Case>{
           {"/speed", "1", "speed"},
           {"/a\nb", "1", "a\\nb"},
           {"/link/colour", "1", "link.colour"},
           {"/name", "3", "name"},
           {"/title", "\"\"", "title"},
           {"/nic", "3", "nic"},
           {"/nic/bandwidth", "3", "nic.bandwidth"},
           {"/nic/per_node/value", "5", "nic.per_node"},
           {"/nic/per_node/value", "1.5", "nic.per_node.value"},
           {"/devices_per_node/value", "0", "devices_per_node.value"},
           {"/devices_per_node/value", "1e12", "devices_per_node.value"},
           {"/link/bandwidth/value", "\"fast\"", "link.bandwidth.value"},
           {"/link/bandwidth/value", "0", "link.bandwidth.value"},
           {"/link/latency/value", "-1", "link.latency.value"},
           {"/link/bandwidth/unit", "\"GB/s\"", "link.bandwidth.unit"},
           {"/memory_bandwidth/kind", "\"guessed\"", "memory_bandwidth.kind"},
           {"/memory_bandwidth/source", "\"\"", "memory_bandwidth.source"},
           {"/memory_bandwidth/note", "1", "memory_bandwidth.note"},
           {"/link/kind", "\"rope\"", "link.kind"},
           {"/link/kind", "\"switch\"", "link.host_bridge"},
           {"/fabric/kind", "\"torus\"", "fabric.kind"},
           {"/fabric/kind", "\"crossbar\"", "fabric"},
           {"/fabric/oversubscription/value", "0", "fabric.oversubscription.value"}}) {
    json changed = valid();
    changed[json::json_pointer(pointer)] = json::parse(value);
    EXPECT_THAT(refusal(changed.dump()), AllOf(HasSubstr(named), Not(HasSubstr("\n")))) << pointer;
  }
  for (const char* pointer : {"/name",
                              "/title",
                              "/matrix_flops_per_s",
                              "/memory_bandwidth",
                              "/exchange_launch",
                              "/devices_per_node",
                              "/link",
                              "/link/kind",
                              "/link/bandwidth",
                              "/link/latency",
                              "/link/host_bridge",
                              "/nic",
                              "/nic/per_node",
                              "/nic/bandwidth",
                              "/nic/latency",
                              "/fabric",
                              "/fabric/kind",
                              "/fabric/nodes_per_leaf",
                              "/fabric/oversubscription",
                              "/nic/latency/value",
                              "/nic/latency/unit",
                              "/nic/latency/source",
                              "/nic/latency/kind"}) {
    json changed = valid();
    const json::json_pointer path(pointer);
    changed[path.parent_pointer()].erase(path.back());
    std::string field = pointer + 1;
    std::replace(field.begin(), field.end(), '/', '.');
    EXPECT_THAT(refusal(changed.dump()), AllOf(HasSubstr(field), Not(HasSubstr("\n")))) << pointer;
  }
  EXPECT_EQ(refusal(valid().dump()), "accepted");
}

}  // namespace
}  // namespace ospsim
