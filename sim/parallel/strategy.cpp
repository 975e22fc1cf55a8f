#include "sim/parallel/strategy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/names.hpp"

namespace ospsim {
namespace {

constexpr Named<Strategy> strategy_names[]{
    {"ulysses", Strategy::ulysses}, {"ssp", Strategy::ssp}, {"ssp-ulysses", Strategy::ssp_ulysses},
    {"ring", Strategy::ring},       {"usp", Strategy::usp}, {"megatron-sp", Strategy::megatron_sp},
    {"gather", Strategy::gather}};

constexpr Named<Boundary> boundary_names[]{{"all-gather", Boundary::all_gather},
                                           {"reshard", Boundary::reshard}};

/// The divisor of `n` nearest to `wanted`, the smaller of two.
std::int64_t nearest_divisor(std::int64_t n, std::int64_t wanted) {
  for (std::int64_t distance = 0;; ++distance)
    for (const std::int64_t candidate : {wanted - distance, wanted + distance})
      if (candidate >= 1 && candidate <= n && n % candidate == 0) return candidate;
}

void require_at_most(std::int64_t ranks, std::int64_t most, std::string_view what) {
  if (ranks > most)
    throw InputError(fmt::format("{} ranks cannot share {} {}; {} is the most that works", ranks,
                                 most, what, most));
}

void require_product(int ranks, int factor, std::string_view what) {
  if (factor < 1 || ranks % factor != 0)
    throw InputError(fmt::format("{} ranks are no whole number of {} of {}; {} is the nearest",
                                 ranks, what, factor, nearest_divisor(ranks, std::max(factor, 1))));
}

/// Both phases name equally many sub-sequences, so that a rank holds as many in either.
std::int64_t shared_subsequences(const Sequence& sequence) {
  const Layout token(sequence.pattern, sequence.grid, Phase::token);
  const Layout group(sequence.pattern, sequence.grid, Phase::group);
  if (token.subsequences() != group.subsequences())
    throw InputError(fmt::format(
        "pattern '{}' has {} sub-sequences in one phase and {} in the other; ssp needs as many in "
        "both",
        sequence.pattern.name, token.subsequences(), group.subsequences()));
  if (token.subsequences() == 1)
    throw InputError(fmt::format("pattern '{}' has one sub-sequence; ssp has nothing to share out",
                                 sequence.pattern.name));
  return token.subsequences();
}

/// A ulysses group cuts the frame between whole units.
void require_units(int parts, const Sequence& sequence) {
  const Layout layout(sequence.pattern, sequence.grid, Phase::token);
  const int last = layout.axis_count() - 1;
  const auto units = [&](int axis) {
    return layout.axis(axis).padded / unit_extent(sequence.pattern, sequence.grid, axis);
  };
  const std::int64_t columns = units(last), rows = last > 0 ? units(last - 1) : 1;
  const auto fits = [&](int count) {
    const PartGrid cut = part_grid(count, sequence.pattern);
    return count >= 1 && cut.columns <= columns && cut.rows <= rows;
  };
  if (fits(parts)) return;
  int nearest = parts - 1;
  while (!fits(nearest)) --nearest;
  throw InputError(
      fmt::format("ulysses groups of {} cannot cut a frame of {} x {} units; groups of {} can",
                  parts, rows, columns, nearest));
}

}  // namespace

Strategy parse_strategy(std::string_view text) {
  return parse_name(strategy_names, "strategy", text);
}
std::string_view to_string(Strategy strategy) {
  return name_of(strategy_names, strategy);
}
const std::vector<Strategy>& all_strategies() {
  static const std::vector<Strategy> all = [] {
    std::vector<Strategy> list;
    for (const auto& [name, strategy] : strategy_names) list.push_back(strategy);
    return list;
  }();
  return all;
}

Boundary parse_boundary(std::string_view text) {
  return parse_name(boundary_names, "boundary", text);
}
std::string_view to_string(Boundary boundary) {
  return name_of(boundary_names, boundary);
}

Parallelism make_parallelism(Strategy strategy, int ranks, std::optional<int> ulysses,
                             std::optional<int> ring, Boundary boundary, const Sequence& sequence) {
  if (ranks < 1) throw InputError(fmt::format("{} ranks; at least 1 is needed", ranks));
  const bool splits = strategy == Strategy::usp || strategy == Strategy::ssp_ulysses;
  if (ulysses && !splits)
    throw InputError(
        fmt::format("strategy {} has no ulysses degree to choose; usp and ssp-ulysses "
                    "have",
                    to_string(strategy)));
  if (ring && strategy != Strategy::usp)
    throw InputError(
        fmt::format("strategy {} has no ring degree to choose; usp has", to_string(strategy)));
  require_at_most(ranks, sequence.grid.tokens(), "tokens");

  Parallelism p{.strategy = strategy, .ranks = ranks, .boundary = boundary};
  const auto heads = sequence.heads;
  switch (strategy) {
    case Strategy::ulysses:
      p.ulysses = ranks;
      break;
    case Strategy::ring:
      p.ring = ranks;
      break;
    case Strategy::usp:
      if (!ulysses && ring) {
        require_product(ranks, *ring, "rings");
        ulysses = ranks / *ring;
      }
      p.ulysses = ulysses.value_or(static_cast<int>(std::gcd(std::int64_t{ranks}, heads)));
      require_product(ranks, p.ulysses, "ulysses groups");
      p.ring = ranks / p.ulysses;
      if (ring && *ring != p.ring)
        throw InputError(
            fmt::format("{} ulysses times {} ring are not {} ranks", p.ulysses, *ring, ranks));
      break;
    case Strategy::megatron_sp:
      require_at_most(ranks, heads, "heads");
      break;
    case Strategy::ssp:
    case Strategy::gather:
    case Strategy::ssp_ulysses: {
      const std::int64_t shared = shared_subsequences(sequence);
      p.ssp = ranks;
      if (strategy == Strategy::ssp_ulysses) {
        p.ulysses =
            ulysses.value_or(static_cast<int>(ranks / std::gcd(std::int64_t{ranks}, shared)));
        require_product(ranks, p.ulysses, "ulysses groups");
        p.ssp = ranks / p.ulysses;
        require_units(p.ulysses, sequence);
      }
      if (shared % p.ssp != 0)
        throw InputError(
            fmt::format("{} ssp ranks do not divide {} sub-sequences; {} is the nearest that works"
                        "{}",
                        p.ssp, shared, nearest_divisor(shared, p.ssp),
                        strategy == Strategy::ssp ? ", or ssp-ulysses" : ""));
      break;
    }
  }
  require_at_most(p.ulysses, heads, "heads");
  return p;
}

Range part_of(std::int64_t extent, int count, int index) {
  const std::int64_t each = extent / count, longer = extent % count;
  const std::int64_t first = index * each + std::min<std::int64_t>(index, longer);
  return {first, first + each + (index < longer ? 1 : 0)};
}

PartGrid part_grid(int parts, const Pattern& pattern) {
  PartGrid grid{1, parts};
  if (pattern.coordinates != Coordinates::video) return grid;
  for (int rows = 1; rows * rows <= parts; ++rows)
    if (parts % rows == 0) grid = {rows, parts / rows};
  return grid;
}

std::int64_t unit_extent(const Pattern& pattern, const Grid& grid, int axis) {
  std::int64_t extent = 1;
  for (const Phase phase : {Phase::token, Phase::group}) {
    const Layout layout(pattern, grid, phase);
    for (int d = 0; d < layout.subsequence_digits(); ++d)
      if (layout.digit(d).axis == axis)
        extent = std::max(extent, layout.digit(d).stride * layout.digit(d).radix);
  }
  return extent;
}

}  // namespace ospsim
