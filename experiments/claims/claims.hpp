#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "experiments/store/result_store.hpp"

namespace ospsim {

using Value = std::variant<double, bool>;

/// What a computation may draw on besides its own arguments.
class Evidence {
 public:
  virtual ~Evidence() = default;
  /// The number another claim publishes.
  virtual double published(const std::string& claim_id) const = 0;
  /// The value computed for another claim.
  virtual double computed(const std::string& claim_id) const = 0;
  /// The document of an experiment. Throws UnavailableError if there is none.
  virtual const Json& experiment(const std::string& name) const = 0;
};

/// Computes a claim's value.
using Method = std::function<Value(const Evidence&)>;

enum class Comparison { equal, at_least, at_most };

/// A statement of the paper (or about it) that a value computed here is held against.
struct Claim {
  std::string id, source, statement, kind, unit, how;
  std::optional<Value> published;
  std::optional<double> absolute_tolerance, relative_tolerance;
  std::optional<double> neutral;  ///< the value that speaks neither way, e.g. 1 for a speed-up
  Comparison comparison = Comparison::equal;
  Method method;  ///< empty: nothing here computes it
  std::string method_name;
  std::string experiment;  ///< that the method draws on; empty: none
  std::string expected;    ///< the status on record
  std::string reason;

  /// The part of the id before the first dot.
  std::string topic() const { return id.substr(0, id.find('.')); }
};

/// Reads and validates the claims, in the order of the text. Throws InputError that names the
/// claim.
std::vector<Claim> parse_claims(std::string_view text);
std::vector<Claim> load_claims(const std::string& path);
/// The claims that come with the program.
std::string default_claims_path();

/// The status a value gives a claim: "reproduced" (within tolerance; for comparisons: satisfied
/// within it), "outside-tolerance" (same side of neutral, other size) or "contradicted".
std::string status_of(const Claim& claim, const Value& ours);

/// Documents of experiments by name. Throws UnavailableError if there is none.
using Documents = std::function<const Json&(const std::string& experiment)>;

/// What came of one claim.
struct Verdict {
  const Claim* claim = nullptr;
  std::optional<Value> ours;
  std::string status, reason;
};

/// Computes the claims named by `ids`, all if empty. A claim whose evidence is not available is
/// "not-reproducible-here" with the reason. Throws InputError if an id is unknown.
std::vector<Verdict> judge(const std::vector<Claim>& claims, const std::vector<std::string>& ids,
                           const Documents& experiments);

}  // namespace ospsim
