#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "analysis/downstream_error.hpp"
#include "analysis/quantization_study.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/experiment.hpp"
#include "kernels_ref/formats/codec.hpp"

/// What 8-bit formats and scaling recipes cost, on data whose shape is known: the precision of each
/// format by exponent, the SQNR of Gaussian data against its spread (closed form and sampled),
/// every recipe on concentrated, heavy-tailed and outlier-channel data, and what becomes of a
/// linear layer and of attention.
namespace ospsim {
namespace {

constexpr std::int64_t rows = 1024, columns = 1024;
constexpr int seeds = 5;

struct Data {
  const char *name, *distribution;
};
constexpr Data kinds_of_data[] = {{"concentrated", "normal:0,1"},
                                  {"laplace", "laplace:0,1"},
                                  {"heavy-tailed", "student-t:3,1"},
                                  {"log-normal", "lognormal:0,2"},
                                  {"outlier channels x30", "outliers:1,128,30"},
                                  {"outlier channels x1000", "outliers:1,128,1000"}};
constexpr const char* float_formats[] = {"hif8", "e4m3", "e5m2"};
constexpr const char* scalings[] = {"tensor",  "tensor-pow2", "token",       "channel",
                                    "block32", "tile128",     "block128x128"};

Quantization recipe(const std::string& format, const std::string& scaling) {
  return default_quantization(parse_number_format(format), parse_scaling(scaling));
}

std::vector<Quantization> all_recipes() {
  std::vector<Quantization> all;
  for (const char* format : {"hif8", "e4m3", "e5m2", "int8"})
    for (const char* scaling : scalings) all.push_back(recipe(format, scaling));
  for (const char* format : {"mxfp8-e4m3", "mxfp8-e5m2"})
    for (const MxRule rule : {MxRule::floor, MxRule::ratio}) {
      all.push_back(recipe(format, "block32"));
      all.back().mx_rule = rule;
    }
  return all;
}

std::vector<float> drawn(const std::string& distribution, std::uint64_t seed, std::int64_t size,
                         int threads) {
  std::vector<float> x(static_cast<std::size_t>(size));
  sample(parse_distribution(distribution), seed, columns, 0, x, threads);
  return x;
}

struct Spread {
  double mean = 0, deviation = 0;
};
Spread spread_of(const std::vector<double>& values) {
  Spread spread;
  for (const double value : values) spread.mean += value / static_cast<double>(values.size());
  for (const double value : values)
    spread.deviation += std::pow(value - spread.mean, 2) / static_cast<double>(values.size() - 1);
  spread.deviation = std::sqrt(spread.deviation);
  return spread;
}

// ---- Tables ------------------------------------------------------------------------------------

/// Figure 5: log2 of how many codes of a format lie in each binade.
Json precision_table() {
  Json table = Json::array();
  for (const char* format : float_formats) {
    std::map<int, int> numbers;
    for (int code = 0; code < 128; ++code) {
      const float value = decode(parse_format(format), static_cast<std::uint8_t>(code));
      if (std::isfinite(value) && value > 0) ++numbers[std::ilogb(value)];
    }
    if (std::string(format) == "hif8") ++numbers[15];  // infinity takes the place of 1.5 * 2^15
    if (std::string(format) == "e4m3") ++numbers[8];   // NaN that of 480
    for (const auto& [exponent, count] : numbers)
      table.push_back({{"format", format},
                       {"exponent", exponent},
                       {"codes", count},
                       {"fraction_bits", std::log2(count)}});
  }
  return table;
}

/// SQNR of normal data without a scale against its standard deviation.
Json gaussian_table(const Request& request, Progress& progress) {
  Json table = Json::array();
  for (const char* format : float_formats)
    for (int half_octaves = -48; half_octaves <= 32; ++half_octaves) {
      const double log2_sigma = 0.5 * half_octaves;
      const Distribution normal{Distribution::Kind::normal, {0, std::exp2(log2_sigma)}};
      const Quantization none = recipe(format, "none");
      Json row{{"format", format},
               {"log2_sigma", log2_sigma},
               {"sqnr_db_closed_form", *expected_sqnr_db(none.number, 1, normal)},
               {"sqnr_db", nullptr},
               {"standard_error_db", nullptr},
               {"deviation_standard_errors", nullptr}};
      if (half_octaves % 4 == 0) {
        progress.advance(1, "Gaussian data");
        const auto read = [&](std::int64_t first, std::span<float> values) {
          sample(normal, static_cast<std::uint64_t>(request.seed), columns, first, values,
                 request.threads);
        };
        const TensorStudy study = study_tensor(
            {{rows, columns}, read}, std::span(&none, 1), [](std::int64_t) {}, request.threads);
        const QuantizationError& error = study.quantizations.front().error;
        row["sqnr_db"] = error.sqnr_db();
        row["standard_error_db"] = error.sqnr_db_standard_error();
        if (error.sqnr_db_standard_error() > 0)
          row["deviation_standard_errors"] =
              (error.sqnr_db() - row.at("sqnr_db_closed_form").get<double>()) /
              error.sqnr_db_standard_error();
      }
      table.push_back(std::move(row));
    }
  return table;
}

/// Every recipe on every kind of data: mean and standard deviation over seeds.
Json recipe_table(const Request& request, Progress& progress) {
  const auto recipes = all_recipes();
  Json table = Json::array();
  for (const auto& [name, distribution] : kinds_of_data) {
    std::vector<std::vector<double>> sqnr_db(recipes.size());
    std::vector<QuantizationError> last;
    std::vector<double> bits(recipes.size());
    for (int seed = 0; seed < seeds; ++seed) {
      progress.advance(1, fmt::format("recipes on {} data", name));
      const auto x = drawn(distribution, static_cast<std::uint64_t>(request.seed + seed),
                           rows * columns, request.threads);
      const auto read = [&](std::int64_t first, std::span<float> values) {
        std::copy_n(x.begin() + first, values.size(), values.begin());
      };
      const TensorStudy study = study_tensor(
          {{rows, columns}, read}, recipes, [](std::int64_t) {}, request.threads);
      last.clear();
      for (std::size_t i = 0; i < recipes.size(); ++i) {
        sqnr_db[i].push_back(study.quantizations[i].error.sqnr_db());
        bits[i] = study.quantizations[i].bits_per_element;
        last.push_back(study.quantizations[i].error);
      }
    }
    for (std::size_t i = 0; i < recipes.size(); ++i) {
      const Spread spread = spread_of(sqnr_db[i]);
      const std::string format = to_string(recipes[i].number), scaling = scaling_name(recipes[i]);
      table.push_back({{"key", fmt::format("{}/{}/{}", name, format, scaling)},
                       {"data", name},
                       {"distribution", distribution},
                       {"format", format},
                       {"scaling", scaling},
                       {"sqnr_db", spread.mean},
                       {"sqnr_db_deviation", spread.deviation},
                       {"underflow_fraction", last[i].underflow_fraction()},
                       {"overflow_fraction", last[i].overflow_fraction()},
                       {"codes_used", last[i].codes_used()},
                       {"bits_per_element", bits[i]}});
    }
  }
  return table;
}

/// Outlier channels of growing size: the SQNR of the channels that are none. The whole tensor's
/// SQNR is that of the outliers, whatever becomes of the rest.
Json outlier_table(const Request& request, Progress& progress) {
  constexpr std::int64_t every = 128;
  Json table = Json::array();
  const std::pair<const char*, const char*> recipes[] = {
      {"hif8", "tensor"},  {"hif8", "tile128"}, {"e4m3", "tensor"},        {"e4m3", "channel"},
      {"e4m3", "tile128"}, {"e5m2", "tensor"},  {"mxfp8-e4m3", "block32"}, {"int8", "tensor"}};
  for (int log2_factor = 0; log2_factor <= 24; ++log2_factor) {
    progress.advance(1, "outlier channels");
    const std::int64_t factor = std::int64_t{1} << log2_factor;
    const auto seed = static_cast<std::uint64_t>(request.seed);
    std::vector<float> x = drawn("normal:0,1", seed, rows * columns, request.threads);
    for (std::size_t i = 0; i < x.size(); i += every) x[i] *= static_cast<float>(factor);
    for (const auto& [format, scaling] : recipes) {
      const auto y = quantized(recipe(format, scaling), columns, x, request.threads);
      std::vector<float> ordinary_x, ordinary_y;
      for (std::size_t i = 0; i < x.size(); ++i)
        if (i % every != 0) {
          ordinary_x.push_back(x[i]);
          ordinary_y.push_back(y[i]);
        }
      table.push_back({{"key", fmt::format("2^{}/{}/{}", log2_factor, format, scaling)},
                       {"log2_factor", log2_factor},
                       {"format", format},
                       {"scaling", scaling_name(recipe(format, scaling))},
                       {"ordinary_sqnr_db", -20 * std::log10(relative_l2(ordinary_y, ordinary_x))},
                       {"sqnr_db", -20 * std::log10(relative_l2(y, x))}});
    }
  }
  return table;
}

struct Scheme {
  std::string name;
  OperandRounding rounding;
};
std::vector<Scheme> schemes(int threads) {
  const auto both = [&](const char* format, const char* scaling, const char* backward_format) {
    return quantization_rounding(recipe(format, scaling), recipe(backward_format, scaling),
                                 threads);
  };
  return {{"bf16", bf16_rounding()},
          {"hif8 paper", quantization_rounding(paper_forward(), paper_backward(), threads)},
          {"hif8 tile128", both("hif8", "tile128", "hif8")},
          {"e4m3 tensor", both("e4m3", "tensor", "e5m2")},
          {"e4m3 tile128", both("e4m3", "tile128", "e4m3")},
          {"mxfp8-e4m3", both("mxfp8-e4m3", "block32", "mxfp8-e4m3")},
          {"int8 token", both("int8", "token", "int8")}};
}

/// Relative L2 errors against float32 of a linear layer, whose activations are of each kind, and of
/// attention on normal data, gradients included.
Json downstream_table(const Request& request, Progress& progress) {
  Json table = Json::array();
  const auto seed = static_cast<std::uint64_t>(request.seed);
  const auto add = [&](const char* operation, const char* data, const Scheme& scheme,
                       const char* tensor, double error) {
    table.push_back({{"key", fmt::format("{}/{}/{}/{}", operation, data, scheme.name, tensor)},
                     {"operation", operation},
                     {"data", data},
                     {"scheme", scheme.name},
                     {"tensor", tensor},
                     {"relative_l2", error}});
  };
  const LinearShape shape{.rows = rows, .in = columns, .out = columns};
  const auto weight = drawn("normal:0,0.03125", seed + 100, rows * columns, request.threads);
  const auto dy = drawn("student-t:5,0.001", seed + 200, rows * columns, request.threads);
  for (const auto& [data, distribution] : kinds_of_data) {
    progress.advance(1, fmt::format("a linear layer on {} data", data));
    const auto x = drawn(distribution, seed, rows * columns, request.threads);
    const auto exact = rounded_linear(shape, x, weight, dy, no_rounding(), request.threads);
    for (const Scheme& scheme : schemes(request.threads)) {
      const auto result = rounded_linear(shape, x, weight, dy, scheme.rounding, request.threads);
      add("linear", data, scheme, "output", relative_l2(result.y, exact.y));
      add("linear", data, scheme, "input gradient", relative_l2(result.dx, exact.dx));
      add("linear", data, scheme, "weight gradient", relative_l2(result.dweight, exact.dweight));
    }
  }

  const AttentionShape attention{.heads = 2, .tokens = 2048, .head_dim = 128};
  const std::int64_t size = attention.heads * attention.tokens * attention.head_dim;
  for (const double sharpness : {1.0, 3.0}) {  // q and k times this: how peaked the softmax is
    const std::string data = fmt::format("q, k x{:.0f}", sharpness);
    progress.advance(1, fmt::format("attention, {}", data));
    const std::string scaled = fmt::format("normal:0,{}", sharpness);
    const auto q = drawn(scaled, seed, size, request.threads),
               k = drawn(scaled, seed + 1, size, request.threads),
               v = drawn("normal:0,1", seed + 2, size, request.threads),
               d_o = drawn("normal:0,1", seed + 3, size, request.threads);
    const auto attend = [&](const OperandRounding& rounding) {
      return rounded_attention(attention, q, k, v, d_o, rounding, request.threads);
    };
    const auto exact = attend(no_rounding());
    for (const Scheme& scheme : schemes(request.threads)) {
      const auto result = attend(scheme.rounding);
      add("attention", data.c_str(), scheme, "output", relative_l2(result.o, exact.o));
      add("attention", data.c_str(), scheme, "q gradient", relative_l2(result.dq, exact.dq));
      add("attention", data.c_str(), scheme, "k gradient", relative_l2(result.dk, exact.dk));
      add("attention", data.c_str(), scheme, "v gradient", relative_l2(result.dv, exact.dv));
    }
  }
  return table;
}

Json run(const Request& request) {
  Progress progress(3 * 21 + 6 * seeds + 25 + 6 + 2);
  Json document{{"experiment", "format-error"},
                {"rows", rows},
                {"columns", columns},
                {"seeds", seeds},
                {"precision", precision_table()},
                {"gaussian", gaussian_table(request, progress)},
                {"recipes", recipe_table(request, progress)},
                {"outliers", outlier_table(request, progress)},
                {"downstream", downstream_table(request, progress)}};
  return document;
}

// ---- Text --------------------------------------------------------------------------------------

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  const auto db = [](const Json& value) {
    return value.is_number() ? fmt::format("{:.2f}", 0.0 + value.get<double>()) : std::string("-");
  };
  std::string out = fmt::format("SQNR in dB, {} x {} elements, mean and deviation of {} seeds\n\n",
                                document.at("rows").dump(), document.at("columns").dump(),
                                document.at("seeds").dump());
  Table recipes({{"data"},
                 {"format"},
                 {"scaling"},
                 {"SQNR, dB", right},
                 {"+-", right},
                 {"to 0, %", right},
                 {"bits", right}});
  for (const auto& row : document.at("recipes"))
    recipes.add({row.at("data").get<std::string>(), row.at("format").get<std::string>(),
                 row.at("scaling").get<std::string>(), db(row.at("sqnr_db")),
                 db(row.at("sqnr_db_deviation")),
                 fmt::format("{:.2g}", 100 * row.at("underflow_fraction").get<double>()),
                 number_text(row.at("bits_per_element"))});
  out += recipes.text(style) + "\nOrdinary channels beside outlier channels 2^n times as large\n\n";

  Table outliers({{"n", right}, {"format"}, {"scaling"}, {"SQNR, dB", right}});
  for (const auto& row : document.at("outliers"))
    if (row.at("log2_factor").get<int>() % 4 == 0)
      outliers.add({row.at("log2_factor").dump(), row.at("format").get<std::string>(),
                    row.at("scaling").get<std::string>(), db(row.at("ordinary_sqnr_db"))});
  out += outliers.text(style) + "\nRelative L2 error against float32, %\n\n";

  Table downstream({{"operation"}, {"data"}, {"scheme"}, {"tensor"}, {"error, %", right}});
  for (const auto& row : document.at("downstream"))
    downstream.add({row.at("operation").get<std::string>(), row.at("data").get<std::string>(),
                    row.at("scheme").get<std::string>(), row.at("tensor").get<std::string>(),
                    fmt::format("{:.3f}", 100 * row.at("relative_l2").get<double>())});
  return out + downstream.text(style);
}

}  // namespace

Experiment format_error() {
  return {
      .name = "format-error",
      .summary = "What 8-bit formats and scaling recipes cost, on data of known shape (seconds)",
      .run = run,
      .text = text};
}

}  // namespace ospsim
