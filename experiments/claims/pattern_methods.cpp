#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "analysis/interaction.hpp"
#include "experiments/claims/methods.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

Phases phases_of(Arguments& a) {
  const Grid grid = parse_grid(a.text("grid"));
  return {pattern_of(a), grid};
}

/// A method whose value follows from a pattern on a grid.
template <class F>
Method of_phases(Arguments& a, F value) {
  return [phases = phases_of(a), value](const Evidence&) -> Value { return value(phases); };
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
      const auto [t, y, x] = position_of(token, grid);
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

}  // namespace

const Methods& pattern_methods() {
  static const Methods all{{"average_distance", average_distance_of},
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
                           {"neighbour_coverage", neighbour_coverage_of}};
  return all;
}

}  // namespace ospsim
