#include "analysis/recall.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "experiments/cli/pattern_options.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/commands/commands.hpp"
#include "experiments/commands/recall_tensors.hpp"

namespace ospsim {
namespace {

/// What --pattern or --against names, as masks.
struct Attended {
  Json fields;  ///< what its document starts with
  std::vector<Mask> phases;
};

Attended attended_of(const Request& request, const Grid& grid, const std::string& option,
                     const std::string& ratio_option) {
  const std::string& text = request.text(option);
  if (is_mask(text)) {
    Attended attended{mask_fields(grid, text),
                      {naming(option, [&] { return parse_mask(text, grid); })}};
    attended.fields["sparsity"] = sparsity(attended.phases.front());
    attended.fields["phase_sparsity"] = {attended.fields["sparsity"]};
    return attended;
  }
  const auto parse = [&](std::string_view pattern, Ratio ratio) {
    const bool per_frame = option == "--pattern" && request.has("--per-frame");
    return per_frame ? parse_pattern(pattern, ratio, true)
                     : compared_pattern(pattern, ratio, request.has("--whole-video"));
  };
  const Pattern pattern = pattern_of(request, option, ratio_option, parse);
  return naming(option, [&] {
    const Phases phases(pattern, grid);
    Attended attended{pattern_fields(grid, pattern), masks_of(pattern, grid)};
    attended.fields["sparsity"] = phases.token.subsequences();
    attended.fields["phase_sparsity"] = {phases.token.subsequences()};
    if (pattern.phase_count() == 2)
      attended.fields["phase_sparsity"].push_back(phases.group.subsequences());
    return attended;
  });
}

QuerySample sample_of(const Request& request) {
  if (request.text("--queries") == "1")
    throw InputError("--queries: one query says nothing about the spread; 0 is all of them");
  return {.count = request.whole("--queries", 0, max_tokens),
          .seed = static_cast<std::uint64_t>(request.seed)};
}

std::vector<PhaseError> errors_of(const Attended& attended, double bandwidth,
                                  const QuerySample& sample, int threads) {
  return phase_errors(attended.phases, AttentionModel::isotropic(bandwidth), sample, threads);
}

Json bandwidth_json(double bandwidth) {
  return std::isinf(bandwidth) ? Json("infinite") : Json(bandwidth);
}

/// Of a PhaseError or TensorPhaseError.
template <class Error>
Json phase_json(std::size_t position, const Error& error) {
  return {{"phase", to_string(position == 0 ? Phase::token : Phase::group)},
          {"recall", error.recall.value},
          {"recall_se", error.recall.standard_error},
          {"output_error", error.output_error.value},
          {"output_error_se", error.output_error.standard_error}};
}

Json errors_json(double bandwidth, const std::vector<PhaseError>& errors) {
  Json phases = Json::array();
  for (std::size_t i = 0; i < errors.size(); ++i) phases.push_back(phase_json(i, errors[i]));
  return {{"bandwidth", bandwidth_json(bandwidth)},
          {"output_error", output_error(errors)},
          {"phases", std::move(phases)}};
}

/// By the model of attention: the bandwidth asked for, and the table of them.
Json modelled(const Request& request, const std::vector<Attended>& compared) {
  const double bandwidth =
      request.number("--bandwidth", 1e-12, std::numeric_limits<double>::infinity());
  const QuerySample sample = sample_of(request);
  Progress progress(static_cast<double>(compared.size() * (1 + table_bandwidths.size())));
  Json documents = Json::array();
  std::vector<std::vector<double>> table_errors;
  for (const auto& attended : compared) {
    const auto at = [&](double s) {
      progress.advance(
          0, fmt::format("{}, bandwidth {}", attended.fields.at("spelled").get<std::string>(), s));
      const auto errors = errors_of(attended, s, sample, request.threads);
      progress.advance(1, "");
      return errors;
    };
    Json document = attended.fields;
    document.update(errors_json(bandwidth, at(bandwidth)));
    document["table"] = Json::array();
    table_errors.emplace_back();
    for (const double s : table_bandwidths) {
      const auto errors = at(s);
      document["table"].push_back(errors_json(s, errors));
      table_errors.back().push_back(output_error(errors));
    }
    documents.push_back(std::move(document));
  }

  Json document = std::move(documents.at(0));
  document["how"] = "modelled";
  if (compared.size() == 2) {
    std::vector<double> differences;
    for (std::size_t i = 0; i < table_bandwidths.size(); ++i)
      differences.push_back(table_errors[0][i] - table_errors[1][i]);
    document["against"] = std::move(documents.at(1));
    document["crossovers"] = crossovers(table_bandwidths, differences, [&](double s) {
      return output_error(errors_of(compared[0], s, sample, request.threads)) -
             output_error(errors_of(compared[1], s, sample, request.threads));
    });
  }
  return document;
}

/// On the q, k and v of --input or --synthetic.
Json measured(const Request& request, const Grid& grid, const std::vector<Attended>& compared) {
  std::vector<MaskedPattern> patterns;
  for (const auto& attended : compared)
    patterns.push_back({attended.fields.at("spelled").get<std::string>(), attended.phases});
  const TensorErrors errors = tensor_errors(request, grid, patterns, sample_of(request));

  Json documents = Json::array();
  for (std::size_t p = 0; p < compared.size(); ++p) {
    const PatternError& pattern = errors.patterns[p];
    Json document = compared[p].fields;
    document["output_error"] = pattern.output_error.value;
    document["output_error_se"] = pattern.output_error.standard_error;
    document["phases"] = Json::array();
    for (std::size_t i = 0; i < pattern.phases.size(); ++i) {
      Json phase = phase_json(i, pattern.phases[i]);
      phase["head_recall"] = pattern.phases[i].head_recall;
      phase["head_output_error"] = pattern.phases[i].head_output_error;
      document["phases"].push_back(std::move(phase));
    }
    if (pattern.two_layers)
      document["two_layers"] = {{"of_update", pattern.two_layers->of_update.value},
                                {"of_update_se", pattern.two_layers->of_update.standard_error},
                                {"of_output", pattern.two_layers->of_output.value},
                                {"of_output_se", pattern.two_layers->of_output.standard_error},
                                {"heads", errors.two_layer_heads}};
    documents.push_back(std::move(document));
  }
  Json document = std::move(documents.at(0));
  if (compared.size() == 2) document["against"] = std::move(documents.at(1));
  document["how"] = "measured-cpu";
  document["heads"] = errors.heads;
  document["queries"] = errors.queries;
  document["effective_tokens"] = errors.effective_tokens.value;
  document["effective_tokens_se"] = errors.effective_tokens.standard_error;
  document["head_effective_tokens"] = errors.head_effective_tokens;
  return document;
}

Json run(const Request& request) {
  const Grid grid = grid_of(request);
  if (!asks_for_tensors(request) && std::max({grid.t, grid.h, grid.w}) > longest_axis)
    throw InputError(fmt::format("--grid: {} is longer than {} tokens along an axis",
                                 to_string(grid), longest_axis));
  if (request.has("--against-ratio") && !request.has("--against"))
    throw InputError("--against-ratio: is of --against, which is not given");
  if (request.has("--per-frame") && request.has("--whole-video"))
    throw InputError("--whole-video: give either it or --per-frame");
  std::vector<Attended> compared{attended_of(request, grid, "--pattern", "--ratio")};
  if (request.has("--against"))
    compared.push_back(attended_of(request, grid, "--against", "--against-ratio"));
  return asks_for_tensors(request) ? measured(request, grid, compared)
                                   : modelled(request, compared);
}

std::string with_error(const Json& value, const Json& standard_error) {
  const std::string number = fmt::format("{:.5f}", value.get<double>());
  if (standard_error == 0) return number;
  return number + fmt::format(" +- {:.5f}", standard_error.get<double>());
}

/// The rows of one pattern's document.
void add_rows(Table& table, const Json& document) {
  for (const auto& row : document.at("table")) {
    std::vector<Table::Cell> cells{document.at("spelled").get<std::string>(),
                                   number_text(row.at("bandwidth")),
                                   fmt::format("{:.5f}", row.at("output_error").get<double>())};
    for (const auto& phase : row.at("phases")) {
      cells.push_back(with_error(phase.at("output_error"), phase.at("output_error_se")));
      cells.push_back(with_error(phase.at("recall"), phase.at("recall_se")));
    }
    while (cells.size() < 7) cells.emplace_back("-");
    table.add(std::move(cells));
  }
}

std::string errors_text(const Json& of) {
  std::string text;
  for (const auto& phase : of.at("phases"))
    text += fmt::format("{}{} phase {}, recall {}", text.empty() ? "" : "; ",
                        phase.at("phase").get<std::string>(),
                        with_error(phase.at("output_error"), phase.at("output_error_se")),
                        with_error(phase.at("recall"), phase.at("recall_se")));
  return fmt::format("{}  ({})",
                     with_error(of.at("output_error"), of.value("output_error_se", Json(0))), text);
}

std::string two_layers_text(const Json& of) {
  const Json& two = of.at("two_layers");
  return fmt::format("{} of what they add, {} of their output",
                     with_error(two.at("of_update"), two.at("of_update_se")),
                     with_error(two.at("of_output"), two.at("of_output_se")));
}

/// How errors grow with the bandwidth of attention.
std::string table_text(const Json& document, const Style& style) {
  constexpr auto right = Table::Align::right;
  Table table({{"pattern"},
               {"bandwidth, tokens", right},
               {"output error", right},
               {"token phase", right},
               {"recall", right},
               {"group phase", right},
               {"recall", right}});
  add_rows(table, document);
  if (document.contains("against")) add_rows(table, document.at("against"));
  std::string out = '\n' + table.text(style);
  if (document.contains("crossovers")) {
    std::string places;
    for (const auto& s : document.at("crossovers"))
      places += fmt::format("{}{:.3f}", places.empty() ? "" : ", ", s.get<double>());
    out += places.empty()
               ? "\nThe same one has the smaller error at every bandwidth of the table.\n"
               : fmt::format("\nThey change places at a bandwidth of {} tokens.\n", places);
  }
  return out;
}

std::string text(const Json& document, const Style& style) {
  const bool measured = document.contains("effective_tokens");
  std::vector<std::pair<std::string, std::string>> lines{
      {"grid", fmt::format("{} tokens, {} in all", extents_text(document.at("grid")),
                           document.at("tokens").dump())}};
  if (measured)
    lines.emplace_back("attention",
                       fmt::format("of {} heads, {} queries; a query attends to {:.0f} tokens "
                                   "(exp of the entropy, on average)",
                                   document.at("heads").dump(), document.at("queries").dump(),
                                   document.at("effective_tokens").get<double>()));
  else
    lines.emplace_back("attention", fmt::format("Gaussian around the query, standard deviation {} "
                                                "tokens; 2 frames where frames are mixed",
                                                number_text(document.at("bandwidth"))));
  const auto add = [&](const std::string& what, const Json& of) {
    lines.emplace_back(what, of.at("spelled").get<std::string>());
    lines.emplace_back("sparsity", phases_text(of.at("phase_sparsity")));
    lines.emplace_back("output error", errors_text(of));
    if (of.contains("two_layers")) lines.emplace_back("two layers", two_layers_text(of));
  };
  add("pattern", document);
  if (document.contains("against")) add("against", document.at("against"));
  return facts(lines) + (measured ? "" : table_text(document, style)) +
         "\nOutput error: relative to full attention's output, root mean square" +
         (measured ? "" : ", expected") + "; recall: the share of attention that is kept.\n" +
         (measured ? "+-: standard error of sampling queries.\n"
                   : "Exact, but for what has a standard error (+-): that rests on sampled "
                     "queries.\n");
}

}  // namespace

Command recall_command() {
  return {
      .name = "recall",
      .summary = "What a pattern keeps of full attention, and the error of its output",
      .example =
          "  ospsim recall --grid 21x48x80 --pattern skiparse-2d --ratio 2\n"
          "  ospsim recall --resolution 720p --pattern skiparse-2d --ratio 2 --against "
          "skiparse-1d --against-ratio 4\n"
          "  ospsim recall --resolution 768p --pattern sliding-tile:window=3x3x3 --bandwidth 8\n"
          "  ospsim recall --resolution 480p --pattern skiparse-2d --ratio 2 --input "
          "qkv.safetensors\n"
          "  ospsim recall --resolution 480p --pattern skiparse-2d --ratio 2 --synthetic "
          "--effective-tokens 500",
      .options = joined(
          {grid_options(),
           pattern_or_mask_options(),
           {{"--whole-video", "",
             "skiparse-1d: flatten and pad the whole video at once; here each frame by itself "
             "unless asked (elsewhere --per-frame asks for that)"},
            {"--bandwidth", "S",
             "standard deviation of attention around the query, in tokens, or inf", "3"},
            {"--against", "P", "a second pattern or mask, and where the two change places"},
            {"--against-ratio", "K", "its ratio"},
            {"--queries", "N",
             "how many queries stand for all, on tensors and where the pattern is no product "
             "over t, y and x; 0: all",
             "4096"}},
           tensor_options()}),
      .run = run,
      .text = text};
}

}  // namespace ospsim
