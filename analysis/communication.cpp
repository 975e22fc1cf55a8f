#include "analysis/communication.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

// ---- Counting places of the padded grid by digits ----------------------------------------------

__extension__ typedef __int128 SignedCount;

/// For each digit of a layout the values it may take.
using DigitBox = std::vector<Range>;

SignedCount volume(const DigitBox& box) {
  SignedCount product = 1;
  for (const Range& values : box) product *= values.size();
  return product;
}

/// The coordinates whose digits, those in `order` read as one number, lie in `range`.
struct Constraint {
  std::vector<std::size_t> order;  ///< indices of digits, most significant first
  Range range;
};

/// The padded grid as a set of digits, and how many of its places meet several constraints at once.
/// The numbers below a bound are, for each of its digits, those that agree with it above and are
/// less there: a disjoint union of products of digit ranges, and so is what two constraints share.
class DigitSpace {
 public:
  explicit DigitSpace(const Layout& layout) : unsplit_(layout.unsplit()) {
    for (int d = 0; d < unsplit_.digit_count(); ++d) everything_.push_back({0, radix(d)});
  }

  /// The number of a sub-sequence of `layout`, which has the same digits.
  Constraint subsequences(const Layout& layout, Range range) const {
    Constraint constraint{{}, range};
    for (int d = 0; d < layout.subsequence_digits(); ++d) {
      int index = 0;
      while (unsplit_.digit(index) != layout.digit(d)) ++index;
      constraint.order.push_back(static_cast<std::size_t>(index));
    }
    return constraint;
  }
  Constraint along_axis(int axis, Range range) const {
    Constraint constraint{{}, range};
    for (int d = 0; d < unsplit_.digit_count(); ++d)
      if (unsplit_.digit(d).axis == axis) constraint.order.push_back(static_cast<std::size_t>(d));
    return constraint;
  }
  /// Tokens of the valid grid in (t, y, x) order. Says nothing of padding between them.
  Constraint tokens(Range range) const {
    Constraint constraint{{}, {padded_index(range.first), padded_index(range.last)}};
    for (std::size_t d = 0; d < everything_.size(); ++d) constraint.order.push_back(d);
    return constraint;
  }

  Count places(const std::vector<Constraint>& constraints) const {
    return static_cast<Count>(places(constraints, 0, everything_));
  }

 private:
  std::int64_t radix(int d) const { return unsplit_.digit(d).radix; }

  std::int64_t padded_index(std::int64_t token) const {
    std::int64_t index = 0;
    for (int a = 0; a < unsplit_.axis_count(); ++a) {
      const AxisSpan& axis = unsplit_.axis(a);
      index = index * axis.padded + token / axis.token_stride;
      token %= axis.token_stride;
    }
    return index;
  }

  SignedCount places(const std::vector<Constraint>& constraints, std::size_t met,
                     const DigitBox& box) const {
    const SignedCount here = volume(box);
    if (met == constraints.size() || here == 0) return here;
    const auto& [order, range] = constraints[met];
    return places_below(constraints, met, box, order, range.last) -
           places_below(constraints, met, box, order, range.first);
  }

  SignedCount places_below(const std::vector<Constraint>& constraints, std::size_t met,
                           DigitBox box, const std::vector<std::size_t>& order,
                           std::int64_t bound) const {
    std::int64_t stride = 1;
    for (const auto d : order) stride *= everything_[d].last;
    if (bound >= stride) return places(constraints, met + 1, box);
    SignedCount sum = 0;
    for (const auto d : order) {
      stride /= everything_[d].last;
      const std::int64_t value = bound / stride;
      bound %= stride;
      const Range allowed = box[d];
      box[d] = {allowed.first, std::clamp(value, allowed.first, allowed.last)};
      sum += places(constraints, met + 1, box);
      if (value < allowed.first || value >= allowed.last) break;
      box[d] = {value, value + 1};
    }
    return sum;
  }

  Layout unsplit_;
  DigitBox everything_;
};

// ---- Who owns what -----------------------------------------------------------------------------

Range flat_run(const Parallelism& p, const Grid& grid, int rank) {
  return part_of(grid.tokens(), p.ranks, rank);
}

std::vector<Count> flat_rows(const Parallelism& p, const Grid& grid) {
  std::vector<Count> rows;
  for (int r = 0; r < p.ranks; ++r) rows.push_back(static_cast<Count>(flat_run(p, grid, r).size()));
  return rows;
}

