#pragma once

#include <cstddef>
#include <initializer_list>

#include "kernels_ref/attention/attention.hpp"

namespace ospsim {

/// What a tensor of an attention call is named and how large it is.
struct NamedSizes {
  const char* name;
  std::int64_t heads, rows, head_dim;

  template <class T>
  NamedSizes(const char* tensor_name, const HeadTensor<T>& tensor)
      : name(tensor_name), heads(tensor.heads), rows(tensor.rows), head_dim(tensor.head_dim) {}
};

/// Throws std::invalid_argument unless the tensors of query rows (q first) and those of key rows
/// agree in size, there is a log-sum-exp per head and query row, and every group names rows that
/// exist and query rows that no other group names. With `keys_disjoint`, no key row may be named
/// twice either.
void check_attention(std::span<const AttentionGroup> groups,
                     std::initializer_list<NamedSizes> query_tensors,
                     std::initializer_list<NamedSizes> key_tensors, std::size_t lse_size,
                     bool keys_disjoint);

template <class T>
void check_attention_forward(std::span<const AttentionGroup> groups, HeadTensor<const T> q,
                             HeadTensor<const T> k, HeadTensor<const T> v, HeadTensor<T> o,
                             std::span<const T> lse) {
  const auto wanted = static_cast<std::size_t>(q.heads * q.rows);
  check_attention(groups, {{"q", q}, {"o", o}}, {{"k", k}, {"v", v}},
                  lse.empty() ? wanted : lse.size(), false);
}

template <class T>
void check_attention_backward(std::span<const AttentionGroup> groups, HeadTensor<const T> q,
                              HeadTensor<const T> k, HeadTensor<const T> v, HeadTensor<const T> o,
                              HeadTensor<const T> d_o, std::span<const T> lse, HeadTensor<T> dq,
                              HeadTensor<T> dk, HeadTensor<T> dv) {
  check_attention(groups, {{"q", q}, {"o", o}, {"d_o", d_o}, {"dq", dq}},
                  {{"k", k}, {"v", v}, {"dk", dk}, {"dv", dv}}, lse.size(), true);
}

}  // namespace ospsim
