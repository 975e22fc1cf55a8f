#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "experiments/store/attention_input.hpp"
#include "experiments/store/hdf5_file.hpp"
#include "experiments/store/part_file.hpp"
#include "experiments/store/provenance.hpp"
#include "experiments/store/result_store.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "tests/experiments/temporary_folder.hpp"

// Under the leak checker: the HDF5 library itself leaks when a file is damaged or the disk is full.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libhdf5";
}

namespace ospsim {
namespace {

/// The message of the InputError that f throws; empty if it throws none.
template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

const Json sample{{"whole", 7},
                  {"real", 0.5},
                  {"text", "na\u00efve"},
                  {"yes", true},
                  {"nothing", nullptr},
                  {"numbers", {1, 2, 3}},
                  {"matrix", {{1, 2.5}, {3, nullptr}}},
                  {"texts", {"a", "b"}},
                  {"ragged", {{1}, {1, 2}}},
                  {"empty", Json::array()},
                  {"inner", {{"deep", {{"x", 1}}}, {"none", Json::object()}}},
                  {"table", {{{"n", 1}, {"name", "one"}}, {{"n", 2}, {"more", 0.5}}}}};

class ResultStore : public testing::Test {
 protected:
  TemporaryFolder folder;
  std::string path = folder.file("result.h5");
};

TEST_F(ResultStore, ReturnsWhatItWasGiven) {
  const Json from{{"git_commit", "abc"}, {"seed", 3}, {"git_dirty", true}};
  save_result(sample, from, path);
  const Json stored = load_result(path);
  EXPECT_EQ(stored.at("document"), sample);
  EXPECT_EQ(stored.at("provenance").at("git_commit"), "abc");
  EXPECT_EQ(stored.at("provenance").at("seed"), 3);
  EXPECT_EQ(stored.at("provenance").at("git_dirty"), 1);
  EXPECT_EQ(folder.entries(), 1u);
}

TEST_F(ResultStore, IsATreeForOtherReaders) {
  using Kind = Hdf5File::Kind;
  using Shape = std::vector<std::int64_t>;
  save_result(sample, Json::object(), path);
  const Hdf5File file = Hdf5File::open(path);
  EXPECT_EQ(file.kind("whole"), Kind::integer);
  EXPECT_EQ(file.shape("whole"), Shape{});
  EXPECT_EQ(file.kind("nothing"), Kind::real);
  EXPECT_EQ(file.read_text("text"), "na\u00efve");
  EXPECT_EQ(file.shape("numbers"), Shape{3});
  EXPECT_EQ(file.kind("numbers"), Kind::integer);
  EXPECT_EQ(file.shape("matrix"), (Shape{2, 2}));
  EXPECT_EQ(file.kind("matrix"), Kind::real);
  EXPECT_EQ(file.kind("texts"), Kind::text);
  EXPECT_EQ(file.kind("ragged"), Kind::text);
  EXPECT_EQ(file.shape("empty"), Shape{0});
  EXPECT_EQ(file.shape("inner/deep/x"), Shape{});
  EXPECT_EQ(file.shape("table/name"), Shape{2});
  EXPECT_EQ(file.kind("table/more"), Kind::real);
  std::vector<std::int64_t> n(1);
  file.read_rows<std::int64_t>("table/n", 1, 1, n);
  EXPECT_EQ(n[0], 2);
}

TEST_F(ResultStore, ReplacesAFileWhole) {
  save_result(sample, Json::object(), path);
  save_result({{"x", 1}}, Json::object(), path);
  EXPECT_EQ(load_result(path).at("document"), (Json{{"x", 1}}));
}

TEST_F(ResultStore, RefusesWhatItDidNotWrite) {
  EXPECT_NE(message_of([&] { load_result(path); }).find(path), std::string::npos);
  std::ofstream(path) << "not HDF5";
  EXPECT_NE(message_of([&] { load_result(path); }).find("not an HDF5 file"), std::string::npos);
  Hdf5File foreign = Hdf5File::create(path, path);
  foreign.write<double>("document", {}, std::vector{1.0});
  foreign.close();
  EXPECT_NE(message_of([&] { load_result(path); }).find("'document'"), std::string::npos);
  Hdf5File no_json = Hdf5File::create(path, path);
  no_json.write_texts("document", {}, std::vector<std::string>{"{"});
  no_json.close();
  EXPECT_NE(message_of([&] { load_result(path); }).find("not a JSON object"), std::string::npos);
}

TEST_F(ResultStore, RefusesEveryTruncation) {
  save_result(sample, {{"seed", 1}}, path);
  const auto size = std::filesystem::file_size(path);
  for (std::uintmax_t kept = size - 1; kept > 0; kept = kept * 9 / 10) {
    std::filesystem::resize_file(path, kept);
    const std::string message = message_of([&] { load_result(path); });
    EXPECT_NE(message.find(path), std::string::npos) << kept;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST_F(ResultStore, LeavesNothingWhereItCannotWrite) {
  const std::string inside = folder.file("no/such/folder/x.h5");
  EXPECT_NE(message_of([&] { save_result(sample, {}, inside); }).find(inside), std::string::npos);
  EXPECT_NE(message_of([&] { save_result(sample, {}, "/dev/full"); }).find("not a regular file"),
            std::string::npos);
  EXPECT_NE(message_of([&] { save_result(sample, {}, folder.path().string()); }), "");
  EXPECT_EQ(folder.entries(), 0u);
}

TEST_F(ResultStore, LeavesNothingOnAFullDisk) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  for (const rlim_t limit : {0u, 100u, 2000u, 6000u}) {
    const rlimit small{limit, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    const std::string message = message_of([&] { save_result(sample, {{"seed", 1}}, path); });
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_NE(message.find(path), std::string::npos) << limit;
    EXPECT_EQ(folder.entries(), 0u) << limit;
  }
  save_result(sample, Json::object(), path);
  EXPECT_EQ(load_result(path).at("document"), sample);
}

TEST(PartFile, AppearsOnlyWhenComplete) {
  TemporaryFolder folder;
  const std::string path = folder.file("x");
  {
    PartFile part(path);
    std::ofstream(part.part()) << "half";
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_EQ(folder.entries(), 0u);
  {
    PartFile part(path);
    std::ofstream(part.part()) << "whole";
    part.commit();
  }
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(PartFile, SaysSoWhenItsFolderDisappears) {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "inner");
  const std::string path = folder.file("inner/x");
  PartFile part(path);
  std::filesystem::remove_all(folder.path() / "inner");
  EXPECT_NE(message_of([&] { part.commit(); }).find(path), std::string::npos);
}

TEST(Provenance, NamesEverythingAndIsStable) {
  const Json options{{"--grid", {"1x2x3"}}};
  const Json from = provenance("ospsim reach", "reach", options, 5);
  for (const char* field : {"schema_version",
                            "git_commit",
                            "git_dirty",
                            "date",
                            "command_line",
                            "configuration",
                            "fingerprint",
                            "seed",
                            "compiler",
                            "compiler_flags",
                            "cpu",
                            "cpu_cores",
                            "memory_bytes",
                            "gpu",
                            "cuda_driver",
                            "fmt_version",
                            "hdf5_version",
                            "nlohmann_json_version",
                            "cli11_version",
                            "highway_version",
                            "mpi_version"})
    EXPECT_TRUE(from.contains(field)) << field;
  EXPECT_EQ(from.at("fingerprint"),
            provenance("other words", "reach", options, 5).at("fingerprint"));
  EXPECT_NE(from.at("fingerprint"),
            provenance("ospsim reach", "reach", options, 6).at("fingerprint"));
  EXPECT_EQ(fingerprint(""), "cbf29ce484222325");  // published FNV-1a test vectors
  EXPECT_EQ(fingerprint("foobar"), "85944171f73967e8");
}

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(round_to_bf16(1.0f), 1.0f);
  EXPECT_EQ(round_to_bf16(0x1.00ffffp0f), 0x1.00p0f);
  EXPECT_EQ(round_to_bf16(0x1.01p0f), 0x1.00p0f);  // a tie, to the even neighbour below
  EXPECT_EQ(round_to_bf16(0x1.010002p0f), 0x1.02p0f);
  EXPECT_EQ(round_to_bf16(0x1.03p0f), 0x1.04p0f);  // a tie, to the even neighbour above
  EXPECT_EQ(round_to_bf16(-0x1.03p0f), -0x1.04p0f);
  EXPECT_EQ(round_to_bf16(0x1p-149f), 0.0f);
  EXPECT_EQ(round_to_bf16(0x1.fffffep127f), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(round_to_bf16(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace ospsim