/// Ownership under ssp, ssp-ulysses and gather: sub-sequences by ssp rank, and of each the
/// rectangle of the frame that belongs to the ulysses rank. Rows are those of one sample.
class SubsequenceShards {
 public:
  SubsequenceShards(const Parallelism& p, const Pattern& pattern, const Grid& grid)
      : ranks_(p.ranks),
        ssp_(p.strategy == Strategy::gather ? p.ranks : p.ssp),
        ulysses_(p.strategy == Strategy::ssp_ulysses ? p.ulysses : 1),
        token_(pattern, grid, Phase::token),
        group_(pattern, grid, Phase::group),
        space_(token_) {
    for (const Layout* layout : {&token_, &group_})
      if (layout->subsequences() % ssp_ != 0)
        throw std::logic_error("ssp ranks must divide the sub-sequences");
    const PartGrid parts = part_grid(ulysses_, pattern);
    const auto cut = [&](int axis, int count) {
      const std::int64_t unit = unit_extent(pattern, grid, axis);
      auto& ranges = cuts_.emplace_back(Cut{axis, {}}).ranges;
      for (int i = 0; i < count; ++i) {
        const Range units = part_of(token_.axis(axis).padded / unit, count, i);
        ranges.push_back({units.first * unit, units.last * unit});
      }
    };
    if (parts.rows > 1) cut(token_.axis_count() - 2, parts.rows);
    cut(token_.axis_count() - 1, parts.columns);
  }

  /// Padded rows owned, as many in either phase: sub-sequences have one length, and a rectangle of
  /// whole units holds the same share of each.
  std::vector<Count> padded_rows() const {
    return each_rank([&](int r) { return space_.places(owned(Phase::token, r)); });
  }
  /// Those that a switch takes elsewhere, as many one way as the other.
  std::vector<Count> switched_rows() const {
    return each_rank([&](int r) {
      const auto token = owned(Phase::token, r);
      auto both = token;
      both.push_back(subsequences(Phase::group, r));
      return space_.places(token) - space_.places(both);
    });
  }
  /// Valid rows owned in a phase.
  std::vector<Count> valid_rows(Phase phase) const {
    return each_rank([&](int r) { return space_.places(owned_valid(phase, r)); });
  }
  /// Those that lie in the rank's flat run, too.
  std::vector<Count> common_rows(Phase phase, const Parallelism& p) const {
    return each_rank([&](int r) {
      auto common = owned_valid(phase, r);
      common.push_back(space_.tokens(flat_run(p, token_.grid(), r)));
      return space_.places(common);
    });
  }

 private:
  struct Cut {
    int axis = 0;
    std::vector<Range> ranges;
  };

  template <typename RowsOfRank>
  std::vector<Count> each_rank(const RowsOfRank& rows_of_rank) const {
    std::vector<Count> rows;
    for (int r = 0; r < ranks_; ++r) rows.push_back(rows_of_rank(r));
    return rows;
  }

  Constraint subsequences(Phase phase, int rank) const {
    const Layout& layout = phase == Phase::token ? token_ : group_;
    return space_.subsequences(layout, part_of(layout.subsequences(), ssp_, rank / ulysses_));
  }
  std::vector<Constraint> owned(Phase phase, int rank) const {
    std::vector<Constraint> owned{subsequences(phase, rank)};
    std::size_t part = static_cast<std::size_t>(rank % ulysses_);
    for (auto cut = cuts_.rbegin(); cut != cuts_.rend(); ++cut) {
      owned.push_back(space_.along_axis(cut->axis, cut->ranges[part % cut->ranges.size()]));
      part /= cut->ranges.size();
    }
    return owned;
  }
  std::vector<Constraint> owned_valid(Phase phase, int rank) const {
    auto valid = owned(phase, rank);
    for (int a = 0; a < token_.axis_count(); ++a)
      valid.push_back(space_.along_axis(a, {0, token_.axis(a).extent}));
    return valid;
  }

  int ranks_, ssp_, ulysses_;
  Layout token_, group_;
  DigitSpace space_;
  std::vector<Cut> cuts_;
};

bool owns_subsequences(Strategy strategy) {
  return strategy == Strategy::ssp || strategy == Strategy::ssp_ulysses ||
         strategy == Strategy::gather;
}

// ---- What exchanges cost -----------------------------------------------------------------------

/// Exchanges, and what each rank sends in them: elements per sample.
struct Exchanges {
  std::int64_t collectives = 0, steps = 0;
  std::vector<Count> sent;

  Exchanges& operator+=(const Exchanges& other) {
    collectives += other.collectives;
    steps += other.steps;
    for (std::size_t r = 0; r < sent.size(); ++r) sent[r] += other.sent[r];
    return *this;
  }
};

