#include <gtest/gtest.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "experiments/device/parts.hpp"
#include "experiments/device/sizes.hpp"
#include "kernels_ref/errors.hpp"
#include "tests/experiments/pretend_device/sabotage.hpp"

// The whole of ospsim-device, on a device that is pretended (pretend_device/).
namespace ospsim {
namespace {

using Json = nlohmann::json;
using pretend::Sabotage;

struct Outcome {
  bool passed = false;
  std::vector<Json> lines;

  std::vector<Json> rows() const {
    std::vector<Json> rows;
    for (const auto& line : lines)
      if (line.at("kind") == "row") rows.push_back(line);
    return rows;
  }
};

class Redirected {
 public:
  Redirected() : before_(std::cout.rdbuf(text_.rdbuf())) {}
  ~Redirected() { std::cout.rdbuf(before_); }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  std::streambuf* before_;
};

Outcome run(const std::string& part, const RecordSizes& sizes, Sabotage sabotage = Sabotage::none) {
  struct Restored {
    ~Restored() { pretend::sabotage = Sabotage::none; }
  } restored;
  Outcome outcome;
  const Redirected redirected;
  pretend::sabotage = sabotage;
  outcome.passed = run_device_part(find_device_part(part), sizes);
  std::istringstream text(redirected.text());
  for (std::string line; std::getline(text, line);) outcome.lines.push_back(Json::parse(line));
  return outcome;
}

/// What a row says of what was done, without what was measured.
std::string identity(Json row) {
  for (const char* const measured :
       {"repetitions", "time_ms", "time_ms_min", "time_ms_max", "formula", "flops", "bytes",
        "tflops_per_s", "gb_per_s", "fraction_of_product", "fraction_of_copy", "fraction_of_memory",
        "times_ms", "parts_ms", "check", "check_method", "error", "tolerance"})
    row.erase(measured);
  return row.dump();
}

void expect_timed(const Json& row, int repetitions) {
  EXPECT_EQ(row.at("times_ms").size(), static_cast<std::size_t>(repetitions)) << row;
  EXPECT_EQ(row.at("repetitions"), repetitions) << row;
  EXPECT_FALSE(row.at("formula").get<std::string>().empty()) << row;
  EXPECT_GT(row.at("flops").get<double>() + row.at("bytes").get<double>(), 0) << row;
  for (const char* const rate : {"time_ms", "time_ms_min", "time_ms_max", "tflops_per_s",
                                 "gb_per_s", "fraction_of_product", "fraction_of_copy"})
    EXPECT_TRUE(row.at(rate).is_number()) << rate << row;
}

/// As small as every part goes through.
RecordSizes tiny_sizes() {
  RecordSizes sizes = quick_sizes();
  sizes.padded = {1, 5, 8};
  sizes.unpadded = {1, 8, 8};
  sizes.ffn_dim = 256;
  sizes.text_tokens = 12;
  sizes.copy_bytes = 1 << 12;
  sizes.product_size = 64;
  sizes.codec_elements = 3000;
  sizes.codec_period = 1024;
  sizes.float_patterns = 1 << 16;
  sizes.kernel_repetitions = 1;
  return sizes;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;  // kernels take ten times longer
#else
constexpr bool sanitized = false;
#endif

class DeviceRecord : public testing::TestWithParam<const char*> {};

TEST_P(DeviceRecord, SaysWhatWasTimedAndThatItWasRight) {
  const std::string part = GetParam();
  RecordSizes sizes = sanitized ? tiny_sizes() : quick_sizes();
  if (sanitized && (part == "forward" || part == "choices")) sizes.heads = 2;
  const Outcome outcome = run(part, sizes);
  EXPECT_TRUE(outcome.passed);
  ASSERT_GE(outcome.lines.size(), 3u);
  EXPECT_EQ(outcome.lines[0].at("kind"), "run");
  EXPECT_EQ(outcome.lines[0].at("device"), "pretend");
  EXPECT_EQ(outcome.lines[0].at("quick"), true);
  EXPECT_EQ(outcome.lines[1].at("kind"), "ceilings");
  for (const char* const ceiling : {"copy_gb_per_s", "read_gb_per_s", "bf16_tflops_per_s",
                                    "e4m3_tflops_per_s", "sustained_bf16_tflops_per_s"})
    EXPECT_GT(outcome.lines[1].at(ceiling).get<double>(), 0) << ceiling;
  for (const auto& line : outcome.lines) EXPECT_EQ(line.at("part"), part);

  const auto rows = outcome.rows();
  EXPECT_EQ(rows.size(), outcome.lines.size() - 2);
  std::set<std::string> identities;
  const bool forward =
      part == "forward" || part == "choices" || part == "ranks" || part == "in_place_forward";
  for (const auto& row : rows) {
    EXPECT_FALSE(row.at("name").get<std::string>().empty());
    EXPECT_EQ(row.at("check"), "passed") << row;
    EXPECT_FALSE(row.at("check_method").get<std::string>().empty()) << row;
    EXPECT_LE(row.at("error").get<double>(), row.at("tolerance").get<double>()) << row;
    EXPECT_TRUE(identities.insert(identity(row)).second) << "twice: " << identity(row);
    if (row.at("name") != "every float32")
      expect_timed(row, forward ? sizes.forward_repetitions : sizes.kernel_repetitions);
    if (!forward) continue;
    const auto& parts = row.at("parts_ms");
    for (const char* const work : {"rearrange", "norm", "projection", "self_attention", "text",
                                   "cross_attention", "feed_forward", "quantize"})
      EXPECT_TRUE(parts.contains(work)) << work << parts;
    EXPECT_EQ(parts.size(), 8u);
  }
  if (part == "forward") {
    EXPECT_EQ(rows.size(), 4u);
  }
  if (part == "ranks") {
    EXPECT_EQ(rows.size(), 12u);
  }
  if (part == "in_place") {
    EXPECT_EQ(rows.size(), 3 * 5u);
  }
}
INSTANTIATE_TEST_SUITE_P(, DeviceRecord,
                         testing::Values("memory", "codecs", "attention", "linear", "forward",
                                         "choices", "ranks", "in_place", "in_place_pairs",
                                         "in_place_forward"),
                         [](const auto& of) { return std::string(of.param); });

TEST(DeviceRecordParts, AreTheOnesThatAreTested) {
  EXPECT_EQ(device_parts().size(), 10u);
  EXPECT_THROW(find_device_part("nothing"), InputError);
}

// ---- Devices that get something wrong ----------------------------------------------------------

struct Wrong {
  Sabotage sabotage;
  const char *name, *part;
};
void PrintTo(const Wrong& wrong, std::ostream* out) {
  *out << wrong.name;
}
constexpr Wrong wrongs[] = {
#define OSPSIM_WRONG(sabotage, part) \
  { Sabotage::sabotage, #sabotage "_in_" part, part }
    OSPSIM_WRONG(product_column, "linear"),
    OSPSIM_WRONG(product_row, "linear"),
    OSPSIM_WRONG(product_without_bias, "linear"),
    OSPSIM_WRONG(product_without_gelu, "linear"),
    OSPSIM_WRONG(product_unwritten, "linear"),
    OSPSIM_WRONG(product_unwritten, "ranks"),
    OSPSIM_WRONG(attention_without_last_key, "attention"),
    OSPSIM_WRONG(attention_head, "attention"),
    OSPSIM_WRONG(attention_unwritten, "attention"),
    OSPSIM_WRONG(in_place_without_last_key, "in_place"),
    OSPSIM_WRONG(in_place_head, "in_place_pairs"),
    OSPSIM_WRONG(in_place_unwritten, "in_place"),
    OSPSIM_WRONG(plain_unwritten, "attention"),
    OSPSIM_WRONG(gather_swaps_rows, "attention"),
    OSPSIM_WRONG(gather_swaps_rows, "memory"),
    OSPSIM_WRONG(gather_unwritten, "memory"),
    OSPSIM_WRONG(amax, "codecs"),
    OSPSIM_WRONG(quantize_code, "codecs"),
    OSPSIM_WRONG(quantize_unwritten, "codecs"),
    OSPSIM_WRONG(dequantize_value, "codecs"),
    OSPSIM_WRONG(norm_row, "memory"),
    OSPSIM_WRONG(norm_without_gate, "memory"),
    OSPSIM_WRONG(norm_unwritten, "memory"),
    OSPSIM_WRONG(sum_element, "memory"),
    OSPSIM_WRONG(rope_row, "memory"),
    OSPSIM_WRONG(rope_unwritten, "memory"),
    OSPSIM_WRONG(graph_without_last_node, "forward"),
#undef OSPSIM_WRONG
};

class SabotagedDevice : public testing::TestWithParam<Wrong> {};

TEST_P(SabotagedDevice, IsFoundOut) {
  if (sanitized) GTEST_SKIP() << "nothing new for a sanitizer";
  const Outcome outcome = run(GetParam().part, tiny_sizes(), GetParam().sabotage);
  EXPECT_FALSE(outcome.passed);
  bool failed = false;
  for (const auto& row : outcome.rows()) failed = failed || row.at("check") == "failed";
  EXPECT_TRUE(failed);
}
INSTANTIATE_TEST_SUITE_P(, SabotagedDevice, testing::ValuesIn(wrongs),
                         [](const auto& of) { return std::string(of.param.name); });

TEST(DeviceRecordParts, GoOnWhereALibraryRefuses) {
  const Outcome outcome = run("linear", tiny_sizes(), Sabotage::product_refused);
  EXPECT_FALSE(outcome.passed);
  std::map<std::string, int> count;
  for (const auto& row : outcome.rows()) {
    const bool refused = row.at("check_method") == "refused: no such product";
    EXPECT_EQ(row.at("check"), refused ? "failed" : "passed");
    EXPECT_EQ(row.at("name") == "ffn_up", refused);
    ++count[row.at("name").get<std::string>()];
  }
  EXPECT_EQ(count.at("ffn_up"), count.at("ffn_down"));
}

TEST(DeviceRecordParts, EndWithADeviceThatIsLost) {
  struct Restored {
    ~Restored() { pretend::broken = false; }
  } restored;
  EXPECT_THROW(run("linear", tiny_sizes(), Sabotage::product_breaks), std::runtime_error);
}

TEST(DeviceRecordParts, PassAtTheSizesOfSabotagedDevices) {
  if (sanitized) GTEST_SKIP() << "nothing new for a sanitizer";
  for (const char* const part :
       {"memory", "codecs", "attention", "linear", "forward", "in_place", "in_place_pairs"})
    EXPECT_TRUE(run(part, tiny_sizes()).passed) << part;
}

}  // namespace
}  // namespace ospsim
