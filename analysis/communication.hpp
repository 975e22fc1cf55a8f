#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/model/model.hpp"
#include "sim/parallel/ledger.hpp"
#include "sim/parallel/strategy.hpp"

/// How many bytes a parallel strategy moves, in how many steps: closed forms, written without
/// regard to the schedules in `sim/parallel` that move tensors, so that the two can be held against
/// each other. Exact for uneven shards, ragged and padded grids and every batch; the cost depends
/// on the number of ranks and digits, not on the size of the grid.
///
/// Parallelisms are taken as `make_parallelism` returns them. All bytes are those that leave a
/// rank: what a rank keeps costs nothing and an exchange among one rank is none. Nor is a phase
/// switch at which no row changes its owner (phases that share the digits ranks are told apart by).
/// Throws InputError where a byte count exceeds 2^63 - 1.
///
/// With N tokens evenly shared by P ranks, hidden width d and b bytes, a rank sends per block
/// (the sources are those listed at `Strategy`):
///
///   ulysses       4 (N/P) d b (P-1)/P                       4 collectives
///   ring          2 (N/P) d b (P-1), backward 2 (2P-1)      P-1 shifts, backward P
///   usp u x r     ulysses over u, ring over r with the u-gathered tokens and d/u channels
///   megatron-sp   4 N d b (P-1)/P                           4 collectives
///   ssp           (N_pad/P) d b (P-1)/P                     1 collective
///   ssp-ulysses   ssp's over s ranks plus ulysses' over u   5 collectives
///   gather        (N_pad/P) d b (P-1)                       1 collective
namespace ospsim {

enum class Direction { forward, backward };

/// One block in a steady state: the sparse block before it, if there is one, ran the other phase,
/// so the switch into this block's phase is counted (backward: the gradient's switch out of it).
/// Full blocks of ssp, ssp-ulysses and gather run ulysses over all ranks.
///
/// Backward, ulysses exchanges the gradient of the output as it did q, and those of q, k and v as
/// it did the output. In a ring K and V travel once more, with the accumulated gradients of both,
/// which take one more step to get home. Megatron-SP gathers and scatters gradients as it did
/// activations. Recomputed activations would add the forward traffic and are not counted.
Traffic block_traffic(const Parallelism& parallelism, const Sequence& sequence, BlockKind kind,
                      Direction direction, int bytes_per_element);

/// What RMS norms over all channels of q and k (Wan2.1) add per block under megatron-sp, whose
/// ranks hold some heads of all tokens after the QKV projection: for each row the ranks' two
/// float32 sums of squares go to the row's owner, and the totals back to all. Forward or backward
/// alike, and not part of the other functions. Other strategies norm before they split heads and
/// add nothing.
Traffic norm_traffic(const Parallelism& parallelism, const Sequence& sequence);

struct TrafficPart {
  std::string label;
  Traffic traffic;
};

/// One forward pass over all blocks. `total.sent_bytes_per_rank` is that of the rank which sends
/// most in all, so it may be less than the sum over the parts, each of which names its own largest.
struct ForwardTraffic {
  Traffic total;
  /// In this order, without those that need no exchange: "full blocks"; "sparse blocks" (inside
  /// attention); "phase switches" (one fewer than sparse blocks); "entering" and "leaving" the
  /// sparse blocks.
  std::vector<TrafficPart> breakdown;
};

/// Blocks, phase switches and, where ranks own whole sub-sequences and both kinds of blocks occur,
/// the two changes of ownership between them: under Boundary::all_gather of all rows (padded ones
/// when leaving), under Boundary::reshard of valid tokens that change owner. The gather strategy
/// always gathers. Sparse blocks start with the token phase. The gather of the head's output (64
/// channels a token) at the end of the model is left out, as is what text and time embeddings move.
ForwardTraffic forward_traffic(const Parallelism& parallelism, const Model& model, const Grid& grid,
                               std::int64_t batch, int bytes_per_element);

}  // namespace ospsim
