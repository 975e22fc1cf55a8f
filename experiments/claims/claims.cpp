#include "experiments/claims/claims.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "experiments/claims/methods.hpp"
#include "experiments/store/tree.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

constexpr const char* reproduced = "reproduced";
constexpr const char* outside_tolerance = "outside-tolerance";
constexpr const char* contradicted = "contradicted";
constexpr const char* not_reproducible = "not-reproducible-here";
constexpr const char* not_implemented = "not-implemented-yet";

/// Reads one claim's fields, each at most once, and knows which are left.
class Fields {
 public:
  Fields(const Json& object, std::string name) : object_(object), name_(std::move(name)) {}

  [[noreturn]] void reject(const std::string& why) const {
    throw InputError(fmt::format("{}: {}", name_, why));
  }
  const Json* find(const std::string& field) {
    read_.insert(field);
    const auto found = object_.find(field);
    return found == object_.end() ? nullptr : &*found;
  }
  std::string text(const std::string& field, bool may_be_empty = false) {
    const Json* const value = find(field);
    if (value == nullptr || !value->is_string() ||
        (!may_be_empty && value->get_ref<const std::string&>().empty()))
      reject(fmt::format("needs the text '{}'", field));
    return value->get<std::string>();
  }
  std::string one_of(const std::string& field, const std::vector<std::string>& choices) {
    const std::string value = text(field);
    if (std::find(choices.begin(), choices.end(), value) == choices.end())
      reject(fmt::format("its '{}' is not one of {}", field, fmt::join(choices, ", ")));
    return value;
  }
  std::optional<double> number(const std::string& field) {
    const Json* const value = find(field);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number()) reject(fmt::format("its '{}' is not a number", field));
    return value->get<double>();
  }
  void nothing_left() const {
    for (const auto& [field, unused] : object_.items())
      if (!read_.contains(field)) reject(fmt::format("has the unknown field '{}'", field));
  }

 private:
  const Json& object_;
  std::string name_;
  std::set<std::string> read_;
};

void read_published(Fields& fields, Claim& claim) {
  const Json* const published = fields.find("published");
  if (published == nullptr) fields.reject("needs 'published': a number, true, false or null");
  if (published->is_boolean())
    claim.published = published->get<bool>();
  else if (published->is_number())
    claim.published = published->get<double>();
  else if (!published->is_null())
    fields.reject("its 'published' is not a number, true, false or null");
}

void read_tolerance(Fields& fields, Claim& claim) {
  const Json* const tolerance = fields.find("tolerance");
  if (tolerance == nullptr) return;
  const bool one = tolerance->is_object() && tolerance->size() == 1;
  const std::string kind = one ? tolerance->begin().key() : "";
  if ((kind != "absolute" && kind != "relative") || !tolerance->begin()->is_number() ||
      !(tolerance->begin()->get<double>() >= 0))
    fields.reject(
        "its 'tolerance' is not {\"absolute\": X} or {\"relative\": X} with X at least 0");
  (kind == "absolute" ? claim.absolute_tolerance : claim.relative_tolerance) =
      tolerance->begin()->get<double>();
}

/// Returns the ids that the method refers to.
std::vector<std::string> read_method(Fields& fields, Claim& claim) {
  const Json* const method = fields.find("method");
  if (method == nullptr) return {};
  if (!method->is_object()) fields.reject("its 'method' is not an object");
  try {
    Arguments arguments(*method);
    claim.method_name = arguments.text("name");
    claim.method = make_method(claim.method_name, arguments);
    arguments.all_read();
    claim.experiment = arguments.experiment();
    return arguments.claim_ids();
  } catch (const InputError& error) {
    fields.reject(error.what());
  }
}

void check(const Fields& fields, const Claim& claim) {
  const bool is_number = claim.published && std::holds_alternative<double>(*claim.published);
  if (!claim.method) {
    if (claim.expected != not_reproducible && claim.expected != not_implemented)
      fields.reject(
          fmt::format("has no method, so it cannot be expected to be {}", claim.expected));
    if (claim.expected == not_reproducible && claim.reason.empty())
      fields.reject("needs a 'reason' why it is not reproducible here");
    return;
  }
  if (claim.expected == not_implemented)
    fields.reject(fmt::format("has a method, so it cannot be expected to be {}", claim.expected));
  if (claim.expected == not_reproducible && claim.experiment.empty())
    fields.reject("needs no experiment, so it cannot be expected to be not-reproducible-here");
  if (!claim.published) fields.reject("has a method but publishes nothing to hold it against");
  if (is_number && !claim.absolute_tolerance && !claim.relative_tolerance)
    fields.reject("needs a 'tolerance'");
  if (claim.expected != reproduced && claim.reason.empty())
    fields.reject(fmt::format("needs a 'reason' why it is {}", claim.expected));
}

Claim read_claim(const Json& object, std::size_t position, std::vector<std::string>& references) {
  const std::string nameless = fmt::format("claims: number {}", position + 1);
  if (!object.is_object()) throw InputError(nameless + ": is not an object");
  Claim claim;
  claim.id = Fields(object, nameless).text("id");
  Fields fields(object, fmt::format("claims: '{}'", claim.id));
  fields.text("id");
  claim.source = fields.text("source");
  claim.statement = fields.text("statement");
  claim.kind = fields.one_of("kind", {"claim", "finding"});
  claim.unit = fields.text("unit", /*may_be_empty=*/true);
  claim.how = fields.one_of("how", {"exact", "measured-cpu", "measured-cuda", "measured-mpi",
                                    "simulated", "modelled", "reported-only"});
  read_published(fields, claim);
  read_tolerance(fields, claim);
  claim.neutral = fields.number("neutral");
  if (fields.find("comparison") != nullptr)
    claim.comparison = fields.one_of("comparison", {"at least", "at most"}) == "at least"
                           ? Comparison::at_least
                           : Comparison::at_most;
  if (fields.find("reason") != nullptr) claim.reason = fields.text("reason");
  claim.expected = fields.one_of(
      "expected", {reproduced, outside_tolerance, contradicted, not_reproducible, not_implemented});
  references = read_method(fields, claim);
  fields.nothing_left();
  check(fields, claim);
  return claim;
}

