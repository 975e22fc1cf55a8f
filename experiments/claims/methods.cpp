#include "experiments/claims/methods.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "analysis/interaction.hpp"
#include "experiments/pattern_json.hpp"
#include "kernels_ref/errors.hpp"
#include "sim/model/model.hpp"

namespace ospsim {

const Json& Arguments::at(const std::string& name) {
  read_.insert(name);
  const auto found = object_.find(name);
  if (found == object_.end()) throw InputError(fmt::format("its method needs '{}'", name));
  return *found;
}

std::string Arguments::text(const std::string& name) {
  const Json& value = at(name);
  if (!value.is_string()) throw InputError(fmt::format("its method's '{}' is not a text", name));
  return value.get<std::string>();
}

std::int64_t Arguments::whole(const std::string& name) {
  const Json& value = at(name);
  if (!value.is_number_integer() || value.get<std::int64_t>() < 1 ||
      value.get<std::int64_t>() > 1'000'000)
    throw InputError(fmt::format("its method's '{}' is not a whole number in 1..1000000", name));
  return value.get<std::int64_t>();
}

std::vector<std::string> Arguments::texts(const std::string& name) {
  const Json& value = at(name);
  if (!value.is_array() || value.empty() ||
      !std::all_of(value.begin(), value.end(), [](const Json& v) { return v.is_string(); }))
    throw InputError(fmt::format("its method's '{}' is not a list of texts", name));
  return value.get<std::vector<std::string>>();
}

std::string Arguments::claim_id(const std::string& name) {
  const std::string id = text(name);
  refer_to(id);
  return id;
}

void Arguments::all_read() const {
  for (const auto& [name, unused] : object_.items())
    if (!read_.contains(name)) throw InputError(fmt::format("its method takes no '{}'", name));
}

namespace {

using Maker = Method (*)(Arguments&);

// ---- On a pattern ------------------------------------------------------------------------------

Pattern pattern_of(Arguments& a) {
  return parse_pattern(a.text("pattern"), parse_ratio(a.text("ratio")));
}

Phases phases_of(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  return {pattern_of(a), grid};
}

/// A method whose value follows from a pattern on a grid.
template <class F>
Method of_phases(Arguments& a, F value) {
  return [phases = phases_of(a), value](const Evidence&) -> Value { return value(phases); };
}

double ratio(double numerator, double denominator) {
  return numerator / denominator;
}
double number(std::int64_t value) {
  return static_cast<double>(value);
}

Method average_distance_of(Arguments& a) {
  return of_phases(a, [](const Phases& p) { return average_distance(p).over_connected.value(); });
}

Method reach_fraction(Arguments& a) {
  const int hops = static_cast<int>(std::min<std::int64_t>(a.whole("hops"), 64));
  return of_phases(a,
                   [hops](const Phases& p) { return reach(p, hops).back().fraction_min.value(); });
}

Method subsequence_length_ratio(Arguments& a) {
  return of_phases(a, [](const Phases& p) {
    return ratio(number(p.token.padded_tokens()), number(p.token.subsequence_length()));
  });
}

Method padded_tokens(Arguments& a) {
  return of_phases(a, [](const Phases& p) { return number(p.token.padded_tokens()); });
}

Method padding_overhead_percent(Arguments& a) {
  return of_phases(a, [](const Phases& p) {
    return 100 *
           ratio(number(p.token.padded_tokens() - p.grid().tokens()), number(p.grid().tokens()));
  });
}

Method valid_tokens_largest(Arguments& a) {
  const Phase phase = parse_phase(a.text("phase"));
  return of_phases(a, [phase](const Phases& p) {
    return number(valid_lengths(p.of(phase)).back().valid_tokens);
  });
}

Method valid_tokens_smallest(Arguments& a) {
  const Phase phase = parse_phase(a.text("phase"));
  return of_phases(a, [phase](const Phases& p) {
    return number(valid_lengths(p.of(phase)).front().valid_tokens);
  });
}

Method load_balanced(Arguments& a) {
  return of_phases(a, [](const Phases& p) {
    return valid_lengths(p.token).size() == 1 && valid_lengths(p.group).size() == 1;
  });
}

Method load_imbalance_percent(Arguments& a) {
  return of_phases(a, [](const Phases& p) {
    return 100 * (std::max(load_balance(p.token).largest_over_mean_work,
                           load_balance(p.group).largest_over_mean_work) -
                  1);
  });
}

Method attention_work_ratio(Arguments& a) {
  return of_phases(a, [](const Phases& p) {
    const double tokens = number(p.grid().tokens());
    return ratio(tokens * tokens, static_cast<double>(attended_pairs(p.token)));
  });
}

Method subsequences(Arguments& a) {
  return of_phases(a, [](const Phases& p) { return number(p.token.subsequences()); });
}

Method needs_no_mask(Arguments& a) {
  return of_phases(a, [](const Phases& p) { return !p.token.is_padded() && !p.group.is_padded(); });
}

/// Whether going from the token phase to the group phase moves every place to where the way back
/// would. By enumeration.
Method switch_is_involution(Arguments& a) {
  return of_phases(a, [](const Phases& p) {
    const Rearrangement there(p.token, p.group), back(p.group, p.token);
    for (std::int64_t from = 0; from < there.size(); ++from)
      if (there.map(from) != back.map(from)) return false;
    return true;
  });
}

/// Whether some token changes its sub-sequence, in either phase, when the video gets wider.
Method depends_on_width(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  const Pattern pattern = pattern_of(a);
  const std::int64_t added = a.whole("added_width");
  return [=](const Evidence&) -> Value {
    for (const Phase phase : {Phase::token, Phase::group}) {
      const auto kept = resolution_consistency(pattern, grid, phase, grid.w + added);
      if (!kept) throw UnavailableError("sub-sequences cannot be identified across widths");
      if (kept->numerator != kept->denominator) return true;
    }
    return false;
  };
}

Method offset_coverage_of(Arguments& a) {
  const std::string offset = a.text("offset");
  const std::map<std::string, std::pair<std::int64_t, std::int64_t>> offsets{
      {"0,1", {0, 1}}, {"1,0", {1, 0}}, {"1,1", {1, 1}}};
  const auto found = offsets.find(offset);
  if (found == offsets.end()) throw InputError("its method's 'offset' is not 0,1 or 1,0 or 1,1");
  return of_phases(a, [at = found->second](const Phases& p) {
    const auto coverage = offset_coverage(p, at.first, at.second);
    if (!coverage) throw UnavailableError("a frame of this grid has no such neighbours");
    return coverage->value();
  });
}

Method neighbour_coverage_of(Arguments& a) {
  const std::int64_t radius = a.whole("radius");
  return of_phases(a, [radius](const Phases& p) {
    const auto coverage = neighbour_coverage(p, radius);
    if (!coverage) throw UnavailableError("a frame of this grid has no neighbours");
    return coverage->value();
  });
}

/// Whether rearranging the video is the same as rearranging each unit of k^2 x k^2 tokens of every
/// frame by itself (paper section 3.2): every token keeps its sub-sequence, and the tokens of a
/// unit keep their order. By enumeration.
bool locally_equivalent(const Layout& whole, const Layout& unit) {
  const Grid& grid = whole.grid();
  const std::int64_t side = unit.grid().h, units_per_row = (grid.w + side - 1) / side;
  const std::int64_t units = (grid.h + side - 1) / side * units_per_row;
  for (std::int64_t c = 0; c < whole.subsequences(); ++c) {
    std::vector<std::int64_t> last_slot(static_cast<std::size_t>(units), -1);
    for (const std::int64_t token : whole.tokens_of(c)) {
      const std::int64_t t = token / grid.frame_tokens(), y = token / grid.w % grid.h,
                         x = token % grid.w;
      const Place place = unit.place((t * side + y % side) * side + x % side);
      auto& last = last_slot[static_cast<std::size_t>(y / side * units_per_row + x / side)];
      if (place.subsequence != c || place.slot <= last) return false;
      last = place.slot;
    }
  }
  return true;
}

Method local_equivalence(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  const Pattern pattern = pattern_of(a);
  constexpr std::int64_t most_enumerated = 100'000'000;
  if (grid.tokens() > most_enumerated)
    throw InputError("its method's 'grid' is too large to enumerate");
  const std::int64_t side = pattern.ratio.y * pattern.ratio.y;
  const Phases whole(pattern, grid), unit(pattern, Grid{grid.t, side, side});
  return [whole, unit](const Evidence&) -> Value {
    return locally_equivalent(whole.token, unit.token) &&
           locally_equivalent(whole.group, unit.group);
  };
}

// ---- On a model --------------------------------------------------------------------------------

PaddingWork counting_of(Arguments& a) {
  const std::string text = a.text("counting");
  if (text == "valid") return PaddingWork::valid;
  if (text == "padded") return PaddingWork::padded;
  throw InputError(fmt::format("its method's 'counting' is '{}', not valid or padded", text));
}

Method forward_flops_of(Arguments& a) {
  const Model model = find_model(a.text("model"));
  const Grid grid = parse_grid(a.text("grid"));
  const PaddingWork counting = counting_of(a);
  return [=](const Evidence&) -> Value { return forward_flops(model, grid, counting).all; };
}

/// Dense over sparse model of the paper.
std::pair<Model, Model> dense_and_sparse() {
  return {find_model("wan2.1-14b"), find_model("osp-next-14b")};
}

Method forward_flops_ratio(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  const PaddingWork counting = counting_of(a);
  return [=](const Evidence&) -> Value {
    const auto [dense, sparse] = dense_and_sparse();
    return ratio(forward_flops(dense, grid, counting).all,
                 forward_flops(sparse, grid, counting).all);
  };
}

BlockKind block_of(Arguments& a) {
  const std::string text = a.text("block");
  if (text == "full") return BlockKind::full;
  if (text == "token") return BlockKind::token;
  if (text == "group") return BlockKind::group;
  throw InputError(fmt::format("its method's 'block' is '{}', not full, token or group", text));
}

Method block_flops(Arguments& a) {
  const Model model = find_model(a.text("model"));
  const Grid grid = parse_grid(a.text("grid"));
  const BlockKind kind = block_of(a);
  const PaddingWork counting = counting_of(a);
  return [=](const Evidence&) -> Value {
    return block_forward_cost(model, grid, kind, counting).matrix().flops;
  };
}

Method block_self_attention_flops(Arguments& a) {
  const Model model = find_model(a.text("model"));
  const Grid grid = parse_grid(a.text("grid"));
  const BlockKind kind = block_of(a);
  return [=](const Evidence&) -> Value {
    return block_forward_cost(model, grid, kind, PaddingWork::valid).self_attention.flops;
  };
}

/// The rate that printed seconds imply for a video of 50 steps of two forwards.
Method implied_rate_tflops(Arguments& a) {
  const Model model = find_model(a.text("model"));
  const Grid grid = parse_grid(a.text("grid"));
  const PaddingWork counting = counting_of(a);
  const std::string seconds = a.claim_id("seconds");
  constexpr double forwards = 100;
  return [=](const Evidence& evidence) -> Value {
    return 1e-12 * forwards *
           ratio(forward_flops(model, grid, counting).all, evidence.published(seconds));
  };
}

/// By how much a printed speed-up stays below the ratio of operations.
Method speedup_shortfall_percent(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  const std::string dense_s = a.claim_id("numerator"), sparse_s = a.claim_id("denominator");
  return [=](const Evidence& evidence) -> Value {
    const auto [dense, sparse] = dense_and_sparse();
    const double operations = ratio(forward_flops(dense, grid, PaddingWork::valid).all,
                                    forward_flops(sparse, grid, PaddingWork::valid).all);
    return 100 *
           (1 - ratio(evidence.published(dense_s), evidence.published(sparse_s)) / operations);
  };
}

Method self_attention_flops_ratio(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  return [=](const Evidence&) -> Value {
    const auto [dense, sparse] = dense_and_sparse();
    return ratio(forward_flops(dense, grid, PaddingWork::valid).self_attention,
                 forward_flops(sparse, grid, PaddingWork::valid).self_attention);
  };
}

Method self_attention_share_percent(Arguments& a) {
  const Model model = find_model(a.text("model"));
  const Grid grid = parse_grid(a.text("grid"));
  return [=](const Evidence&) -> Value {
    const ForwardFlops flops = forward_flops(model, grid, PaddingWork::valid);
    return 100 * ratio(flops.self_attention, flops.all);
  };
}

// ---- On measured times -------------------------------------------------------------------------

Method attention_time_ratio(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  const Pattern pattern = pattern_of(a);
  return [=](const Evidence& evidence) -> Value {
    const Json& document = evidence.attention_time();
    const Json extents{grid.t, grid.h, grid.w};
    if (document.at("grid") == extents)
      for (const auto& row : document.at("cases"))
        if (row.at("pattern") == pattern.name && row.at("ratio") == ratio_json(pattern.ratio))
          return row.at("time_ratio").get<double>();
    throw UnavailableError(
        fmt::format("attention-time has no {} on {}", pattern.name, to_string(grid)));
  };
}

// ---- On the paper's own tables -----------------------------------------------------------------

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

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> all{
      {"average_distance", average_distance_of},
      {"reach_fraction", reach_fraction},
      {"subsequence_length_ratio", subsequence_length_ratio},
      {"padded_tokens", padded_tokens},
      {"padding_overhead_percent", padding_overhead_percent},
      {"valid_tokens_largest", valid_tokens_largest},
      {"valid_tokens_smallest", valid_tokens_smallest},
      {"load_balanced", load_balanced},
      {"load_imbalance_percent", load_imbalance_percent},
      {"attention_work_ratio", attention_work_ratio},
      {"local_equivalence", local_equivalence},
      {"subsequences", subsequences},
      {"needs_no_mask", needs_no_mask},
      {"switch_is_involution", switch_is_involution},
      {"depends_on_width", depends_on_width},
      {"offset_coverage", offset_coverage_of},
      {"block_flops", block_flops},
      {"block_self_attention_flops", block_self_attention_flops},
      {"implied_rate_tflops", implied_rate_tflops},
      {"speedup_shortfall_percent", speedup_shortfall_percent},
      {"neighbour_coverage", neighbour_coverage_of},
      {"forward_flops", forward_flops_of},
      {"forward_flops_ratio", forward_flops_ratio},
      {"self_attention_flops_ratio", self_attention_flops_ratio},
      {"self_attention_share_percent", self_attention_share_percent},
      {"attention_time_ratio", attention_time_ratio},
      {"vbench_aggregate", vbench_aggregate},
      {"table_ratio", table_ratio},
      {"table_difference", table_difference},
      {"table_efficiency", table_efficiency},
      {"smallest_table_ratio", smallest_table_ratio}};
  return all;
}

}  // namespace

Method make_method(const std::string& name, Arguments& arguments) {
  const auto found = makers().find(name);
  if (found == makers().end()) throw InputError(fmt::format("its method '{}' is unknown", name));
  return found->second(arguments);
}

}  // namespace ospsim
