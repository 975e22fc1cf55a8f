#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels_ref/backend.hpp"

/// The rows that a run on a device writes, one JSON object a line, as they are measured: what has
/// been written stays when the run is stopped.
namespace ospsim {

/// Whether what was timed was right, and how that was found out.
struct Check {
  bool passed = false;
  std::string method;
  double error = 0, tolerance = 0;
};
/// Passed where error <= tolerance; a NaN does not pass.
Check check_of(std::string method, double error, double tolerance);
/// Of several: the first that did not pass, else the last.
Check worst_of(const std::vector<Check>& checks);

struct Row {
  std::string name;
  std::vector<std::pair<std::string, std::int64_t>> sizes = {};  ///< what it was done to
  std::vector<std::pair<std::string, std::string>> notes = {};   ///< how
  Cost cost = {};
  std::string formula;                ///< of the cost
  std::vector<double> times_ms = {};  ///< every repetition
  Check check = {};
  std::vector<std::pair<std::string, double>> parts_ms =
      {};  ///< of one repetition, by kind of work
};

/// What the same run reaches at best.
struct Ceilings {
  double copy_bytes_per_s = 0;  ///< a large copy, bytes read and written
  double read_bytes_per_s = 0;  ///< a large array read
  double bf16_flops_per_s = 0;  ///< a large product; 0 where cuBLASLt has none
  double e4m3_flops_per_s = 0;
  double sustained_bf16_flops_per_s = 0;  ///< the same after a second of it
};

class Recorder {
 public:
  /// Writes to stdout, where the first line says what ran where.
  Recorder(std::string part, bool quick);
  void ceilings(const Ceilings& ceilings);
  /// The rate of a row is held against the ceilings. Where a row's operands are 8 bits wide, its
  /// notes say operands: e4m3.
  void row(const Row& row);
  bool all_passed() const { return all_passed_; }

 private:
  std::string part_;
  Ceilings ceilings_;
  bool all_passed_ = true;
};

}  // namespace ospsim
