#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/parallel/collectives.hpp"
#include "sim/parallel/sharding.hpp"

namespace ospsim {

/// The move of a tensor from one sharding over a group of ranks to another, as one rank does it:
/// the one exchange of which the all-to-alls of ulysses, the phase switch of ssp and the reshard at
/// the boundaries are cases. Each rank sends each other rank the rows and channels that the one has
/// and the other wants, in the order in which the other stores them. Rows that nobody has (padding)
/// arrive as zeros; rows that nobody wants are dropped; of an element that several have, any one's
/// arrives.
class Redistribution {
 public:
  /// `rank` indexes both shardings.
  Redistribution(const Sharding& from, const Sharding& to, int rank);

  /// in [elements of from[rank]], out [elements of to[rank]], both empty without payload; they must
  /// not overlap. Where every part is contiguous in `in` (or in `out`) it is not packed (unpacked);
  /// else `out` and the communicator's scratch serve as staging, so that extra memory is at most
  /// one shard where both sides' shards are equally large. Throws std::invalid_argument where an
  /// array is not as large as its shard.
  void run(Communicator& communicator, const StepName& name, Wire wire, std::span<const float> in,
           std::span<float> out) const;

  std::int64_t sent_elements() const;
  /// Elements of scratch that `run` asks for with float32 on the wire.
  std::int64_t scratch_elements() const;

 private:
  struct Run {
    std::int64_t first = 0, count = 0;  ///< rows of the local array
  };
  /// What goes to or comes from one rank: rows in order, and a window of the local channels.
  struct Part {
    std::vector<Run> runs;
    Range window;
    std::int64_t rows = 0;
    std::int64_t elements() const { return rows * window.size(); }
  };
  /// One side of the exchange: local array of `width` channels, parts by rank.
  struct Side {
    std::vector<Part> parts;
    std::int64_t width = 0, elements = 0;
    bool contiguous = true;  ///< every remote part is one run of whole rows
  };

  static Part common_part(const Shard& local, const Shard& remote, const Shard& order,
                          std::vector<std::int64_t>& index_of_row);
  static void finish(Side& side, int rank);
  static bool is_covered(const Side& side, std::int64_t rows);
  std::int64_t remote_elements(const Side& side) const;
  std::int64_t packing_bytes(int bytes_per_element) const;
  void set_sizes(SentParts& sent, ReceivedParts& received, int bytes_per_element) const;
  template <class Wired>
  void move(Communicator& communicator, const StepName& name, std::span<const float> in,
            std::span<float> out) const;
  template <class Wired>
  void keep_own(std::span<const float> in, std::span<float> out) const;

  int rank_;
  Side sent_, received_;
  bool zero_first_ = false;  ///< some rows of `out` come from nobody
};

}  // namespace ospsim
