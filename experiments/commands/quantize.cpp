#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "analysis/quantization_study.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/commands/commands.hpp"
#include "experiments/commands/downstream.hpp"
#include "experiments/store/machine.hpp"
#include "experiments/store/tensor_file.hpp"

namespace ospsim {
namespace {

std::optional<float> number_option(const Request& request, const std::string& option) {
  if (!request.has(option)) return std::nullopt;
  const std::string& text = request.text(option);
  float value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    throw InputError(fmt::format("{}: '{}' is not a number", option, text));
  return value;
}

/// Every format with every scaling; the MXFP8 formats once, for they scale themselves.
std::vector<Quantization> quantizations_of(const Request& request) {
  const auto scale_max = number_option(request, "--scale-max");
  const float epsilon = number_option(request, "--epsilon").value_or(0);
  const Overflow overflow =
      naming("--overflow", [&] { return parse_overflow(request.text("--overflow")); });
  const MxRule rule = naming("--mx-rule", [&] { return parse_mx_rule(request.text("--mx-rule")); });
  if (epsilon < 0) throw InputError("--epsilon: is below 0");
  std::optional<Rounding> hif8_rounding;
  if (request.has("--rounding"))
    naming("--rounding", [&] {
      hif8_rounding = parse_rounding(request.text("--rounding"));
      check_codec({.format = Format::hif8, .rounding = *hif8_rounding});
    });
  std::vector<Quantization> all;
  for (const auto& format : request.words("--format")) {
    const NumberFormat number = naming("--format", [&] { return parse_number_format(format); });
    if (scale_max && !is_mx(number) && (*scale_max <= 0 || *scale_max > largest(number)))
      throw InputError(
          fmt::format("--scale-max: {} is not above 0 and at most {}, the largest of {}",
                      *scale_max, largest(number), format));
    for (const auto& scaling : request.words("--scaling")) {
      if (scaling == "paper-forward" || scaling == "paper-backward") {
        if (number != NumberFormat::hif8)
          throw InputError(fmt::format("--scaling: '{}' is the paper's recipe for hif8, not {}",
                                       scaling, format));
        for (const char* option : {"--scale-max", "--epsilon", "--rounding"})
          if (request.has(option))
            throw InputError(
                fmt::format("{}: '{}' has its own; leave one of them out", option, scaling));
        all.push_back(scaling == "paper-forward" ? paper_forward() : paper_backward());
        all.back().overflow = overflow;
        continue;
      }
      Quantization quantization =
          default_quantization(number, naming("--scaling", [&] { return parse_scaling(scaling); }));
      if (number == NumberFormat::hif8 && hif8_rounding) quantization.rounding = *hif8_rounding;
      if (!is_mx(number) && scale_max) quantization.target = *scale_max;
      quantization.overflow = overflow;
      quantization.mx_rule = rule;
      quantization.epsilon = epsilon;
      quantization.history =
          request.whole("--history", 1, std::numeric_limits<std::int32_t>::max());
      quantization.seed = static_cast<std::uint64_t>(request.seed);
      all.push_back(quantization);
      if (is_mx(number)) break;
    }
  }
  return all;
}

struct NamedSource {
  std::string name, dtype;
  TensorSource source;
  std::optional<Distribution> distribution = {};
};

/// What is to be quantised, and what of the file cannot be.
struct Sources {
  std::vector<NamedSource> tensors;
  std::vector<SkippedTensor> skipped;
};

Sources sources_of_file(const std::string& argument) {
  const auto [path, name] = parse_tensor_argument(argument);
  const auto file = std::make_shared<const TensorFile>(TensorFile::open(path));
  Sources sources{.tensors = {}, .skipped = name ? std::vector<SkippedTensor>{} : file->skipped()};
  const std::size_t first = name ? file->index_of(*name) : 0;
  const std::size_t last = name ? first + 1 : file->tensors().size();
  for (std::size_t i = first; i < last; ++i) {
    const TensorInfo& info = file->tensors()[i];
    const auto read = [file, i](std::int64_t from, std::span<float> values) {
      file->read(i, from, values);
    };
    sources.tensors.push_back({info.name, info.dtype, {info.shape, read}});
  }
  return sources;
}

Sources sources_of_distribution(const Request& request) {
  const Distribution distribution =
      naming("--distribution", [&] { return parse_distribution(request.text("--distribution")); });
  const std::int64_t size = request.whole("--size", 1, std::int64_t{1} << 40);
  const std::int64_t columns = request.whole("--columns", 1, std::int64_t{1} << 24);
  const auto seed = static_cast<std::uint64_t>(request.seed);
  const auto read = [=, threads = request.threads](std::int64_t first, std::span<float> values) {
    sample(distribution, seed, columns, first, values, threads);
  };
  Sources sources;
  const auto add = [&](std::vector<std::int64_t> shape) {
    sources.tensors.push_back(
        {to_string(distribution), "F32", {std::move(shape), read}, distribution});
  };
  if (size % columns == 0)
    add({size / columns, columns});
  else
    add({size});
  return sources;
}

Sources sources_of(const Request& request) {
  if (request.has("--input") == request.has("--distribution"))
    throw InputError("--input: either --input FILE[:name] or --distribution NAME is needed");
  if (request.has("--distribution")) return sources_of_distribution(request);
  return naming("--input", [&] { return sources_of_file(request.text("--input")); });
}

Json tensor_json(const NamedSource& tensor, const TensorStatistics& statistics) {
  const auto finite = static_cast<double>(statistics.finite());
  const auto per_finite = [&](double sum) { return finite > 0 ? sum / finite : 0; };
  Json binades = Json::array();
  for (std::size_t i = 0; i < statistics.binades.size(); ++i)
    if (statistics.binades[i] > 0)
      binades.push_back(
          {{"exponent", static_cast<int>(i) - 127}, {"count", statistics.binades[i]}});
  return {{"tensor", tensor.name},
          {"dtype", tensor.dtype},
          {"shape", tensor.source.shape},
          {"elements", statistics.elements},
          {"zeros", statistics.zeros},
          {"nan_count", statistics.nan_count},
          {"infinity_count", statistics.infinity_count},
          {"amax", statistics.amax},
          {"mean", per_finite(statistics.sum)},
          {"rms", std::sqrt(per_finite(statistics.sum_of_squares))},
          {"binades", binades}};
}

/// The closed form, where there is one: one scale for all, of a distribution.
std::optional<double> expected_of(const NamedSource& tensor, const Quantization& quantization,
                                  const TensorStatistics& statistics) {
  const bool one_scale = quantization.granularity == Granularity::none ||
                         quantization.granularity == Granularity::tensor;
  if (!tensor.distribution || !one_scale || quantization.overflow != Overflow::saturate ||
      quantization.rounding != default_rounding(quantization.number))
    return std::nullopt;
  if (quantization.granularity == Granularity::none)
    return expected_sqnr_db(quantization.number, 1, *tensor.distribution);
  const double scale = scale_of(quantization, static_cast<float>(statistics.amax));
  return expected_sqnr_db(quantization.number, scale, *tensor.distribution, statistics.amax,
                          statistics.elements);
}

Json result_json(const NamedSource& tensor, const Quantization& quantization,
                 const StudiedQuantization& studied, const TensorStatistics& statistics) {
  const QuantizationError& error = studied.error;
  Json result{{"format", to_string(quantization.number)},
              {"scaling", scaling_name(quantization)},
              {"tensor", tensor.name},
              {"sqnr_db", error.sqnr_db()},
              {"relative_l2", error.relative_l2()},
              {"max_abs_error", error.max_abs_error()},
              {"max_relative_error", error.max_relative_error()},
              {"underflow_fraction", error.underflow_fraction()},
              {"overflow_fraction", error.overflow_fraction()},
              {"nan_count", error.nan_count()},
              {"bits_per_element", studied.bits_per_element},
              {"scale_max", quantization.target},
              {"rounding", to_string(quantization.rounding)},
              {"codes_used", error.codes_used()},
              {"code_entropy_bits", error.code_entropy_bits()}};
  if (tensor.distribution) result["sqnr_db_standard_error"] = error.sqnr_db_standard_error();
  if (const auto expected = expected_of(tensor, quantization, statistics))
    result["sqnr_db_closed_form"] = *expected;
  return result;
}

/// JSON has neither infinity nor NaN: a tensor without any error counts as the best, one that
/// overflows as the worst, and of one that holds no finite number nothing is known.
double sqnr_of(const Json& result) {
  const Json& stored = result.at("sqnr_db");
  if (stored.is_number() && std::isfinite(stored.get<double>())) return stored.get<double>();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Json& error = result.at("relative_l2");
  if (error.is_number() && error.get<double>() == 0) return infinity;
  return result.at("overflow_fraction").get<double>() > 0
             ? -infinity
             : std::numeric_limits<double>::quiet_NaN();
}

/// Every format and scaling by its median over the tensors.
Json ranking_json(const Json& results) {
  struct Entry {
    Json format, scaling;
    std::vector<double> sqnr_db = {};
    double bits = 0;
    int best = 0;
  };
  std::vector<Entry> entries;
  std::map<std::string, std::pair<double, std::size_t>> best_of_tensor;
  for (const Json& result : results) {
    const double sqnr_db = sqnr_of(result);
    if (std::isnan(sqnr_db)) continue;
    auto entry = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) {
      return e.format == result.at("format") && e.scaling == result.at("scaling");
    });
    if (entry == entries.end())
      entry = entries.insert(entry, {result.at("format"), result.at("scaling")});
    entry->sqnr_db.push_back(sqnr_db);
    entry->bits += result.at("bits_per_element").get<double>();
    const auto here = std::pair(sqnr_db, static_cast<std::size_t>(entry - entries.begin()));
    const auto [best, is_new] = best_of_tensor.emplace(result.at("tensor"), here);
    if (!is_new && here.first > best->second.first) best->second = here;
  }
  for (const auto& [tensor, best] : best_of_tensor) ++entries[best.second].best;
  for (Entry& entry : entries) std::sort(entry.sqnr_db.begin(), entry.sqnr_db.end());
  const auto median = [](const Entry& entry) {
    const std::size_t middle = entry.sqnr_db.size() / 2;
    const double upper = entry.sqnr_db[middle];
    if (entry.sqnr_db.size() % 2 == 1) return upper;
    const double lower = entry.sqnr_db[middle - 1];
    // Between an overflow and an exact tensor there is no middle.
    return std::isinf(lower) && std::isinf(upper) ? lower : (lower + upper) / 2;
  };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const Entry& a, const Entry& b) { return median(a) > median(b); });
  Json ranking = Json::array();
  for (const Entry& entry : entries)
    ranking.push_back(
        {{"rank", ranking.size() + 1},
         {"format", entry.format},
         {"scaling", entry.scaling},
         {"median_sqnr_db", median(entry)},
         {"least_sqnr_db", entry.sqnr_db.front()},
         {"best_of_tensors", entry.best},
         {"bits_per_element", entry.bits / static_cast<double>(entry.sqnr_db.size())}});
  return ranking;
}

