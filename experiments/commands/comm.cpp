#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "experiments/cli/pattern_options.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/comm/comm_study.hpp"
#include "experiments/commands/commands.hpp"
#include "kernels_ref/names.hpp"

namespace ospsim {
namespace {

constexpr int most_ranks = 1024;

CommEngine engine_of(const Request& request) {
  constexpr Named<CommEngine> names[]{
      {"formula", CommEngine::formula}, {"mpi", CommEngine::mpi}, {"simgrid", CommEngine::simgrid}};
  return naming("--engine", [&] { return parse_name(names, "engine", request.text("--engine")); });
}

std::optional<int> degree_of(const Request& request, const std::string& option) {
  if (!request.has(option)) return std::nullopt;
  return static_cast<int>(request.whole(option, 1, most_ranks));
}

/// What the engines run where nothing is said: the paper's 768P shape, or one that eight processes
/// on a small machine compute in a second.
Grid grid_or_default(const Request& request, CommEngine engine) {
  if (request.has("--grid") || request.has("--resolution")) return grid_of(request);
  request.refuse({"--frames"}, frames_need_resolution);
  return engine == CommEngine::mpi ? Grid{5, 16, 16} : grid_of_video("768p", 81);
}

/// Skiparse-2D has the paper's ratio where none is given.
Pattern pattern_or_default(Request request) {
  if (!request.has("--ratio") && request.text("--pattern") == "skiparse-2d")
    request.values["--ratio"] = {"2"};
  return pattern_of(request);
}

std::optional<Model> model_of(const Request& request) {
  if (!request.has("--model")) return std::nullopt;
  return naming("--model", [&] { return find_model(request.text("--model")); });
}

void set_heads(std::int64_t heads, std::int64_t width, Sequence& sequence) {
  if (width % heads != 0)
    throw InputError(fmt::format("--heads: {} heads do not divide a width of {}", heads, width));
  sequence.heads = heads;
  sequence.head_dim = width / heads;
}

/// Heads and head_dim; a head is 128 wide unless said otherwise.
void set_width(const Request& request, CommEngine engine, const std::optional<Model>& model,
               Sequence& sequence) {
  if (model && !request.has("--hidden") && engine != CommEngine::mpi) {
    set_heads(request.has("--heads") ? request.whole("--heads", 1, 1 << 20) : model->heads,
              model->dim(), sequence);
    return;
  }
  const std::int64_t hidden = request.has("--hidden")     ? request.whole("--hidden", 1, 1 << 24)
                              : engine == CommEngine::mpi ? 512
                                                          : 5120;
  if (!request.has("--heads") && hidden % 128 != 0)
    throw InputError(fmt::format("--hidden: {} is not a multiple of 128; give --heads", hidden));
  const std::int64_t heads = request.has("--heads") ? request.whole("--heads", 1, 1 << 20)
                             : request.has("--hidden") || engine != CommEngine::mpi ? hidden / 128
                                                                                    : 8;
  set_heads(heads, hidden, sequence);
  if (engine == CommEngine::mpi && sequence.head_dim % 2 != 0)
    throw InputError(
        fmt::format("--heads: {} channels a head; RoPE needs an even number", sequence.head_dim));
}

CommQuestion question_of(const Request& request) {
  CommQuestion question{.model = model_of(request), .engine = engine_of(request)};
  const bool runs = question.engine == CommEngine::mpi;
  if (question.engine != CommEngine::simgrid)
    request.refuse({"--platform", "--replicas", "--placement", "--schedule"},
                   "goes with --engine simgrid");
  if (!runs) request.refuse({"--repetitions"}, "goes with --engine mpi");
  if (!question.model) request.refuse({"--boundary"}, "goes with --model");
  Sequence& sequence = question.sequence;
  sequence.grid = grid_or_default(request, question.engine);
  sequence.pattern = pattern_or_default(request);
  sequence.batch = request.whole("--batch", 1, 1 << 20);
  set_width(request, question.engine, question.model, sequence);
  if (question.model && question.model->sparse_blocks() > 0)
    question.model->pattern = sequence.pattern;
  if (question.model) question.model->heads = sequence.heads;
  if (question.model) question.model->head_dim = sequence.head_dim;

  question.bytes_per_element = request.has("--bytes-per-element")
                                   ? static_cast<int>(request.whole("--bytes-per-element", 1, 16))
                               : runs ? 4
                                      : 2;
  if (runs && question.bytes_per_element != 2 && question.bytes_per_element != 4)
    throw InputError("--bytes-per-element: engine mpi moves float32 (4) or bf16 (2)");
  question.repetitions = static_cast<int>(request.whole("--repetitions", 1, 10'000));
  question.threads = request.threads;
  question.seed = static_cast<std::uint64_t>(request.seed);
  question.replicas = static_cast<int>(request.whole("--replicas", 1, 1 << 20));
  question.placement =
      naming("--placement", [&] { return parse_placement(request.text("--placement")); });
  question.all_to_all =
      naming("--schedule", [&] { return parse_all_to_all(request.text("--schedule")); });
  if (question.engine == CommEngine::simgrid)
    question.platform =
        naming("--platform", [&] { return load_platform(request.text("--platform")); });
  return question;
}

/// The strategy's answer; one that cannot run as asked says why instead, unless it alone was asked
/// for.
Json answer_of(const Request& request, CommQuestion question, Strategy strategy, bool alone) {
  const auto boundary =
      naming("--boundary", [&] { return parse_boundary(request.text("--boundary")); });
  const auto ranks = static_cast<int>(request.whole("--ranks", 1, most_ranks));
  const bool splits = strategy == Strategy::usp || strategy == Strategy::ssp_ulysses;
  auto ulysses = degree_of(request, "--ulysses-ranks"), ring = degree_of(request, "--ring-ranks");
  if (!alone && !splits) ulysses.reset();
  if (!alone && strategy != Strategy::usp) ring.reset();
  const char* option = ulysses ? "--ulysses-ranks" : ring ? "--ring-ranks" : "--ranks";
  try {
    question.parallelism = naming(option, [&] {
      return make_parallelism(strategy, ranks, ulysses, ring, boundary, question.sequence);
    });
  } catch (const InputError& error) {
    if (alone) throw;
    return {{"strategy", to_string(strategy)}, {"refused", error.what()}};
  }
  return answer(question);
}

Json run(const Request& request) {
  const CommQuestion question = question_of(request);
  const Sequence& sequence = question.sequence;
  const Layout layout = layout_of(sequence.pattern, sequence.grid, Phase::token);

  Json document = pattern_fields(sequence.grid, sequence.pattern);
  document["padded_tokens"] = layout.padded_tokens();
  document["sparsity"] = layout.subsequences();
  document["batch"] = sequence.batch;
  document["ranks"] = request.whole("--ranks", 1, most_ranks);
  document["hidden"] = sequence.dim();
  document["heads"] = sequence.heads;
  document["bytes_per_element"] = question.bytes_per_element;
  document["engine"] = request.text("--engine");
  document["boundary"] = request.text("--boundary");
  if (question.model) document["model"] = question.model->name;
  if (question.platform) document["platform"] = question.platform->name;

  const std::string& asked = request.text("--strategy");
  if (asked != "all") {
    const Strategy strategy = naming("--strategy", [&] { return parse_strategy(asked); });
    document.update(answer_of(request, question, strategy, true));
    return document;
  }
  document["strategies"] = Json::array();
  Progress progress(static_cast<double>(all_strategies().size()));
  for (const Strategy strategy : all_strategies()) {
    progress.advance(0, std::string(to_string(strategy)));
    Json row = answer_of(request, question, strategy, false);
    progress.advance(1, "");
    if (!row.value("holds", true)) document["holds"] = false;
    document["strategies"].push_back(std::move(row));
  }
  return document;
}

// ---- As text ------------------------------------------------------------------------------------

std::string megabytes(const Json& bytes) {
  return fmt::format("{:.3f}", bytes.get<double>() / 1e6);
}

std::string degrees_text(const Json& row) {
  std::vector<std::string> words;
  for (const char* degree : {"ssp", "ulysses", "ring"}) {
    const int ranks = row.at(std::string(degree) + "_ranks").get<int>();
    if (ranks > 1) words.push_back(fmt::format("{} {}", degree, ranks));
  }
  return words.empty() ? "-" : fmt::format("{}", fmt::join(words, " x "));
}

/// One table row per strategy: what all engines say, then what the engine adds.
Table table_of(const std::vector<Json>& rows, const Json& document) {
  constexpr auto right = Table::Align::right;
  const std::string engine = document.at("engine").get<std::string>();
  const char* field = document.contains("model") ? "per_forward" : "per_block";
  std::vector<Table::Column> columns{{"strategy"},
                                     {"degrees"},
                                     {"collectives", right},
                                     {"steps", right},
                                     {"sent/rank, MB", right}};
  const auto add_columns = [&](std::initializer_list<const char*> headings) {
    for (const char* heading : headings) columns.push_back({heading, right});
  };
  if (engine == "formula") add_columns({"to ulysses"});
  if (engine == "mpi") {
    add_columns({"time, ms", "busbw, GB/s", "max difference"});
    columns.push_back({"formula = ledger = calls = wire"});
  }
  if (engine == "simgrid")
    add_columns({"time, ms", "closed form", "wire", "latency", "packing", "computing", "exposed",
                 "busbw, GB/s"});
  double ulysses = 0;
  for (const Json& row : rows)
    if (row.at("strategy") == "ulysses" && row.contains(field))
      ulysses = row.at(field).at("sent_bytes_per_rank").get<double>();

  Table table(columns);
  for (const Json& row : rows) {
    std::vector<Table::Cell> cells{row.at("strategy").get<std::string>()};
    if (row.contains("refused")) {
      cells.resize(columns.size(), Table::Cell("-", Colour::dim));
      table.add(std::move(cells));
      continue;
    }
    const Json& traffic = row.at(field);
    const double sent = traffic.at("sent_bytes_per_rank").get<double>();
    cells.insert(cells.end(),
                 {degrees_text(row), traffic.at("collectives").dump(), traffic.at("steps").dump(),
                  megabytes(traffic.at("sent_bytes_per_rank"))});
    const auto bus = [&](double time_ms) {
      return time_ms > 0 ? fmt::format("{:.3f}", sent / time_ms / 1e6) : std::string("-");
    };
    if (engine == "formula")
      cells.emplace_back(ulysses > 0 ? fmt::format("{:.3f}", sent / ulysses) : "-");
    if (engine == "mpi") {
      const bool agree = row.at("counts_agree").get<bool>();
      cells.emplace_back(fmt::format("{:.3f}", row.at("time_ms").get<double>()));
      cells.emplace_back(bus(row.at("time_ms").get<double>()));
      cells.emplace_back(number_text(row.at("max_abs_difference"), 2));
      cells.emplace_back(agree ? "yes" : "NO", agree ? Colour::green : Colour::red);
    }
    if (engine == "simgrid") {
      const Json& times = row.at("simulated");
      for (const char* name : {"time_ms", "closed_form_ms", "wire_ms", "latency_ms", "packing_ms",
                               "computation_ms", "exposed_ms"})
        cells.emplace_back(fmt::format("{:.3f}", times.at(name).get<double>()));
      cells.emplace_back(bus(times.at("time_ms").get<double>()));
    }
    table.add(std::move(cells));
  }
  return table;
}

std::string breakdown_text(const Json& row, const Style& style) {
  constexpr auto right = Table::Align::right;
  Table table({{"part of the forward"},
               {"collectives", right},
               {"steps", right},
               {"sent/rank, MB", right}});
  for (const Json& part : row.at("per_forward").at("breakdown"))
    table.add({part.at("part").get<std::string>(), part.at("collectives").dump(),
               part.at("steps").dump(), megabytes(part.at("sent_bytes_per_rank"))});
  return '\n' + table.text(style);
}

std::string text(const Json& document, const Style& style) {
  const bool forward = document.contains("model");
  const std::string engine = document.at("engine").get<std::string>();
  std::string out = facts({
      {"grid", fmt::format("{} tokens, {} in all, {} padded", extents_text(document.at("grid")),
                           document.at("tokens").dump(), document.at("padded_tokens").dump())},
      {"pattern", fmt::format("{}: {}", document.at("pattern").get<std::string>(),
                              document.at("spelled").get<std::string>())},
      {"width", fmt::format("{} channels, {} heads, {} bytes per element, batch {}",
                            document.at("hidden").dump(), document.at("heads").dump(),
                            document.at("bytes_per_element").dump(), document.at("batch").dump())},
      {"ranks", document.at("ranks").dump()},
      {"of", forward ? fmt::format("one forward pass of {}, boundaries by {}",
                                   document.at("model").get<std::string>(),
                                   document.at("boundary").get<std::string>())
                     : "one sparse block in a steady state, forward"},
  });
  if (document.contains("platform"))
    out += facts({{"platform", document.at("platform").get<std::string>()}});
  std::vector<Json> rows;
  if (document.contains("strategies"))
    for (const Json& row : document.at("strategies")) rows.push_back(row);
  else
    rows.push_back(document);
  out += '\n' + table_of(rows, document).text(style);
  if (rows.size() == 1 && forward) out += breakdown_text(rows.front(), style);
  for (const Json& row : rows)
    if (row.contains("refused"))
      out += fmt::format("\n{}: {}", row.at("strategy").get<std::string>(),
                         row.at("refused").get<std::string>());
  if (engine == "formula")
    out += "\nBytes that leave a rank, the largest rank; exact.\n";
  else if (engine == "mpi")
    out +=
        "\nReal processes on this machine's memory: time is software overhead, no network. Median "
        "of the exchanges alone;\nbusbw = sent / time; the difference is to what one rank "
        "computes.\n";
  else
    out +=
        "\nSimulated (SimGrid); time is of the exchanges alone = wire + latency; exposed is what "
        "exchanges and packing add\nto computing. Computing and packing are modelled by the "
        "platform's sustained rates.\n";
  return out;
}

}  // namespace

Command comm_command() {
  std::vector<std::string_view> strategies;
  for (const Strategy strategy : all_strategies()) strategies.push_back(to_string(strategy));
  std::vector<Option> grid = grid_options();
  grid[0].help += "; default that of 768p, engine mpi 5x16x16";
  std::vector<Option> pattern = pattern_options();
  pattern[0].default_value = "skiparse-2d";
  pattern[0].occurs = Option::Occurs::optional;
  pattern[1].help += "; skiparse-2d: 2 unless given";
  return {
      .name = "comm",
      .summary = "Bytes, steps and time of sequence parallelism, per block and per forward pass",
      .example =
          "  ospsim comm --ranks 4 --resolution 720p\n"
          "  ospsim comm --strategy ssp-ulysses --ranks 8 --resolution 768p --model osp-next-14b\n"
          "  ospsim comm --engine mpi --ranks 8\n"
          "  ospsim comm --engine simgrid --ranks 8 --replicas 16 --platform h200-ndr "
          "--model osp-next-14b",
      .options = joined(
          {{{"--strategy", "S", fmt::format("{}; all: side by side", fmt::join(strategies, ", ")),
             "all"},
            {"--ranks", "R", "that share one sample", "8"},
            {"--ulysses-ranks", "U", "of usp, ssp-ulysses; default: what heads, what ssp allow"},
            {"--ring-ranks", "Q", "of usp"}},
           grid,
           pattern,
           {{"--hidden", "D",
             "channels; default 5120 or the model's, with engine mpi 512 in 8 heads"},
            {"--heads", "H", "default D / 128"},
            {"--bytes-per-element", "B", "on the wire; default 2, engine mpi 4"},
            {"--batch", "N", "samples that share text and time step", "1"},
            {"--model", "M",
             fmt::format("{}: its whole forward pass too", fmt::join(model_names(), ", "))},
            {"--boundary", "B", "between full and sparse blocks: all-gather or reshard",
             "all-gather"},
            {"--engine", "E",
             "formula: closed form; mpi: real processes, counted three ways; simgrid: simulated "
             "time",
             "formula"},
            {"--repetitions", "N", "engine mpi: of the timed exchanges", "7"},
            {"--platform", "F",
             fmt::format("engine simgrid: {} or a JSON file", fmt::join(platform_names(), ", ")),
             "h200-ndr"},
            {"--replicas", "N", "engine simgrid: groups of R ranks side by side", "1"},
            {"--placement", "P", "engine simgrid: packed, or strided over the nodes", "packed"},
            {"--schedule", "S", "engine simgrid: all parts concurrent, or pairwise rounds",
             "concurrent"}}}),
      .run = run,
      .text = text};
}

}  // namespace ospsim
