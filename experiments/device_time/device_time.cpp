#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "experiments/cli/progress.hpp"
#include "experiments/experiment.hpp"
#include "experiments/median.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "sim/model/model.hpp"
#include "sim/process.hpp"

/// What ospsim-device timed: here, on this machine's device, or on another machine, from the lines
/// it wrote there.
namespace ospsim {
namespace {

/// Rates above a ceiling by more than what clocks do between two measurements are wrong.
constexpr double ceiling_slack = 1.03;

void read_lines(std::istream& in, const std::string& name, Json& lines) {
  std::string text;
  for (int number = 1; std::getline(in, text); ++number) {
    if (text.empty()) continue;
    Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (line.is_discarded() && in.eof()) break;  // cut short while it was written
    const auto has = [&](const char* field) {
      return line.contains(field) && line.at(field).is_string();
    };
    const auto kind = line.is_object() && has("kind") ? line.at("kind").get<std::string>() : "";
    const auto measured = [&](const char* field) {
      return line.contains(field) && line.at(field).is_number();
    };
    const bool known = (kind == "run" && has("device") && has("driver") && has("cuda_runtime") &&
                        has("git_commit")) ||
                       (kind == "ceilings" && measured("copy_gb_per_s") &&
                        measured("bf16_tflops_per_s") && measured("e4m3_tflops_per_s")) ||
                       (kind == "row" && has("name") && has("check"));
    if (!known || !has("part"))
      throw InputError(
          fmt::format("{}, line {}: not a line that ospsim-device writes", name, number));
    if (line.value("quick", false))
      throw InputError(
          fmt::format("{}, line {}: made with --quick, which times nothing", name, number));
    lines.push_back(std::move(line));
  }
}

Json lines_of_folder(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
  if (files.empty()) throw InputError(fmt::format("'{}' holds no .jsonl files", folder));
  std::sort(files.begin(), files.end());
  Json lines = Json::array();
  for (const auto& file : files) {
    std::ifstream in(file);
    read_lines(in, file.string(), lines);
  }
  return lines;
}

Json lines_of_device() {
  const CudaStatus status = cuda_status();
  if (!status.available) throw UnavailableError(fmt::format("no CUDA device: {}", status.reason));
  const std::string program =
      sibling_program("ospsim-device", "nvcc and cuBLASLt's header were not found");
  const ProcessOutcome listed = run_process({program, "--list"});
  if (!listed.succeeded()) throw UnavailableError(listed.failure());
  std::istringstream names(listed.output);
  const std::vector<std::string> parts{std::istream_iterator<std::string>(names), {}};
  Progress progress(static_cast<double>(parts.size()));
  Json lines = Json::array();
  for (const auto& part : parts) {
    progress.advance(0, part);
    const ProcessOutcome outcome = run_process({program, part});
    // 1: a check failed, which its line says.
    if (outcome.signal != 0 || outcome.exit_status > 1) throw UnavailableError(outcome.failure());
    std::istringstream in(outcome.output);
    read_lines(in, "ospsim-device", lines);
    progress.advance(1, part);
  }
  return lines;
}

/// Of the forward passes as the paper arranges them: seconds of a video, and how much of the time
/// its operations account for when each is timed alone. What the device refused has no time.
Json videos_of(const Json& rows) {
  Json videos = Json::array();
  for (const auto& row : rows) {
    if (!row.contains("time_ms")) continue;
    double parts_ms = 0;
    for (const auto& [work, ms] : row.at("parts_ms").items()) parts_ms += ms.get<double>();
    const double time_ms = row.at("time_ms").get<double>();
    videos.push_back({{"model", row.at("name")},
                      {"video", row.at("video")},
                      {"seconds", 1e-3 * time_ms * forwards_per_video},
                      {"parts_over_whole", parts_ms / time_ms}});
  }
  return videos;
}

Json run(const Request& request) {
  const Json lines = request.has("--from")
                         ? naming("--from", [&] { return lines_of_folder(request.text("--from")); })
                         : lines_of_device();
  Json document{{"experiment", "device-time"}}, runs = Json::array(), ceilings = Json::array(),
                                                of_part = Json::object(), failed = Json::array(),
                                                above = Json::array();
  for (const auto& line : lines) {
    Json fields = line;
    fields.erase("kind");
    const auto kind = line.at("kind").get<std::string>(), part = line.at("part").get<std::string>();
    if (kind == "run") {
      runs.push_back(fields);
    } else if (kind == "ceilings") {
      ceilings.push_back(fields);
    } else {
      fields.erase("part");
      const auto name = fmt::format("{}: {}", part, line.at("name").get<std::string>());
      if (line.at("check") != "passed") failed.push_back(name);
      if (line.value("fraction_of_memory", line.value("fraction_of_copy", 0.0)) > ceiling_slack ||
          line.value("fraction_of_product", 0.0) > ceiling_slack)
        above.push_back(name);
      of_part[part].push_back(std::move(fields));
    }
  }
  for (const auto& one : runs)
    if (one.at("device") != runs.front().at("device"))
      throw InputError("--from: the runs are of more than one kind of device");
  if (runs.empty()) throw InputError("--from: no line says what ran where");
  document["device"] = runs.front().at("device");
  document["runs"] = runs;
  document["ceilings"] = ceilings;
  for (const auto& [part, rows] : of_part.items()) document[part] = rows;
  document["videos"] = videos_of(of_part.value("forward", Json::array()));
  document["failed"] = failed;
  document["above_ceiling"] = above;
  document["holds"] = failed.empty() && above.empty();
  return document;
}

// ---- Text --------------------------------------------------------------------------------------

/// What a row was done to and how: all its fields that no column shows.
std::string details(const Json& row) {
  static const std::vector<std::string> shown{
      "name",         "repetitions", "time_ms",   "time_ms_min",         "time_ms_max",
      "formula",      "flops",       "bytes",     "tflops_per_s",        "gb_per_s",
      "times_ms",     "parts_ms",    "check",     "fraction_of_product", "fraction_of_copy",
      "check_method", "error",       "tolerance", "fraction_of_memory"};
  std::string text;
  for (const auto& [field, value] : row.items())
    if (std::find(shown.begin(), shown.end(), field) == shown.end())
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", field,
                          value.is_string() ? value.get<std::string>() : number_text(value, 12));
  return text;
}

std::string table_of(const std::string& part, const Json& rows, const Style& style) {
  constexpr auto right = Table::Align::right;
  Table table({{part},
               {"", Table::Align::left, true},
               {"median, ms", right},
               {"spread, %", right},
               {"TFLOP/s", right},
               {"of product, %", right},
               {"GB/s", right},
               {"of copy, %", right},
               {"check"}});
  for (const auto& row : rows) {
    const bool timed = row.contains("time_ms"), passed = row.at("check") == "passed";
    const auto number = [&](const char* field) { return row.at(field).get<double>(); };
    const auto text = [&](const char* field, double factor, int digits) {
      return timed && number(field) > 0 ? fmt::format("{:.{}f}", factor * number(field), digits)
                                        : std::string("-");
    };
    table.add({row.at("name").get<std::string>(),
               details(row),
               text("time_ms", 1, 3),
               timed ? fmt::format("{:.1f}", 100 * (number("time_ms_max") - number("time_ms_min")) /
                                                 number("time_ms"))
                     : std::string("-"),
               text("tflops_per_s", 1, 0),
               text("fraction_of_product", 100, 0),
               text("gb_per_s", 1, 0),
               text("fraction_of_copy", 100, 0),
               {row.at("check").get<std::string>(), passed ? Colour::green : Colour::red}});
  }
  return table.text(style);
}

std::string text(const Json& document, const Style& style) {
  const auto& run = document.at("runs").front();
  std::string out =
      fmt::format("{}, driver {}, CUDA {}, commit {}\n", document.at("device").get<std::string>(),
                  run.at("driver").get<std::string>(), run.at("cuda_runtime").get<std::string>(),
                  run.at("git_commit").get<std::string>().substr(0, 7));
  for (const auto& one : document.at("ceilings"))
    out += fmt::format(
        "ceilings of {}: copy {:.0f} GB/s, bf16 product {:.0f} TFLOP/s, e4m3 {:.0f}\n",
        one.at("part").get<std::string>(), one.at("copy_gb_per_s").get<double>(),
        one.at("bf16_tflops_per_s").get<double>(), one.at("e4m3_tflops_per_s").get<double>());
  for (const auto& [part, rows] : document.items())
    if (rows.is_array() && !rows.empty() && rows.front().is_object() &&
        rows.front().contains("check"))
      out += fmt::format("\n{}", table_of(part, rows, style));
  if (!document.at("videos").empty()) {
    constexpr auto right = Table::Align::right;
    Table table(
        {{"model"}, {"video"}, {"one video, s", right}, {"operations alone / whole", right}});
    for (const auto& row : document.at("videos"))
      table.add({row.at("model").get<std::string>(), row.at("video").get<std::string>(),
                 fmt::format("{:.0f}", row.at("seconds").get<double>()),
                 fmt::format("{:.3f}", row.at("parts_over_whole").get<double>())});
    out += fmt::format("\n{}", table.text(style));
  }
  for (const auto* const what : {"failed", "above_ceiling"})
    for (const auto& name : document.at(what))
      out += fmt::format("{}: {}\n", what, name.get<std::string>());
  return out;
}

}  // namespace

Experiment device_time() {
  return {.name = "device-time",
          .summary = "Time of kernels and of a model's forward pass on a CUDA device (minutes)",
          .run = run,
          .text = text,
          .needs = "CUDA device",
          .options = {"--from"}};
}

}  // namespace ospsim