Json run(const Request& request) {
  if (request.has("--input")) request.refuse({"--size", "--columns"}, "goes with --distribution");
  const auto quantizations = quantizations_of(request);
  const Sources sources = sources_of(request);
  double work = 0;
  for (const auto& tensor : sources.tensors)
    work += 2 * static_cast<double>(matrix_view(tensor.source.shape).elements);

  Progress progress(work);
  Json tensors = Json::array(), results = Json::array(), codes = Json::array();
  for (const auto& tensor : sources.tensors) {
    const MatrixView view = matrix_view(tensor.source.shape);
    const auto slab = static_cast<double>(
        std::min<std::int64_t>(view.elements, std::max<std::int64_t>(1 << 20, 128 * view.columns)));
    require_memory(9 * slab,
                   fmt::format("'{}' with rows of {} elements", tensor.name, view.columns));
    progress.advance(0, tensor.name);
    const TensorStudy study = study_tensor(
        tensor.source, quantizations,
        [&](std::int64_t n) { progress.advance(static_cast<double>(n), tensor.name); },
        request.threads);
    tensors.push_back(tensor_json(tensor, study.statistics));
    for (std::size_t i = 0; i < quantizations.size(); ++i) {
      results.push_back(
          result_json(tensor, quantizations[i], study.quantizations[i], study.statistics));
      if (request.has("--codes")) codes.push_back(study.quantizations[i].error.codes());
    }
  }
  Json document{{"results", results}, {"ranking", ranking_json(results)}, {"tensors", tensors}};
  if (request.has("--codes")) document["codes"] = codes;
  Json skipped = Json::array();
  for (const auto& [name, reason] : sources.skipped)
    skipped.push_back({{"tensor", name}, {"reason", reason}});
  if (request.has("--downstream")) {
    std::vector<NamedTensor> named;
    for (const auto& tensor : sources.tensors) named.push_back({tensor.name, tensor.source});
    progress.advance(0, "linear layers and attention");
    Downstream downstream = downstream_of(
        named, quantizations, static_cast<std::uint64_t>(request.seed), request.threads);
    document["downstream"] = std::move(downstream.rows);
    for (auto& row : downstream.skipped) skipped.push_back(std::move(row));
  }
  if (!skipped.empty()) document["skipped"] = skipped;
  return document;
}

