#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ospsim {

/// One rank's part in one exchange. Only what crosses between ranks is listed: no part for the rank
/// itself and none without bytes.
struct Exchange {
  enum class Kind { all_to_all, all_gather, reduce_scatter, shift };
  struct Part {
    int peer = 0;  ///< a rank of the whole job
    std::int64_t bytes = 0;
    friend bool operator==(const Part&, const Part&) = default;
  };

  Kind kind = Kind::all_to_all;
  std::string label;  ///< what moves: "q", "k", "v", "o", "phase", "enter", "leave", ...
  int block = 0;      ///< of the model, from 0
  std::vector<Part> sent, received;  ///< by ascending peer
  /// Local memory traffic of packing and unpacking, each byte counted when read and when written.
  std::int64_t packing_bytes = 0;
  /// Whether the next computation of this rank does not need what is received: the two may overlap.
  bool overlaps_next = false;

  std::int64_t sent_bytes() const;
};

/// Local work between exchanges.
struct Computation {
  std::string label;
  int block = 0;
  double flops = 0, bytes = 0;  ///< `bytes`: memory traffic at least, each operand once
};

using Event = std::variant<Computation, Exchange>;
using Trace = std::vector<Event>;  ///< what one rank did, in order

/// Who sent what to whom, in which step, after which computation.
struct Ledger {
  std::vector<Trace> ranks;
};

/// What an exchange schedule costs. A step is an exchange that must end before the next can begin;
/// a collective is a step that involves a whole group (a shift is a step only).
/// `sent_bytes_per_rank` leave the rank; the largest rank counts.
struct Traffic {
  std::int64_t collectives = 0, steps = 0, sent_bytes_per_rank = 0;
  friend bool operator==(const Traffic&, const Traffic&) = default;
};

/// Over all exchanges, or those of one label. Collectives and steps are the largest of any rank.
Traffic traffic(const Ledger& ledger, std::string_view label = {});

/// Bytes from rank to rank, row-major [ranks, ranks].
std::vector<std::int64_t> bytes_between_ranks(const Ledger& ledger);

/// Throws std::logic_error unless every part that a rank sends is received by its peer, in the same
/// order and of the same size.
void require_matching_parts(const Ledger& ledger);

}  // namespace ospsim
