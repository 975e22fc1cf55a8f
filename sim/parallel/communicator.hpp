#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/parallel/ledger.hpp"

namespace ospsim {

/// What an exchange is called in the ledger.
struct StepName {
  Exchange::Kind kind = Exchange::Kind::all_to_all;
  std::string label;
  int block = 0;
  bool overlaps_next = false;  ///< see Exchange
};

/// Where the parts for (from) each rank of the group lie: `bytes[r]` bytes at `data + offset[r]`.
/// The own rank's part has no bytes. Without payload `data` is null.
template <class Byte>
struct Parts {
  Byte* data = nullptr;
  std::vector<std::int64_t> offset, bytes;

  Parts(Byte* base, int ranks)
      : data(base),
        offset(static_cast<std::size_t>(ranks)),
        bytes(static_cast<std::size_t>(ranks)) {}
  /// Sets the part of a rank.
  void set(int rank, std::int64_t part_offset, std::int64_t part_bytes) {
    offset[static_cast<std::size_t>(rank)] = part_offset;
    bytes[static_cast<std::size_t>(rank)] = part_bytes;
  }
};
using SentParts = Parts<const std::byte>;
using ReceivedParts = Parts<std::byte>;

/// What all groups that a rank is in share.
struct RankState {
  Trace trace;
  std::unique_ptr<std::byte[]> scratch;
  std::int64_t scratch_bytes = 0;
};

/// One rank's end of a group of ranks. Everything that crosses between ranks goes through
/// `exchange`, which writes the ledger; an engine only moves the bytes.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(members_.size()); }
  /// Whether bytes really move. Without, shapes move and bytes are counted; buffers are null.
  virtual bool carries_payload() const = 0;

  /// Every rank of the group calls it together. Parts must agree: what r sends to s is as long as
  /// what s receives from r, else an engine that carries payload throws std::runtime_error.
  /// Exchanges in which this rank neither sends nor receives are not recorded.
  void exchange(const StepName& name, const SentParts& sent, const ReceivedParts& received,
                std::int64_t packing_bytes = 0);
  void record(Computation computation) { state_->trace.push_back(std::move(computation)); }

  /// Some ranks of this group, in this order, with the own one among them; those ranks call it
  /// together. The new communicator writes the same trace.
  std::unique_ptr<Communicator> subgroup(const std::vector<int>& ranks);

  /// What this rank did so far.
  const Trace& trace() const { return state_->trace; }

  /// Memory of at least `bytes` for staging, the same for all groups of a rank and kept between
  /// exchanges: fresh pages cost more than the copy they are for.
  std::byte* scratch(std::int64_t bytes);

 protected:
  /// `members` are ranks of the whole job; `rank` indexes them.
  Communicator(int rank, std::vector<int> members, std::shared_ptr<RankState> state)
      : rank_(rank), members_(std::move(members)), state_(std::move(state)) {}

  virtual void move(Exchange::Kind kind, const SentParts& sent, const ReceivedParts& received) = 0;
  /// `rank` indexes `ranks`; `members` are the same ranks in the numbers of the whole job.
  virtual std::unique_ptr<Communicator> make_subgroup(const std::vector<int>& ranks, int rank,
                                                      std::vector<int> members,
                                                      std::shared_ptr<RankState> state) = 0;

  const std::vector<int>& members() const { return members_; }

 private:
  int rank_;
  std::vector<int> members_;
  std::shared_ptr<RankState> state_;
};

/// Runs program(rank's communicator) on every rank, one thread each, in this process. The first
/// exception of any rank ends the others at their next exchange and reaches the caller. Returns
/// what the ranks did.
Ledger run_in_process(int ranks, const std::function<void(Communicator&)>& program);

/// The same without payload, one rank after the other: for sizes no machine holds. A program must
/// not depend on what it receives. Throws std::logic_error where the ranks' parts do not match.
Ledger run_without_payload(int ranks, const std::function<void(Communicator&)>& program);

}  // namespace ospsim
