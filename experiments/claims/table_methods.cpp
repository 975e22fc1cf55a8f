#include <fmt/format.h>

#include <algorithm>

#include "experiments/claims/methods.hpp"
#include "experiments/pattern_json.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

/// Of the times measured by the experiment attention-time.
Method attention_time_ratio(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  const Pattern pattern = pattern_of(a);
  a.rest_on("attention-time");
  return [=](const Evidence& evidence) -> Value {
    const Json& document = evidence.experiment("attention-time");
    const Json extents{grid.t, grid.h, grid.w};
    if (document.at("grid") == extents)
      for (const auto& row : document.at("cases"))
        if (row.at("pattern") == pattern.name && row.at("ratio") == ratio_json(pattern.ratio))
          return row.at("time_ratio").get<double>();
    throw UnavailableError(
        fmt::format("attention-time has no {} on {}", pattern.name, to_string(grid)));
  };
}

Method table_ratio(Arguments& a) {
  const std::string numerator = a.claim_id("numerator"), denominator = a.claim_id("denominator");
  return [=](const Evidence& evidence) -> Value {
    return ratio(evidence.published(numerator), evidence.published(denominator));
  };
}

Method table_difference(Arguments& a) {
  const std::string minuend = a.claim_id("minuend"), subtrahend = a.claim_id("subtrahend");
  return [=](const Evidence& evidence) -> Value {
    return evidence.published(minuend) - evidence.published(subtrahend);
  };
}

Method table_efficiency(Arguments& a) {
  const std::string one = a.claim_id("one"), many = a.claim_id("many");
  const auto devices = number(a.whole("devices"));
  return [=](const Evidence& evidence) -> Value {
    return ratio(evidence.published(one), devices * evidence.published(many));
  };
}

Method smallest_table_ratio(Arguments& a) {
  const auto ids = a.texts("ids");
  for (const auto& id : ids) a.refer_to(id);
  return [=](const Evidence& evidence) -> Value {
    double smallest = evidence.computed(ids.front());
    for (const auto& id : ids) smallest = std::min(smallest, evidence.computed(id));
    return smallest;
  };
}

/// A column of VBench with the range that maps to 0..1, and its weight in its group
/// (Vchitect/VBench, scripts/constant.py and cal_final_score.py).
struct VbenchColumn {
  const char* name;
  double least, most, weight = 1;
};
const std::vector<VbenchColumn> quality_columns{
    {"sc", .1462, 1}, {"bc", .2615, 1}, {"tf", .6293, 1}, {"ms", .706, .9975},
    {"dd", 0, 1, .5}, {"aq", 0, 1},     {"iq", 0, 1}};
const std::vector<VbenchColumn> semantic_columns{
    {"objc", 0, 1},      {"mo", 0, 1},         {"ha", 0, 1},    {"color", 0, 1},   {"sr", 0, 1},
    {"scene", 0, .8222}, {"as", .0009, .2855}, {"ts", 0, .364}, {"overc", 0, .364}};

std::string vbench_cell(const std::string& model, const char* column) {
  return fmt::format("table1.{}.{}", model, column);
}

/// Weighted mean of the normalised columns, in percent.
double vbench_score(const std::vector<VbenchColumn>& columns, const std::string& model,
                    const Evidence& evidence) {
  double sum = 0, weights = 0;
  for (const auto& [name, least, most, weight] : columns) {
    const double fraction = evidence.published(vbench_cell(model, name)) / 100;
    sum += weight * (fraction - least) / (most - least);
    weights += weight;
  }
  return 100 * sum / weights;
}

Method vbench_aggregate(Arguments& a) {
  const std::string model = a.text("model"), aggregate = a.text("aggregate");
  if (aggregate != "quality" && aggregate != "semantic" && aggregate != "total")
    throw InputError("its method's 'aggregate' is not quality, semantic or total");
  for (const auto* columns : {&quality_columns, &semantic_columns})
    for (const auto& column : *columns) a.refer_to(vbench_cell(model, column.name));
  return [=](const Evidence& evidence) -> Value {
    const double quality = vbench_score(quality_columns, model, evidence);
    const double semantic = vbench_score(semantic_columns, model, evidence);
    if (aggregate == "quality") return quality;
    return aggregate == "semantic" ? semantic : (4 * quality + semantic) / 5;
  };
}

}  // namespace

const Methods& table_methods() {
  static const Methods all{{"attention_time_ratio", attention_time_ratio},
                           {"vbench_aggregate", vbench_aggregate},
                           {"table_ratio", table_ratio},
                           {"table_difference", table_difference},
                           {"table_efficiency", table_efficiency},
                           {"smallest_table_ratio", smallest_table_ratio}};
  return all;
}

}  // namespace ospsim
