#include "sim/parallel/mpi/mpi_communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "kernels_ref/index.hpp"

/// Under the address sanitizer, leaks are not looked for: Open MPI leaks, from modules that it has
/// unloaded by then, so that they cannot be told apart.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}

namespace ospsim {
namespace {

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

std::vector<int> world_members() {
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  std::vector<int> members(index(ranks));
  std::iota(members.begin(), members.end(), 0);
  return members;
}

/// MPI counts in int.
std::vector<int> as_ints(const std::vector<std::int64_t>& values) {
  std::vector<int> ints;
  for (const std::int64_t value : values) {
    if (value > std::numeric_limits<int>::max())
      throw std::length_error("one rank's part of an exchange exceeds 2 GiB");
    ints.push_back(static_cast<int>(value));
  }
  return ints;
}

}  // namespace

MpiCommunicator::MpiCommunicator(const MpiSettings& settings)
    : Communicator(world_rank(), world_members(), std::make_shared<RankState>()),
      group_(MPI_COMM_WORLD),
      settings_(settings) {}

MpiCommunicator::MpiCommunicator(int rank, std::vector<int> members,
                                 std::shared_ptr<RankState> state, MPI_Comm group,
                                 const MpiSettings& settings)
    : Communicator(rank, std::move(members), std::move(state)),
      group_(group),
      owned_(true),
      settings_(settings) {}

MpiCommunicator::~MpiCommunicator() {
  if (owned_) MPI_Comm_free(&group_);
}

std::unique_ptr<Communicator> MpiCommunicator::make_subgroup(const std::vector<int>& ranks,
                                                             int rank, std::vector<int> members,
                                                             std::shared_ptr<RankState> state) {
  MPI_Group all, part;
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_group(group_, &all);
  MPI_Group_incl(all, static_cast<int>(ranks.size()), ranks.data(), &part);
  MPI_Comm_create_group(group_, part, 0, &comm);
  MPI_Group_free(&part);
  MPI_Group_free(&all);
  return std::unique_ptr<Communicator>(
      new MpiCommunicator(rank, std::move(members), std::move(state), comm, settings_));
}

void MpiCommunicator::check_sizes(const SentParts& sent, const ReceivedParts& received) const {
  std::vector<std::int64_t> offered(sent.bytes.size());
  MPI_Alltoall(sent.bytes.data(), 1, MPI_INT64_T, offered.data(), 1, MPI_INT64_T, group_);
  for (int r = 0; r < size(); ++r)
    if (offered[index(r)] != received.bytes[index(r)])
      throw std::runtime_error(fmt::format("rank {} sends {} bytes where rank {} expects {}",
                                           members()[index(r)], offered[index(r)],
                                           members()[index(rank())], received.bytes[index(r)]));
}

void MpiCommunicator::move(Exchange::Kind kind, const SentParts& sent,
                           const ReceivedParts& received) {
  if (settings_.checks_sizes) check_sizes(sent, received);
  if (!settings_.carries_payload || size() == 1) return;
  const auto sent_bytes = as_ints(sent.bytes), sent_at = as_ints(sent.offset);
  const auto received_bytes = as_ints(received.bytes), received_at = as_ints(received.offset);
  if (kind == Exchange::Kind::shift) {
    const auto to = index((rank() + 1) % size()), from = index((rank() + size() - 1) % size());
    MPI_Sendrecv(sent.data + sent_at[to], sent_bytes[to], MPI_BYTE, static_cast<int>(to), 0,
                 received.data + received_at[from], received_bytes[from], MPI_BYTE,
                 static_cast<int>(from), 0, group_, MPI_STATUS_IGNORE);
    return;
  }
  MPI_Alltoallv(sent.data, sent_bytes.data(), sent_at.data(), MPI_BYTE, received.data,
                received_bytes.data(), received_at.data(), MPI_BYTE, group_);
}

int run_as_rank(int argc, char** argv, const char* program, const std::function<void()>& body) {
  MPI_Init(&argc, &argv);
  try {
    body();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: rank {}: {}\n", program, world_rank(), error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}

}  // namespace ospsim
