#pragma once

#include <mpi.h>

#include <functional>
#include <memory>

#include "sim/parallel/communicator.hpp"

namespace ospsim {

/// How an MPI job runs.
struct MpiSettings {
  /// Before each exchange the ranks tell each other how long their parts are; one that disagrees
  /// ends the job with a message. Eight bytes a peer, not in the ledger.
  bool checks_sizes = true;
  /// The ranks do everything but move payload: what is then sent is control traffic.
  bool carries_payload = true;
};

/// One rank of MPI_COMM_WORLD. Exchanges are one MPI_Alltoallv, shifts one MPI_Sendrecv.
/// `settings` is named, not copied, and may be changed between exchanges, by all ranks alike.
class MpiCommunicator : public Communicator {
 public:
  explicit MpiCommunicator(const MpiSettings& settings);
  ~MpiCommunicator() override;

  bool carries_payload() const override { return settings_.carries_payload; }

 protected:
  void move(Exchange::Kind kind, const SentParts& sent, const ReceivedParts& received) override;
  std::unique_ptr<Communicator> make_subgroup(const std::vector<int>& ranks, int rank,
                                              std::vector<int> members,
                                              std::shared_ptr<RankState> state) override;

 private:
  MpiCommunicator(int rank, std::vector<int> members, std::shared_ptr<RankState> state,
                  MPI_Comm group, const MpiSettings& settings);
  void check_sizes(const SentParts& sent, const ReceivedParts& received) const;

  MPI_Comm group_;
  bool owned_ = false;
  const MpiSettings& settings_;
};

/// The frame of a program that mpirun starts: initialises MPI and runs `body`. What it throws ends
/// the whole job, with one line on stderr: "PROGRAM: rank N: what it said". Returns the exit
/// status.
int run_as_rank(int argc, char** argv, const char* program, const std::function<void()>& body);

/// Bytes that this process has handed to MPI for other ranks, as the calls' arguments say, and how
/// many calls there were: counted by standing in for MPI_Alltoallv, MPI_Alltoallw and MPI_Sendrecv
/// (PMPI). Independent of the ledger.
struct MpiCalls {
  std::int64_t collectives = 0, shifts = 0, sent_bytes = 0;
};
MpiCalls mpi_calls();

}  // namespace ospsim
