#include <filesystem>
#include <fstream>

#include "kernels_ref/cuda/device.hpp"
#include "tests/experiments/cli_fixture.hpp"

namespace ospsim {
namespace {

Json line(const char* part, const char* kind, Json fields) {
  Json all{{"part", part}, {"kind", kind}};
  all.update(fields);
  return all;
}
Json run_line(const char* part, const char* device = "NVIDIA H200") {
  return line(part, "run",
              {{"device", device},
               {"driver", "580.1"},
               {"cuda_driver", "13.0"},
               {"cuda_runtime", "13.0"},
               {"git_commit", "0123456789"},
               {"git_dirty", false},
               {"compiler", "GNU"},
               {"date", "2026-11-21T00:00:00Z"}});
}
Json ceilings_line(const char* part) {
  return line(
      part, "ceilings",
      {{"copy_gb_per_s", 4000.0}, {"bf16_tflops_per_s", 800.0}, {"e4m3_tflops_per_s", 1500.0}});
}
Json row_line(const char* part, const char* name, double time_ms, Json more) {
  Json fields{{"name", name},
              {"repetitions", 3},
              {"time_ms", time_ms},
              {"time_ms_min", time_ms},
              {"time_ms_max", 1.1 * time_ms},
              {"formula", "f"},
              {"flops", 4e15},
              {"bytes", 0.0},
              {"tflops_per_s", 4e3 / time_ms},
              {"gb_per_s", 0.0},
              {"fraction_of_product", 0.5},
              {"fraction_of_copy", 0.0},
              {"times_ms", {time_ms, time_ms, 1.1 * time_ms}},
              {"check", "passed"},
              {"check_method", "m"},
              {"error", 0.0},
              {"tolerance", 1.0}};
  fields.update(more);
  return line(part, "row", fields);
}

class DeviceTime : public Cli {
 protected:
  void write(const std::string& name, const std::vector<Json>& lines) const {
    std::filesystem::create_directories(folder.path() / "record");
    std::ofstream out(folder.path() / "record" / name);
    for (const auto& one : lines) out << one.dump() << '\n';
  }
  void write_sound_record() const {
    write(
        "forward.jsonl",
        {run_line("forward"), ceilings_line("forward"),
         row_line("forward", "wan2.1-14b", 9000,
                  {{"video", "720p"}, {"parts_ms", {{"norm", 1000.0}, {"feed_forward", 7500.0}}}}),
         row_line("forward", "osp-next-14b", 6000,
                  {{"video", "720p"}, {"parts_ms", {{"norm", 6000.0}}}})});
    write("memory.jsonl", {run_line("memory"), ceilings_line("memory"),
                           row_line("memory", "gather", 0.5, {{"rows", 80640}})});
  }
};

TEST_F(DeviceTime, IsReadFromWhatWasWrittenElsewhere) {
  write_sound_record();
  const Json document = json("run device-time --from record --save times.h5");
  EXPECT_EQ(document.at("device"), "NVIDIA H200");
  EXPECT_EQ(document.at("runs").size(), 2u);
  EXPECT_EQ(document.at("forward").size(), 2u);
  EXPECT_EQ(document.at("memory").at(0).at("rows"), 80640);
  const Json& videos = document.at("videos");
  EXPECT_EQ(videos.at(0).at("seconds"), 900.0);
  EXPECT_NEAR(videos.at(0).at("parts_over_whole").get<double>(), 8.5 / 9, 1e-12);
  EXPECT_EQ(document.at("holds"), true);

  const Program shown = start("show times.h5");
  EXPECT_EQ(shown.wait(), 0) << shown.err();
  for (const char* text :
       {"NVIDIA H200", "driver 580.1", "wan2.1-14b", "gather", "rows 80640", "900"})
    EXPECT_NE(shown.out().find(text), std::string::npos) << text << '\n' << shown.out();
}

TEST_F(DeviceTime, FailedChecksAndImpossibleRatesDoNotHold) {
  for (const Json& wrong : {Json{{"check", "failed"}}, Json{{"fraction_of_copy", 1.2}},
                            Json{{"fraction_of_product", 1.2}}}) {
    write_sound_record();
    write("linear.jsonl", {run_line("linear"), row_line("linear", "projection", 5, wrong)});
    const Program program = start("run device-time --from record --save times.h5");
    EXPECT_EQ(program.wait(), 1) << wrong;
    EXPECT_NE(program.out().find("linear: projection"), std::string::npos) << program.out();
  }
}

TEST_F(DeviceTime, WhatTheDeviceRefusedIsReadToo) {
  for (const char* part : {"forward", "linear"}) {
    write_sound_record();
    write(
        "z.jsonl",
        {run_line(part),
         line(part, "row",
              {{"name", "wide"}, {"check", "failed"}, {"check_method", "refused: no algorithm"}})});
    const Program program = start("run device-time --from record --save times.h5");
    EXPECT_EQ(program.wait(), 1) << program.err();
    EXPECT_NE(program.out().find(std::string(part) + ": wide"), std::string::npos) << program.out();
    EXPECT_NE(program.out().find("900"), std::string::npos) << program.out();
  }
}

TEST_F(DeviceTime, AFileCutShortHoldsWhatWasTimedUntilThen) {
  write_sound_record();
  std::ofstream(folder.path() / "record" / "memory.jsonl", std::ios::app)
      << R"({"part": "memory", "kind": "row", "na)";
  EXPECT_EQ(json("run device-time --from record --save times.h5").at("memory").size(), 1u);
  std::ofstream(folder.path() / "record" / "memory.jsonl", std::ios::app) << '\n';
  expect_refusal("run device-time --from record", "memory.jsonl, line 4");
}

TEST_F(DeviceTime, RefusesWhatItCannotRead) {
  expect_refusal("run device-time --from record", "--from");
  write("empty.jsonl", {});
  expect_refusal("run device-time --from record", "--from");
  write("a.jsonl", {run_line("memory")});
  write("b.jsonl", {run_line("memory", "NVIDIA H100")});
  expect_refusal("run device-time --from record", "--from");
  write("b.jsonl", {Json{{"part", "memory"}, {"kind", "rumour"}}});
  expect_refusal("run device-time --from record", "b.jsonl, line 1");
  write("b.jsonl", {Json::array()});
  expect_refusal("run device-time --from record", "b.jsonl, line 1");
  write("b.jsonl", {line("memory", "row", Json::object())});
  expect_refusal("run device-time --from record", "b.jsonl, line 1");
  Json without_driver = run_line("memory");
  without_driver.erase("driver");
  write("b.jsonl", {without_driver});
  expect_refusal("run device-time --from record", "b.jsonl, line 1");
  Json quick = run_line("memory");
  quick["quick"] = true;
  write("b.jsonl", {quick});
  expect_refusal("run device-time --from record", "b.jsonl, line 1: made with --quick");
  write("b.jsonl", {line("memory", "ceilings", {{"copy_gb_per_s", "many"}})});
  expect_refusal("run device-time --from record", "b.jsonl, line 1");
}

TEST_F(DeviceTime, SaysThatThereIsNoDevice) {
  if (cuda_status().available) GTEST_SKIP() << "this machine has a CUDA device";
  expect_refusal(start("run device-time"), 3, "no CUDA device");
}

}  // namespace
}  // namespace ospsim
