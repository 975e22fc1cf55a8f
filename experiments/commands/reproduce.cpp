#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "experiments/claims/claims.hpp"
#include "experiments/commands/commands.hpp"
#include "experiments/experiment.hpp"
#include "experiments/store/part_file.hpp"
#include "experiments/store/tree.hpp"
#include "kernels_ref/cuda/device.hpp"

namespace ospsim {
namespace {

/// What experiments found: of record, or run now and kept. Those that no claim asks for cost
/// nothing.
class ExperimentDocuments {
 public:
  explicit ExperimentDocuments(const Request& request)
      : run_(!request.has("--quick")), record_(request.has("--record")), request_(request) {}

  const Json& document(const std::string& name) {
    const auto [found, is_new] = documents_.try_emplace(name);
    Json& document = found->second;
    if (!document.is_null()) return document;
    const Experiment& experiment = find_experiment(name);
    if (run_ && can_run(experiment)) {
      request_.command = "run";
      request_.values = {{"NAME", {name}}};
      require_writable(result_path(name, record_));
      document = experiment.run(request_);
      save_result(document, request_.provenance(), result_path(name, record_));
    } else {
      const std::string path = path_in_tree(file(name));
      if (!std::filesystem::exists(path))
        throw UnavailableError(
            fmt::format("{}no result of record: {}",
                        can_run(experiment) ? "" : "no " + experiment.needs + ", ", file(name)));
      document = load_result(path).at("document");
    }
    return document;
  }
  /// What this machine cannot run is read from the record, as what takes long is with --quick.
  std::string file(const std::string& name) const {
    return result_file(name, record_ || !run_ || !can_run(find_experiment(name)));
  }

 private:
  static bool can_run(const Experiment& experiment) {
    return experiment.needs.empty() || cuda_status().available;
  }

