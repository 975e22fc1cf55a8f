#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// How the tokens, heads and keys of a block are shared out among ranks. Per block, forward:
///
///   ulysses      tokens in runs; four all-to-alls (q, k, v, output) swap tokens for heads
///                (DeepSpeed-Ulysses, arXiv 2309.14509)
///   ring         tokens in runs; K and V travel once round the ring (arXiv 2310.01889)
///   usp          ulysses inside groups of neighbours, ring across them (arXiv 2405.07719)
///   megatron-sp  tokens in runs; heads and FFN columns are split, all-gather before and
///                reduce-scatter after self-attention and FFN (arXiv 2205.05198)
///   ssp          whole sub-sequences; one all-to-all of the hidden state when the phase switches
///                (paper section 3.3)
///   ssp-ulysses  ssp, and each sub-sequence shared by a ulysses group (paper section 4.2.3)
///   gather       whole sub-sequences; the phase switch gathers everything and keeps a part: what
///                ssp is compared with
///
/// ssp, ssp-ulysses and gather concern sparse blocks; a model's full blocks run ulysses over all
/// ranks under them (paper section 4.2.3).
enum class Strategy { ulysses, ssp, ssp_ulysses, ring, usp, megatron_sp, gather };

/// How the hidden state changes hands between full and sparse blocks: every rank gathers all of it
/// and keeps its part, as the paper's code does, or one all-to-all moves what has to move.
enum class Boundary { all_gather, reshard };

/// "ulysses", "ssp", "ssp-ulysses", "ring", "usp", "megatron-sp", "gather". Throws InputError.
Strategy parse_strategy(std::string_view text);
std::string_view to_string(Strategy strategy);
const std::vector<Strategy>& all_strategies();

/// "all-gather" or "reshard". Throws InputError.
Boundary parse_boundary(std::string_view text);
std::string_view to_string(Boundary boundary);

/// What is shared out: `batch` videos of one grid with hidden width heads * head_dim. The samples
/// of a batch share text and time step. Sparse blocks alternate between the phases of `pattern`.
struct Sequence {
  Grid grid;
  Pattern pattern;
  std::int64_t batch = 1;
  std::int64_t heads = 1, head_dim = 128;
  std::int64_t dim() const { return heads * head_dim; }
};

/// A strategy with its degrees. `ssp` ranks hold different sub-sequences, `ulysses` ranks different
/// heads, `ring` ranks different keys; their product is `ranks` (except for megatron-sp, where all
/// three are 1). Rank numbers run fastest over ulysses.
struct Parallelism {
  Strategy strategy = Strategy::ulysses;
  int ranks = 1;
  int ssp = 1, ulysses = 1, ring = 1;
  Boundary boundary = Boundary::all_gather;
};

/// Completes the degrees that were not asked for: as much ssp as divides the number of
/// sub-sequences, as much ulysses as divides the heads. Heads, tokens and units need not divide
/// evenly (the first ranks get one more). Throws InputError, naming the nearest that works, where
/// ssp does not divide the sub-sequences, ulysses exceeds the heads, or a rank would own nothing.
Parallelism make_parallelism(Strategy strategy, int ranks, std::optional<int> ulysses,
                             std::optional<int> ring, Boundary boundary, const Sequence& sequence);

/// Part `index` of `count` of the range [0, extent): the first extent % count parts are longer by
/// one.
struct Range {
  std::int64_t first = 0, last = 0;
  std::int64_t size() const { return last - first; }
  friend constexpr bool operator==(const Range&, const Range&) = default;
};
Range part_of(std::int64_t extent, int count, int index);

/// How a ulysses group of `parts` ranks under ssp cuts the frame between its ranks: rows x columns
/// of rectangles made of whole units, where a unit is the k^2 x k^2 tokens inside which the phases
/// exchange (paper section 3.2); rows is the largest divisor of `parts` not above its root. Part
/// number row * columns + column. Patterns in other coordinates than (t, y, x) are cut along their
/// last axis only.
struct PartGrid {
  int rows = 1, columns = 1;
};
PartGrid part_grid(int parts, const Pattern& pattern);

/// The unit's extent along an axis of the layout: the least length that the digits naming
/// sub-sequences in either phase span, k^2 for Skiparse; 1 where no such digit lies on the axis.
std::int64_t unit_extent(const Pattern& pattern, const Grid& grid, int axis);

}  // namespace ospsim