Exchanges none(int ranks) {
  return {.sent = std::vector<Count>(static_cast<std::size_t>(ranks))};
}

Exchanges times(std::int64_t count, Exchanges exchanges) {
  exchanges.collectives *= count;
  exchanges.steps *= count;
  for (Count& sent : exchanges.sent) sent *= static_cast<Count>(count);
  return exchanges;
}

Traffic to_traffic(const Exchanges& exchanges, std::int64_t batch, int bytes_per_element) {
  const Count bytes = *std::max_element(exchanges.sent.begin(), exchanges.sent.end()) *
                      static_cast<Count>(batch) * static_cast<Count>(bytes_per_element);
  if (bytes > static_cast<Count>(std::numeric_limits<std::int64_t>::max()))
    throw InputError("a rank would send more than 2^63 - 1 bytes; use a smaller grid");
  return {exchanges.collectives, exchanges.steps, static_cast<std::int64_t>(bytes)};
}

/// One collective in which rank r sends rows[r] hidden states; none where nobody sends.
Exchanges all_to_all(std::vector<Count> rows, Count dim) {
  Exchanges exchange{1, 1, std::move(rows)};
  Count all = 0;
  for (Count& sent : exchange.sent) all += sent *= dim;
  return all == 0 ? none(static_cast<int>(exchange.sent.size())) : exchange;
}

/// One collective in which each rank sends its rows to each other rank.
Exchanges all_gather(std::vector<Count> rows, Count dim) {
  const Count others = rows.size() - 1;
  return all_to_all(std::move(rows), dim * others);
}

Count head_channels(const Sequence& sequence, int parts, int index) {
  return static_cast<Count>(part_of(sequence.heads, parts, index).size() * sequence.head_dim);
}

/// The four all-to-alls of groups of `group` neighbouring ranks.
Exchanges ulysses(const Sequence& sequence, const std::vector<Count>& rows, int group,
                  Direction direction) {
  Exchanges exchanges = none(static_cast<int>(rows.size()));
  if (group == 1) return exchanges;
  exchanges.collectives = exchanges.steps = 4;
  const Count to_heads = direction == Direction::forward ? 3 : 1, to_tokens = 4 - to_heads;
  const auto size = static_cast<std::size_t>(group);
  for (std::size_t first = 0; first < rows.size(); first += size) {
    Count group_rows = 0;
    for (std::size_t i = 0; i < size; ++i) group_rows += rows[first + i];
    for (std::size_t i = 0; i < size; ++i) {
      const Count own = rows[first + i];
      const Count channels = head_channels(sequence, group, static_cast<int>(i));
      exchanges.sent[first + i] = to_heads * own * (static_cast<Count>(sequence.dim()) - channels) +
                                  to_tokens * (group_rows - own) * channels;
    }
  }
  return exchanges;
}

/// Blocks of K and V go on to the next ring index until each has been everywhere: a rank sends all
/// but its successor's. Accumulated gradients go all the way round.
Exchanges ring(const Parallelism& p, const Sequence& sequence, Direction direction) {
  Exchanges exchanges = none(p.ranks);
  if (p.ring == 1) return exchanges;
  const bool backward = direction == Direction::backward;
  exchanges.steps = backward ? p.ring : p.ring - 1;
  const auto all = static_cast<Count>(sequence.grid.tokens());
  for (int r = 0; r < p.ranks; ++r) {
    const int next = (r / p.ulysses + 1) % p.ring * p.ulysses;
    const Count not_sent =
        static_cast<Count>(flat_run(p, sequence.grid, next + p.ulysses - 1).last -
                           flat_run(p, sequence.grid, next).first);
    const Count rows = all - not_sent + (backward ? all : 0);
    exchanges.sent[static_cast<std::size_t>(r)] =
        2 * rows * head_channels(sequence, p.ulysses, r % p.ulysses);
  }
  return exchanges;
}

/// `gathers` all-gathers of all tokens' rows, and as many reduce-scatters.
Exchanges gather_and_scatter(const Parallelism& p, const Grid& grid, Count channels,
                             std::int64_t gathers) {
  const std::vector<Count> own = flat_rows(p, grid);
  std::vector<Count> others;
  for (const Count rows : own) others.push_back(static_cast<Count>(grid.tokens()) - rows);
  Exchanges exchanges = all_gather(own, channels);
  exchanges += all_to_all(others, channels);
  return times(gathers, exchanges);
}

