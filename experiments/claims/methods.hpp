#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "experiments/claims/claims.hpp"
#include "kernels_ref/layout/pattern.hpp"

namespace ospsim {

/// The arguments of a method as the claims spell them. Reading one that is missing or of another
/// type throws InputError.
class Arguments {
 public:
  explicit Arguments(const Json& object) : object_(object) {}

  std::string text(const std::string& name);
  std::int64_t whole(const std::string& name, std::int64_t least = 1);
  std::vector<std::string> texts(const std::string& name);
  /// A text that is the id of a claim with a published number, checked when all claims are read.
  std::string claim_id(const std::string& name);
  void refer_to(const std::string& claim_id) { claim_ids_.push_back(claim_id); }
  /// The experiment whose document the method will ask for.
  void rest_on(const std::string& experiment) { experiment_ = experiment; }

  const std::vector<std::string>& claim_ids() const { return claim_ids_; }
  const std::string& experiment() const { return experiment_; }
  /// Throws InputError if an argument was never read.
  void all_read() const;

 private:
  const Json& at(const std::string& name);

  const Json& object_;
  std::set<std::string> read_;
  std::vector<std::string> claim_ids_;
  std::string experiment_;
};

/// Methods by name. Each maker reads its arguments.
using Methods = std::map<std::string, Method (*)(Arguments&)>;
const Methods& pattern_methods();  ///< of a pattern on a grid
const Methods& recall_methods();   ///< of what a pattern keeps of full attention
const Methods& model_methods();    ///< of what a model's forward pass costs
const Methods& format_methods();   ///< of 8-bit formats and what they cost
const Methods& comm_methods();     ///< of what sequence parallelism moves
const Methods& device_methods();   ///< of what a CUDA device took
const Methods& table_methods();    ///< of measured times and of the paper's own tables

/// The pattern that the arguments `pattern` and `ratio` spell.
Pattern pattern_of(Arguments& a);

inline double ratio(double numerator, double denominator) {
  return numerator / denominator;
}
inline double number(std::int64_t value) {
  return static_cast<double>(value);
}

/// Makes the method `name` of these arguments, which are read and checked now. Throws InputError.
Method make_method(const std::string& name, Arguments& arguments);

}  // namespace ospsim
