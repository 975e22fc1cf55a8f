#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "experiments/store/result_store.hpp"
#include "tests/experiments/program.hpp"

namespace ospsim {

using Words = std::vector<std::string>;

inline Words words(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

class Cli : public testing::Test {
 protected:
  TemporaryFolder folder;

  Program start(const std::string& line) const {
    return Program(words(line), {.folder = folder.path()});
  }

  /// The one JSON document that a command prints when it goes well, and nothing else.
  Json json(const std::string& line) const {
    const Program program = start(line + " --json");
    EXPECT_EQ(program.wait(), 0) << line << '\n' << program.err();
    EXPECT_EQ(program.err(), "") << line;
    return Json::parse(program.out());
  }

  /// Ends with `status`, one line on stderr that contains `names`, and nothing on stdout.
  void expect_refusal(const Program& program, int status, const std::string& names) const {
    EXPECT_EQ(program.wait(), status) << names;
    const std::string err = program.err();
    EXPECT_EQ(err.rfind("ospsim: ", 0), 0u) << err;
    EXPECT_NE(err.find(names), std::string::npos) << "no " << names << " in: " << err;
    EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err;
    EXPECT_EQ(program.out(), "");
  }
  void expect_refusal(const std::string& line, const std::string& names) const {
    expect_refusal(start(line), 2, names);
  }
};

}  // namespace ospsim