/// What a block exchanges besides a phase switch.
Exchanges inside_block(const Parallelism& p, const Sequence& sequence, BlockKind kind,
                       Direction direction) {
  const auto over_flat_runs = [&](int group) {
    return ulysses(sequence, flat_rows(p, sequence.grid), group, direction);
  };
  switch (p.strategy) {
    case Strategy::ulysses:
    case Strategy::ring:
    case Strategy::usp: {
      Exchanges exchanges = over_flat_runs(p.ulysses);
      exchanges += ring(p, sequence, direction);
      return exchanges;
    }
    case Strategy::megatron_sp:
      return gather_and_scatter(p, sequence.grid, static_cast<Count>(sequence.dim()), 2);
    case Strategy::ssp:
    case Strategy::ssp_ulysses:
    case Strategy::gather:
      break;
  }
  if (kind == BlockKind::full) return over_flat_runs(p.ranks);
  if (p.strategy != Strategy::ssp_ulysses || p.ulysses == 1) return none(p.ranks);
  const SubsequenceShards shards(p, sequence.pattern, sequence.grid);
  return ulysses(sequence, shards.padded_rows(), p.ulysses, direction);
}

Exchanges phase_switch(const Parallelism& p, const Sequence& sequence) {
  if (!owns_subsequences(p.strategy)) return none(p.ranks);
  const SubsequenceShards shards(p, sequence.pattern, sequence.grid);
  const auto dim = static_cast<Count>(sequence.dim());
  const Exchanges exchange = all_to_all(shards.switched_rows(), dim);
  if (p.strategy != Strategy::gather || exchange.steps == 0) return exchange;
  return all_gather(shards.padded_rows(), dim);
}

enum class Crossing { entering, leaving };

Exchanges boundary(const Parallelism& p, const Sequence& sequence, Phase phase, Crossing crossing) {
  const SubsequenceShards shards(p, sequence.pattern, sequence.grid);
  const auto dim = static_cast<Count>(sequence.dim());
  const bool entering = crossing == Crossing::entering;
  const std::vector<Count> flat = flat_rows(p, sequence.grid);
  if (p.boundary == Boundary::all_gather || p.strategy == Strategy::gather)
    return all_gather(entering ? flat : shards.padded_rows(), dim);
  std::vector<Count> moving = entering ? flat : shards.valid_rows(phase);
  const std::vector<Count> common = shards.common_rows(phase, p);
  for (std::size_t r = 0; r < moving.size(); ++r) moving[r] -= common[r];
  return all_to_all(std::move(moving), dim);
}

}  // namespace

Traffic block_traffic(const Parallelism& parallelism, const Sequence& sequence, BlockKind kind,
                      Direction direction, int bytes_per_element) {
  Exchanges exchanges = inside_block(parallelism, sequence, kind, direction);
  if (kind != BlockKind::full) exchanges += phase_switch(parallelism, sequence);
  return to_traffic(exchanges, sequence.batch, bytes_per_element);
}

Traffic norm_traffic(const Parallelism& parallelism, const Sequence& sequence) {
  if (parallelism.strategy != Strategy::megatron_sp) return {};
  constexpr Count sums_per_row = 2;
  return to_traffic(gather_and_scatter(parallelism, sequence.grid, sums_per_row, 1), sequence.batch,
                    static_cast<int>(sizeof(float)));
}

ForwardTraffic forward_traffic(const Parallelism& parallelism, const Model& model, const Grid& grid,
                               std::int64_t batch, int bytes_per_element) {
  const Sequence sequence{grid, model.pattern, batch, model.heads, model.head_dim};
  const std::int64_t sparse = model.sparse_blocks();
  Exchanges total = none(parallelism.ranks);
  ForwardTraffic forward;
  const auto add = [&](const char* label, const Exchanges& exchanges) {
    if (exchanges.steps == 0) return;
    total += exchanges;
    forward.breakdown.push_back({label, to_traffic(exchanges, batch, bytes_per_element)});
  };
  const auto blocks = [&](std::int64_t count, BlockKind kind) {
    return times(count, inside_block(parallelism, sequence, kind, Direction::forward));
  };

  add("full blocks", blocks(model.full_blocks, BlockKind::full));
  if (sparse > 0) {
    add("sparse blocks", blocks(sparse, BlockKind::token));
    add("phase switches", times(sparse - 1, phase_switch(parallelism, sequence)));
    if (owns_subsequences(parallelism.strategy) && model.full_blocks > 0) {
      const Phase last = sparse % 2 == 0 ? Phase::group : Phase::token;
      add("entering", boundary(parallelism, sequence, Phase::token, Crossing::entering));
      add("leaving", boundary(parallelism, sequence, last, Crossing::leaving));
    }
  }
  forward.total = to_traffic(total, batch, bytes_per_element);
  return forward;
}

}  // namespace ospsim