double tolerance_of(const Claim& claim, double published) {
  return claim.absolute_tolerance.value_or(claim.relative_tolerance.value_or(0) *
                                           std::abs(published));
}

const char* kind_of(const Value& value) {
  return std::holds_alternative<bool>(value) ? "a truth value" : "a number";
}

int side(double value, double neutral) {
  return (value > neutral) - (value < neutral);
}

class Judge : public Evidence {
 public:
  Judge(const std::vector<Claim>& claims, const Documents& experiments)
      : experiments_(experiments) {
    for (const auto& claim : claims) by_id_.emplace(claim.id, &claim);
  }

  const Claim& claim(const std::string& id) const {
    const auto found = by_id_.find(id);
    if (found == by_id_.end())
      throw InputError(fmt::format("claim '{}' is unknown; 'ospsim list claims' names them", id));
    return *found->second;
  }
  double published(const std::string& id) const override {
    return std::get<double>(*claim(id).published);
  }
  double computed(const std::string& id) const override {
    return std::get<double>(claim(id).method(*this));
  }
  const Json& experiment(const std::string& name) const override { return experiments_(name); }

  Verdict verdict(const Claim& claim) const {
    if (!claim.method) return {&claim, std::nullopt, claim.expected, claim.reason};
    try {
      const Value ours = claim.method(*this);
      return {&claim, ours, status_of(claim, ours), claim.reason};
    } catch (const UnavailableError& error) {
      return {&claim, std::nullopt, not_reproducible, error.what()};
    }
  }

 private:
  std::map<std::string, const Claim*> by_id_;
  const Documents& experiments_;
};

}  // namespace

std::vector<Claim> parse_claims(std::string_view text) {
  const Json root = Json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || !root.contains("claims") || !root.at("claims").is_array())
    throw InputError("claims: not a JSON object with an array 'claims'");
  std::vector<Claim> claims;
  std::vector<std::vector<std::string>> references;
  std::map<std::string, std::size_t> index;
  for (const auto& object : root.at("claims")) {
    claims.push_back(read_claim(object, claims.size(), references.emplace_back()));
    if (!index.emplace(claims.back().id, claims.size() - 1).second)
      throw InputError(fmt::format("claims: '{}': stands twice", claims.back().id));
  }
  for (std::size_t c = 0; c < claims.size(); ++c)
    for (const auto& id : references[c]) {
      const auto found = index.find(id);
      const auto reject = [&](const char* why) {
        throw InputError(fmt::format("claims: '{}': refers to '{}', {}", claims[c].id, id, why));
      };
      if (found == index.end()) reject("which is unknown");
      const Claim& other = claims[found->second];
      if (!other.published || !std::holds_alternative<double>(*other.published))
        reject("which publishes no number");
      if (claims[c].method_name == "smallest_table_ratio" && other.method_name != "table_ratio")
        reject("which is no table_ratio");
    }
  return claims;
}

std::vector<Claim> load_claims(const std::string& path) {
  std::error_code ignored;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (!std::filesystem::is_directory(path, ignored))
    text.assign(std::istreambuf_iterator<char>(file), {});
  if (!file.is_open() || file.bad() || text.empty())
    throw InputError(fmt::format("{}: no claims can be read from it", path));
  try {
    return parse_claims(text);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", path, error.what()));
  }
}

std::string default_claims_path() {
  return path_in_tree("experiments/claims.json");
}

std::string status_of(const Claim& claim, const Value& ours) {
  if (ours.index() != claim.published->index())
    throw InputError(fmt::format("claims: '{}': publishes {} and its method finds {}", claim.id,
                                 kind_of(*claim.published), kind_of(ours)));
  if (std::holds_alternative<bool>(ours))
    return ours == *claim.published ? reproduced : contradicted;
  const double value = std::get<double>(ours), published = std::get<double>(*claim.published);
  const double tolerance = tolerance_of(claim, published);
  switch (claim.comparison) {
    case Comparison::at_least:
      return value >= published - tolerance ? reproduced : contradicted;
    case Comparison::at_most:
      return value <= published + tolerance ? reproduced : contradicted;
    case Comparison::equal:
      break;
  }
  if (std::abs(value - published) <= tolerance) return reproduced;
  if (claim.neutral && side(value, *claim.neutral) != side(published, *claim.neutral))
    return contradicted;
  return outside_tolerance;
}

std::vector<Verdict> judge(const std::vector<Claim>& claims, const std::vector<std::string>& ids,
                           const Documents& experiments) {
  const Judge judge(claims, experiments);
  std::vector<Verdict> verdicts;
  if (ids.empty())
    for (const auto& claim : claims) verdicts.push_back(judge.verdict(claim));
  for (const auto& id : ids) verdicts.push_back(judge.verdict(judge.claim(id)));
  return verdicts;
}

}  // namespace ospsim
