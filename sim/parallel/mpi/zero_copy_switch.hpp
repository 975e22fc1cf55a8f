#pragma once

#include <mpi.h>

#include <optional>
#include <span>
#include <vector>

#include "sim/parallel/strategy.hpp"

namespace ospsim {

/// The phase switch of ssp without packing: one MPI_Alltoallw whose datatypes name the rows in
/// place. A rank's run of sub-sequences must be a choice of digits (splitting a digit where the run
/// ends inside one); then the rows for another rank are those with its digits fixed, a nest of
/// strided vectors read off the layout. Arrays are those of subsequence_sharding with
/// ulysses 1.
class ZeroCopySwitch {
 public:
  /// Nothing where a run of sub-sequences is no choice of digits (36 sub-sequences over 4 ranks),
  /// or where it ends inside the same digit in both phases.
  static std::optional<ZeroCopySwitch> make(const Sequence& sequence, Phase from, Phase to,
                                            MPI_Comm group);
  ZeroCopySwitch(ZeroCopySwitch&& other) noexcept;
  ZeroCopySwitch(const ZeroCopySwitch&) = delete;
  ZeroCopySwitch& operator=(const ZeroCopySwitch&) = delete;
  ~ZeroCopySwitch();

  /// in, out [batch * padded tokens / ranks, dim]; they must not overlap.
  void run(std::span<const float> in, std::span<float> out) const;

 private:
  ZeroCopySwitch() = default;

  MPI_Comm group_ = MPI_COMM_NULL;
  /// By rank; the types of parts that do not exist are MPI_BYTE with count 0.
  std::vector<MPI_Datatype> sent_, received_;
  std::vector<int> sent_count_, received_count_, sent_at_, received_at_;
};

}  // namespace ospsim