  bool run_, record_;
  Request request_;
  std::map<std::string, Json> documents_;
};

Json json_of(const std::optional<Value>& value) {
  if (!value) return Json();
  return std::visit([](auto v) { return Json(v); }, *value);
}

Json tolerance_json(const Claim& claim) {
  if (claim.absolute_tolerance) return Json{{"absolute", *claim.absolute_tolerance}};
  if (claim.relative_tolerance) return Json{{"relative", *claim.relative_tolerance}};
  return Json();
}

Json claim_json(const Verdict& verdict, const ExperimentDocuments& experiments) {
  const Claim& claim = *verdict.claim;
  const bool from_file = verdict.ours && !claim.experiment.empty();
  return {{"id", claim.id},
          {"source", claim.source},
          {"statement", claim.statement},
          {"kind", claim.kind},
          {"published", json_of(claim.published)},
          {"ours", json_of(verdict.ours)},
          {"unit", claim.unit},
          {"how", claim.how},
          {"tolerance", tolerance_json(claim)},
          {"status", verdict.status},
          {"expected", claim.expected},
          {"reason", verdict.reason},
          {"result_file", from_file ? Json(experiments.file(claim.experiment)) : Json()}};
}

Json run(const Request& request) {
  const auto claims = naming("--claims", [&] {
    return load_claims(request.has("--claims") ? request.text("--claims") : default_claims_path());
  });
  ExperimentDocuments experiments(request);
  const auto verdicts = naming("--claim", [&] {
    return judge(claims, request.list("--claim"), [&](const std::string& name) -> const Json& {
      return experiments.document(name);
    });
  });

  Json rows = Json::array(), unexpected = Json::array();
  std::map<std::string, int> count;
  for (const auto& verdict : verdicts) {
    rows.push_back(claim_json(verdict, experiments));
    ++count[verdict.status];
    if (verdict.status != verdict.claim->expected) unexpected.push_back(verdict.claim->id);
  }
  return {{"claims", rows},
          {"count", count},
          {"unexpected", unexpected},
          {"asked", request.has("--claim")},
          {"listed", request.has("--all") || request.has("--claim") ? "all" : "computed"},
          {"holds", unexpected.empty()}};
}

Colour colour_of(const std::string& status) {
  if (status == "reproduced") return Colour::green;
  if (status == "contradicted") return Colour::red;
  return status == "outside-tolerance" ? Colour::yellow : Colour::dim;
}

Table table_of(const std::vector<Json>& rows) {
  constexpr int shown_digits = 7;
  constexpr auto right = Table::Align::right;
  Table table({{"claim"},
               {"statement", Table::Align::left, true},
               {"paper", right},
               {"ours", right},
               {"unit"},
               {"how"},
               {"status"}});
  for (const auto& row : rows) {
    const auto field = [&](const char* name) { return row.at(name).get<std::string>(); };
    table.add({field("id"),
               field("statement"),
               number_text(row.at("published"), shown_digits),
               number_text(row.at("ours"), shown_digits),
               field("unit"),
               field("how"),
               {field("status"), colour_of(field("status"))}});
  }
  return table;
}

std::string topic_of(const Json& row) {
  const auto id = row.at("id").get<std::string>();
  return id.substr(0, id.find('.'));
}

std::string counts(const std::map<std::string, int>& of_status, const Style& style) {
  std::string out;
  for (const auto& [status, count] : of_status)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count,
                       style.paint(status, colour_of(status)));
  return out;
}

/// The rows of one topic. Those without a number of ours are counted unless `all` are wanted.
std::string topic_text(const std::string& topic, const std::vector<Json>& rows, bool all,
                       const Style& style) {
  std::vector<Json> listed;
  std::map<std::string, int> counted;
  for (const auto& row : rows) {
    if (all || !row.at("ours").is_null())
      listed.push_back(row);
    else
      ++counted[row.at("status").get<std::string>()];
  }
  std::string out = style.paint(topic, Colour::blue) + '\n';
  if (!listed.empty()) out += table_of(listed).text(style);
  if (!counted.empty())
    out += fmt::format("{}: {}\n", listed.empty() ? "not computed" : "besides",
                       counts(counted, style));
  return out + '\n';
}

/// Reasons: of what differs from the paper, or of everything that has one.
std::string reasons(const Json& rows, bool all) {
  std::string out;
  for (const auto& row : rows) {
    const auto status = row.at("status").get<std::string>();
    const bool differs = status == "contradicted" || status == "outside-tolerance";
    if (row.at("reason").get_ref<const std::string&>().empty() || !(all || differs)) continue;
    out += fmt::format("  {} ({}): {}\n", row.at("id").get<std::string>(), status,
                       row.at("reason").get<std::string>());
  }
  return out;
}

std::string text(const Json& document, const Style& style) {
  const Json& rows = document.at("claims");
  std::vector<std::pair<std::string, std::vector<Json>>> topics;
  for (const auto& row : rows) {
    const auto same = [&](const auto& topic) { return topic.first == topic_of(row); };
    auto topic = std::find_if(topics.begin(), topics.end(), same);
    if (topic == topics.end()) topic = topics.insert(topic, {topic_of(row), {}});
    topic->second.push_back(row);
  }
  const bool all = document.at("listed") == "all";
  std::string out;
  for (const auto& [topic, its_rows] : topics) out += topic_text(topic, its_rows, all, style);
  const bool asked = document.value("asked", false);
  if (const auto list = reasons(rows, asked); !list.empty())
    out += style.paint(asked ? "Reasons" : "Contradicted or outside tolerance", Colour::bold) +
           '\n' + list + '\n';

  const auto of_status = document.at("count").get<std::map<std::string, int>>();
  out += fmt::format("{} claims: {}.{}\n", rows.size(), counts(of_status, style),
                     all ? "" : " --all lists every one.");
  for (const auto& id : document.at("unexpected"))
    out += style.paint(fmt::format("{} is not what is expected on record", id.get<std::string>()),
                       Colour::red) +
           '\n';
  return out;
}

/// One claim's answer does not take the place of all claims'.
std::string saves_to(const Request& request) {
  return request.has("--claim") ? "" : result_path("reproduce", request.has("--record"));
}

}  // namespace

Command reproduce_command() {
  return {.name = "reproduce",
          .summary = "Hold every claim of the paper against what is computed here",
          .example =
              "  ospsim reproduce --quick\n"
              "  ospsim reproduce --claim ssp.load_balance.720p --claim table1.wan.total\n"
              "Status 1 if a claim is not what is expected on record.",
          .options =
              {{"--quick", "", "take what would have to be measured from the results of record"},
               {"--claim", "ID", "only this one; may be repeated", {}, Option::Occurs::repeatedly},
               {"--all", "", "list also the claims that have no number of ours yet"},
               {"--claims", "FILE",
                "other claims than those of this project (experiments/claims.json)"},
               {"--record", "", "keep the results as results of record, in results/"}},
          .run = run,
          .text = text,
          .saves_to = saves_to};
}

}  // namespace ospsim