std::string decibels(double value) {
  if (std::isnan(value)) return "-";
  if (std::isinf(value)) return value > 0 ? "exact" : "overflow";
  if (std::abs(value) < 0.005) value = 0;  // not -0.00
  return fmt::format("{:.2f}", value);
}
std::string decibels(const Json& value) {
  return value.is_number() ? decibels(value.get<double>()) : "-";
}
std::string share(const Json& value) {
  const double fraction = value.get<double>();
  return fraction == 0 ? "0" : fmt::format("{:.2g}", 100 * fraction);
}

std::string text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  std::string out;
  Table tensors({{"tensor"},
                 {"type"},
                 {"shape"},
                 {"amax", right},
                 {"rms", right},
                 {"zeros", right},
                 {"NaN", right},
                 {"Inf", right}});
  for (const auto& row : document.at("tensors"))
    tensors.add({row.at("tensor").get<std::string>(), row.at("dtype").get<std::string>(),
                 extents_text(row.at("shape")), number_text(row.at("amax")),
                 number_text(row.at("rms")), number_text(row.at("zeros"), 12),
                 number_text(row.at("nan_count"), 12), number_text(row.at("infinity_count"), 12)});
  out += tensors.text(style) + '\n';

  const bool drawn = document.at("results").front().contains("sqnr_db_standard_error");
  std::vector<Table::Column> columns{{"tensor"}, {"format"}, {"scaling"}, {"SQNR, dB", right}};
  if (drawn) columns.insert(columns.end(), {{"s.e.", right}, {"closed form", right}});
  for (const char* heading : {"relative L2", "max error", "max relative", "to 0, %", "too large, %",
                              "codes used", "bits"})
    columns.push_back({heading, right});
  Table results(columns);
  for (const auto& row : document.at("results")) {
    std::vector<Table::Cell> cells{row.at("tensor").get<std::string>(),
                                   row.at("format").get<std::string>(),
                                   row.at("scaling").get<std::string>(), decibels(sqnr_of(row))};
    if (drawn) {
      cells.emplace_back(fmt::format("{:.3f}", row.at("sqnr_db_standard_error").get<double>()));
      cells.emplace_back(
          row.contains("sqnr_db_closed_form") ? decibels(row.at("sqnr_db_closed_form")) : "-");
    }
    cells.insert(cells.end(),
                 {number_text(row.at("relative_l2"), 4), number_text(row.at("max_abs_error"), 4),
                  number_text(row.at("max_relative_error"), 4), share(row.at("underflow_fraction")),
                  share(row.at("overflow_fraction")), number_text(row.at("codes_used")),
                  number_text(row.at("bits_per_element"), 6)});
    results.add(std::move(cells));
  }
  out += results.text(style);

  if (document.at("ranking").size() > 1 && document.at("tensors").size() > 1) {
    Table ranking({{"rank", right},
                   {"format"},
                   {"scaling"},
                   {"median SQNR, dB", right},
                   {"least", right},
                   {"best of tensors", right},
                   {"bits", right}});
    for (const auto& row : document.at("ranking"))
      ranking.add({number_text(row.at("rank")), row.at("format").get<std::string>(),
                   row.at("scaling").get<std::string>(), decibels(row.at("median_sqnr_db")),
                   decibels(row.at("least_sqnr_db")), number_text(row.at("best_of_tensors")),
                   number_text(row.at("bits_per_element"), 6)});
    out += '\n' + ranking.text(style);
  }
  if (document.contains("downstream") && !document.at("downstream").empty()) {
    Table downstream({{"operation"},
                      {"tensor"},
                      {"format"},
                      {"scaling"},
                      {"output error, %", right},
                      {"gradient errors, %"}});
    for (const auto& row : document.at("downstream")) {
      std::string gradients;
      for (const char* of : {"input", "weight", "q", "k", "v"})
        if (const auto name = fmt::format("{}_gradient_error", of); row.contains(name))
          gradients += fmt::format("{}{} {:.3f}", gradients.empty() ? "" : ", ", of,
                                   100 * row.at(name).get<double>());
      downstream.add({row.at("operation").get<std::string>(), row.at("tensor").get<std::string>(),
                      row.at("format").get<std::string>(), row.at("scaling").get<std::string>(),
                      fmt::format("{:.3f}", 100 * row.at("output_error").get<double>()),
                      gradients});
    }
    out += '\n' + downstream.text(style);
  }
  if (document.contains("skipped")) {
    out += '\n';
    for (const auto& row : document.at("skipped"))
      out += fmt::format("skipped: {} ({})\n", row.at("tensor").get<std::string>(),
                         row.at("reason").get<std::string>());
  }
  return out;
}

}  // namespace

