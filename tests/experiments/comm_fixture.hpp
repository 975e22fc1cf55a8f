#pragma once

#include <stdlib.h>

#include "sim/parallel/strategy.hpp"
#include "tests/experiments/cli_fixture.hpp"

namespace ospsim {

class CommCli : public Cli {
 protected:
  /// Whoever starts real processes must not count on variables of the user's.
  void SetUp() override {
    std::vector<std::string> names;
    for (char** entry = environ; *entry != nullptr; ++entry)
      if (const std::string text = *entry; text.rfind("OMPI_", 0) == 0)
        names.push_back(text.substr(0, text.find('=')));
    for (const std::string& name : names) unsetenv(name.c_str());
  }

  Json comm(const std::string& line) const { return json("comm " + line); }
  void refuses(const std::string& line, const std::string& names) const {
    expect_refusal("comm " + line, names);
  }

  /// Why a feature is missing, or "" where this build and machine have it.
  std::string lacks(const char* feature) const {
    const Json answer = json("doctor").at("features").at(feature);
    return answer.at("available").get<bool>() ? "" : answer.at("reason").get<std::string>();
  }

  static std::int64_t sent_bytes(const Json& traffic) {
    return traffic.at("sent_bytes_per_rank").get<std::int64_t>();
  }
  /// The fields of a count alone.
  static Json counted(const Json& traffic) {
    return {{"collectives", traffic.at("collectives")},
            {"steps", traffic.at("steps")},
            {"sent_bytes_per_rank", traffic.at("sent_bytes_per_rank")}};
  }

  /// Expects that the real processes of an answer moved what the formula says, by every count.
  static void expect_as_formula(const Json& row, const char* formula = "per_block") {
    EXPECT_EQ(row.at("measured"), counted(row.at(formula))) << row;
    EXPECT_EQ(row.at("counts_agree"), true) << row;
    EXPECT_FALSE(row.contains("holds")) << row;
    for (const auto& [name, bytes] : row.at("counts").items())
      EXPECT_EQ(bytes, row.at(formula).at("sent_bytes_per_rank")) << name << " of " << row;
    EXPECT_TRUE(row.at("time_ms").is_number()) << row;
    EXPECT_TRUE(row.at("relative_l2").is_number()) << row;
  }
  /// And that they computed, in float32, what one rank does: to the bit unless they add up in
  /// another order.
  static void expect_as_one_rank(const Json& row) {
    const bool sums_otherwise = row.at("ring_ranks") > 1 || row.at("strategy") == "megatron-sp";
    EXPECT_LE(row.at("max_abs_difference"), sums_otherwise ? 1e-5 : 0.0) << row;
  }
  /// The same of every strategy that was asked for, as many as run; the others say why not.
  static void expect_all_agree(const Json& document, std::size_t runs) {
    EXPECT_FALSE(document.contains("holds"));
    std::size_t ran = 0;
    for (const Json& row : document.at("strategies")) {
      if (row.contains("refused")) continue;
      ++ran;
      expect_as_formula(row);
      expect_as_one_rank(row);
    }
    EXPECT_EQ(ran, runs);
  }

  static constexpr const char* small = " --hidden 64 --heads 8 --repetitions 1";
};

}  // namespace ospsim
