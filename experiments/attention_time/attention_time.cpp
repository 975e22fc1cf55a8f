#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "experiments/cli/pattern_options.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/experiment.hpp"
#include "experiments/median.hpp"
#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/cpu/fma_peak.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"
#include "kernels_ref/parallel.hpp"

/// How long attention of one head takes, dense and sparse, on the CPU back end. The repetitions of
/// the patterns are interleaved, and sampled rows of each result are compared with the naive back
/// end.
namespace ospsim {
namespace {

constexpr std::int64_t head_dim = 128;
constexpr int sampled_rows = 64;
/// Relative L2 error of float32 attention on unit-normal data over more than 4,096 keys.
constexpr double tolerated_error = 5e-6;

constexpr int repetitions = 7;

struct Case {
  const char *pattern, *ratio;
};
constexpr Case cases[] = {{"full", "1"},        {"skiparse-1d", "2"}, {"skiparse-1d", "4"},
                          {"skiparse-1d", "8"}, {"skiparse-2d", "2"}, {"skiparse-2d", "3"},
                          {"skiparse-2d", "4"}, {"skiparse-3d", "2"}};

struct Data {
  std::int64_t tokens;
  std::vector<float> q, k, v;
};

Data unit_normal(std::int64_t tokens, std::int64_t seed) {
  Data data{.tokens = tokens, .q = {}, .k = {}, .v = {}};
  std::mt19937_64 random(static_cast<std::uint64_t>(seed));
  std::normal_distribution<float> normal;
  for (auto* tensor : {&data.q, &data.k, &data.v}) {
    tensor->resize(static_cast<std::size_t>(tokens * head_dim));
    for (auto& value : *tensor) value = normal(random);
  }
  return data;
}

template <class T>
HeadTensor<T> one_head(std::vector<T>& values) {
  const auto rows = static_cast<std::int64_t>(values.size()) / head_dim;
  return heads_first(values.data(), 1, rows, head_dim);
}

struct Error {
  double max_abs = 0, relative_l2 = 0;
};

/// Compares rows of `o`, drawn at random, with the naive back end computed for those rows alone.
Error error_of_sample(const Layout& layout, Data& data, std::vector<float>& o,
                      std::mt19937_64& random) {
  std::uniform_int_distribution<std::int64_t> any_row(0, data.tokens - 1);
  std::map<std::int64_t, AttentionGroup> groups;  // by sub-sequence
  std::vector<std::int64_t> rows;
  for (int i = 0; i < sampled_rows; ++i) {
    const std::int64_t row = any_row(random);
    if (std::find(rows.begin(), rows.end(), row) != rows.end()) continue;
    rows.push_back(row);
    groups[layout.place(row).subsequence].queries.push_back(row);
  }
  std::vector<AttentionGroup> sampled;
  for (auto& [subsequence, group] : groups) {
    group.keys = layout.tokens_of(subsequence);
    sampled.push_back(std::move(group));
  }
  std::vector<double> q(data.q.begin(), data.q.end()), k(data.k.begin(), data.k.end()),
      v(data.v.begin(), data.v.end()), expected(q.size());
  attention_forward<Backend::naive>(sampled, one_head(q), one_head(k), one_head(v),
                                    one_head(expected), {});

  double largest = 0, difference_2 = 0, norm_2 = 0;
  for (const auto row : rows)
    for (std::int64_t d = 0; d < head_dim; ++d) {
      const auto i = static_cast<std::size_t>(row * head_dim + d);
      const double difference = static_cast<double>(o[i]) - expected[i];
      largest = std::max(largest, std::abs(difference));
      difference_2 += difference * difference;
      norm_2 += expected[i] * expected[i];
    }
  return {.max_abs = largest, .relative_l2 = std::sqrt(difference_2 / norm_2)};
}

struct Run {
  Pattern pattern;
  Layout layout;
  std::vector<AttentionGroup> groups;
  double flops;
  std::vector<double> times_ms = {};
  Error error = {};
};

std::vector<Run> prepare(const Grid& grid) {
  std::vector<Run> runs;
  for (const auto& [name, ratio] : cases) {
    const Pattern pattern = parse_pattern(name, parse_ratio(ratio));
    const Layout layout = layout_of(pattern, grid, Phase::token);
    const Cost cost = attention_forward_cost(attended_pairs(layout), 1, grid.tokens(),
                                             grid.tokens(), head_dim, 4);
    runs.push_back({pattern, layout, groups_in_place(layout), cost.flops});
  }
  return runs;
}

/// Every pattern once, then again, and so on; before that the quicker ones once, unrecorded.
void measure(std::vector<Run>& runs, Data& data, const Request& request) {
  std::vector<float> o(data.q.size());
  std::mt19937_64 random(static_cast<std::uint64_t>(request.seed) + 1);
  const auto time_ms = [&](const Run& run) {
    const auto start = std::chrono::steady_clock::now();
    attention_forward<Backend::cpu>(run.groups, one_head(data.q), one_head(data.k),
                                    one_head(data.v), one_head(o), {}, request.threads);
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
        .count();
  };
  double flops = 0;
  for (const auto& run : runs) flops += run.flops;
  Progress progress(repetitions * flops);
  progress.advance(0, "warming up");
  for (const auto& run : runs)
    if (run.flops < runs.front().flops / 3) time_ms(run);
  for (int repetition = 0; repetition < repetitions; ++repetition)
    for (Run& run : runs) {
      progress.advance(
          0, fmt::format("{}, repetition {} of {}", run.pattern.name, repetition + 1, repetitions));
      run.times_ms.push_back(time_ms(run));
      if (repetition == 0) run.error = error_of_sample(run.layout, data, o, random);
      progress.advance(run.flops, "");
    }
}

Json run(const Request& request) {
  const Grid grid = request.has("--grid") ? grid_of(request) : Grid{21, 48, 80};
  std::vector<Run> runs = prepare(grid);
  Data data = unit_normal(grid.tokens(), request.seed);
  const double peak_before = fma_peak_flops_per_second(request.threads);
  measure(runs, data, request);
  const double peak_gflops_per_s =
      1e-9 * std::max(peak_before, fma_peak_flops_per_second(request.threads));

  const double full_ms = median(runs.front().times_ms), full_flops = runs.front().flops;
  Json rows = Json::array(), samples = Json::array();
  bool holds = true;
  for (const auto& [pattern, layout, groups, flops, times_ms, error] : runs) {
    const double time_ms = median(times_ms);
    const auto [least, most] = std::minmax_element(times_ms.begin(), times_ms.end());
    holds = holds && error.relative_l2 <= tolerated_error;
    rows.push_back({{"pattern", pattern.name},
                    {"ratio", ratio_json(pattern.ratio)},
                    {"sparsity", layout.subsequences()},
                    {"padded_tokens", layout.padded_tokens()},
                    {"repetitions", repetitions},
                    {"time_ms", time_ms},
                    {"time_ms_min", *least},
                    {"time_ms_max", *most},
                    {"flops", flops},
                    {"gflops_per_s", flops / time_ms * 1e-6},
                    {"fraction_of_peak", flops / time_ms * 1e-6 / peak_gflops_per_s},
                    {"time_ratio", full_ms / time_ms},
                    {"work_ratio", full_flops / flops},
                    {"max_abs_difference", error.max_abs},
                    {"relative_l2_error", error.relative_l2}});
    for (std::size_t i = 0; i < times_ms.size(); ++i)
      samples.push_back({{"pattern", pattern.name},
                         {"ratio", ratio_json(pattern.ratio)},
                         {"repetition", i},
                         {"time_ms", times_ms[i]}});
  }
  return {{"experiment", "attention-time"},
          {"grid", {grid.t, grid.h, grid.w}},
          {"tokens", grid.tokens()},
          {"heads", 1},
          {"head_dim", head_dim},
          {"phase", "token"},
          {"backend", "cpu"},
          {"threads", thread_count(request.threads)},
          {"peak_gflops_per_s", peak_gflops_per_s},
          {"tolerated_relative_l2_error", tolerated_error},
          {"holds", holds},
          {"cases", rows},
          {"samples", samples}};
}

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  Table table({{"pattern"},
               {"ratio", right},
               {"sparsity", right},
               {"median, ms", right},
               {"spread, %", right},
               {"GFLOP/s", right},
               {"of FMA peak, %", right},
               {"full / this, time", right},
               {"work", right},
               {"relative error", right}});
  const double tolerated = document.at("tolerated_relative_l2_error").get<double>();
  for (const auto& row : document.at("cases")) {
    const auto number = [&](const char* field) { return row.at(field).get<double>(); };
    const double error = number("relative_l2_error");
    table.add({row.at("pattern").get<std::string>(),
               number_text(row.at("ratio")),
               number_text(row.at("sparsity")),
               fmt::format("{:.1f}", number("time_ms")),
               fmt::format("{:.1f}", 100 * (number("time_ms_max") - number("time_ms_min")) /
                                         number("time_ms")),
               fmt::format("{:.1f}", number("gflops_per_s")),
               fmt::format("{:.0f}", 100 * number("fraction_of_peak")),
               fmt::format("{:.3f}", number("time_ratio")),
               fmt::format("{:.3f}", number("work_ratio")),
               {fmt::format("{:.1e}", error), error <= tolerated ? Colour::green : Colour::red}});
  }
  return fmt::format("One head of {} channels, {} tokens, {} threads\n\n",
                     document.at("head_dim").dump(), extents_text(document.at("grid")),
                     document.at("threads").dump()) +
         table.text(style);
}

}  // namespace

Experiment attention_time() {
  return {.name = "attention-time",
          .summary = "Time of one head's attention, dense and sparse, on the CPU (minutes)",
          .run = run,
          .text = text,
          .options = {"--grid"}};
}

}  // namespace ospsim