Command quantize_command() {
  return {
      .name = "quantize",
      .summary = "The error an 8-bit format makes on your tensors",
      .example =
          "  ospsim quantize --format hif8,e4m3 --scaling tensor,tile128 --input "
          "model.safetensors\n"
          "  ospsim quantize --format hif8,e4m3,e5m2 --scaling none --distribution normal:0,1",
      .options =
          {{"--format",
            "F[,F..]",
            "hif8, e4m3, e5m2, mxfp8-e4m3, mxfp8-e5m2, int8",
            {},
            Option::Occurs::once},
           {"--scaling", "S[,S..]",
            "none, tensor, tensor-pow2, delayed (along the leading axis), token (row), channel "
            "(column), block32 (1 x 32), tile128 (1 x 128), block128x128; for hif8 also the "
            "paper's "
            "recipe: paper-forward, paper-backward",
            "tensor"},
           {"--scale-max", "X",
            "where the largest element is put; by default the format's largest number, for "
            "hif8 15"},
           {"--epsilon", "X", "the least an amax counts as; the paper's recipe has 1e-8"},
           {"--overflow", "ieee|saturate", "what is too large", "saturate"},
           {"--rounding", "ta|rne|hybrid|hybrid-exact|stochastic", "of hif8; by default ta"},
           {"--mx-rule", "floor|ratio|ceil|even", "of the MXFP8 scales", "floor"},
           {"--history", "N", "steps that delayed scaling looks back", "1024"},
           {"--input", "FILE[:name]",
            ".npy, .safetensors, .safetensors.index.json or HDF5; all tensors, or one"},
           {"--distribution", "NAME[:A,B]",
            "normal:MEAN,STD, laplace:MEAN,SCALE, student-t:FREEDOM,SCALE, uniform:LOW,HIGH, "
            "binade:EXPONENT, lognormal:MEAN,STD, outliers:STD,EVERY,FACTOR"},
           {"--size", "N", "elements to draw", "1048576"},
           {"--columns", "N", "of the matrix drawn", "1024"},
           {"--codes", "", "also how often each code occurs, in results' order"},
           {"--downstream", "",
            "also what it does to the output and the gradients of a linear layer with each matrix "
            "as its weight, and of attention with tensors q, k, v [heads, tokens, head_dim]; "
            "beside "
            "bf16, against float32"}},
      .run = run,
      .text = text};
}

}  // namespace ospsim
