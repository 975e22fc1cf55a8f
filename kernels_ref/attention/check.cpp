#include "kernels_ref/attention/check.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <vector>

namespace ospsim {
namespace {

void check_sizes(const NamedSizes& tensor, std::int64_t heads, std::int64_t rows,
                 std::int64_t head_dim) {
  if (tensor.heads != heads || tensor.rows != rows || tensor.head_dim != head_dim)
    throw std::invalid_argument(fmt::format(
        "attention: {} is [{}, {}, {}], expected [heads {}, rows {}, head_dim {}]", tensor.name,
        tensor.heads, tensor.rows, tensor.head_dim, heads, rows, head_dim));
}

class RowSet {
 public:
  RowSet(const char* what, std::int64_t rows, bool disjoint)
      : what_(what), named_(static_cast<std::size_t>(rows)), disjoint_(disjoint) {}

  void add(std::int64_t row) {
    if (row < 0 || row >= static_cast<std::int64_t>(named_.size()))
      throw std::invalid_argument(
          fmt::format("attention: a group names {} {} of {}", what_, row, named_.size()));
    if (disjoint_ && named_[static_cast<std::size_t>(row)])
      throw std::invalid_argument(fmt::format("attention: {} {} is named twice", what_, row));
    named_[static_cast<std::size_t>(row)] = true;
  }

 private:
  const char* what_;
  std::vector<bool> named_;
  bool disjoint_;
};

}  // namespace

void check_attention(std::span<const AttentionGroup> groups,
                     std::initializer_list<NamedSizes> query_tensors,
                     std::initializer_list<NamedSizes> key_tensors, std::size_t lse_size,
                     bool keys_disjoint) {
  const NamedSizes& q = *query_tensors.begin();
  const NamedSizes& k = *key_tensors.begin();
  if (q.heads < 0 || q.rows < 0 || k.rows < 0 || q.head_dim < 1)
    throw std::invalid_argument(fmt::format("attention: q is [{}, {}, {}] and k has {} rows",
                                            q.heads, q.rows, q.head_dim, k.rows));
  for (const auto& tensor : query_tensors) check_sizes(tensor, q.heads, q.rows, q.head_dim);
  for (const auto& tensor : key_tensors) check_sizes(tensor, q.heads, k.rows, q.head_dim);
  if (lse_size != static_cast<std::size_t>(q.heads * q.rows))
    throw std::invalid_argument(fmt::format(
        "attention: lse has {} elements, expected {} heads x {} rows", lse_size, q.heads, q.rows));
  RowSet queries("query row", q.rows, true), keys("key row", k.rows, keys_disjoint);
  for (const auto& group : groups) {
    for (const auto row : group.queries) queries.add(row);
    for (const auto row : group.keys) keys.add(row);
  }
}

}  // namespace ospsim
