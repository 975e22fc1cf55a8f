#include "sim/parallel/mpi/mpi_communicator.hpp"

namespace {

ospsim::MpiCalls counted;

int rank_in(MPI_Comm group) {
  int rank = 0;
  PMPI_Comm_rank(group, &rank);
  return rank;
}

int size_of(MPI_Comm group) {
  int size = 0;
  PMPI_Comm_size(group, &size);
  return size;
}

std::int64_t bytes_of(int count, MPI_Datatype type) {
  int bytes = 0;
  PMPI_Type_size(type, &bytes);
  return std::int64_t{count} * bytes;
}

}  // namespace

ospsim::MpiCalls ospsim::mpi_calls() {
  return counted;
}

// MPI's profiling interface: the library calls these by the names that applications use.
extern "C" {

int MPI_Alltoallv(const void* send, const int* send_counts, const int* send_at,
                  MPI_Datatype send_type, void* receive, const int* receive_counts,
                  const int* receive_at, MPI_Datatype receive_type, MPI_Comm group) {
  ++counted.collectives;
  for (int r = 0; r < size_of(group); ++r)
    if (r != rank_in(group)) counted.sent_bytes += bytes_of(send_counts[r], send_type);
  return PMPI_Alltoallv(send, send_counts, send_at, send_type, receive, receive_counts, receive_at,
                        receive_type, group);
}

int MPI_Alltoallw(const void* send, const int* send_counts, const int* send_at,
                  const MPI_Datatype* send_types, void* receive, const int* receive_counts,
                  const int* receive_at, const MPI_Datatype* receive_types, MPI_Comm group) {
  ++counted.collectives;
  for (int r = 0; r < size_of(group); ++r)
    if (r != rank_in(group)) counted.sent_bytes += bytes_of(send_counts[r], send_types[r]);
  return PMPI_Alltoallw(send, send_counts, send_at, send_types, receive, receive_counts, receive_at,
                        receive_types, group);
}

int MPI_Sendrecv(const void* send, int send_count, MPI_Datatype send_type, int to, int send_tag,
                 void* receive, int receive_count, MPI_Datatype receive_type, int from,
                 int receive_tag, MPI_Comm group, MPI_Status* status) {
  ++counted.shifts;
  if (to != rank_in(group)) counted.sent_bytes += bytes_of(send_count, send_type);
  return PMPI_Sendrecv(send, send_count, send_type, to, send_tag, receive, receive_count,
                       receive_type, from, receive_tag, group, status);
}
}
