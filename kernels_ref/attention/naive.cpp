#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/attention/check.hpp"

namespace ospsim {
namespace {

using Tensor = HeadTensor<double>;
using ConstTensor = HeadTensor<const double>;

double dot(const double* a, const double* b, std::int64_t size) {
  double sum = 0;
  for (std::int64_t d = 0; d < size; ++d) sum += a[d] * b[d];
  return sum;
}

/// a += factor * b
void add_scaled(double* a, double factor, const double* b, std::int64_t size) {
  for (std::int64_t d = 0; d < size; ++d) a[d] += factor * b[d];
}

std::size_t lse_index(const ConstTensor& q, std::int64_t head, std::int64_t row) {
  return static_cast<std::size_t>(head * q.rows + row);
}

}  // namespace

template <>
void attention_forward<Backend::naive>(std::span<const AttentionGroup> groups, ConstTensor q,
                                       ConstTensor k, ConstTensor v, Tensor o,
                                       std::span<double> lse, int /*threads*/) {
  check_attention_forward<double>(groups, q, k, v, o, lse);
  const double scale = 1 / std::sqrt(static_cast<double>(q.head_dim));
  std::vector<double> logits;
  for (std::int64_t head = 0; head < q.heads; ++head) {
    for (const auto& group : groups) {
      for (const auto query : group.queries) {
        logits.clear();
        for (const auto key : group.keys)
          logits.push_back(scale * dot(q.row(head, query), k.row(head, key), q.head_dim));
        double max = -std::numeric_limits<double>::infinity(), sum = 0;
        for (const double logit : logits) max = std::max(max, logit);
        for (const double logit : logits) sum += std::exp(logit - max);

        double* const output = o.row(head, query);
        std::fill_n(output, q.head_dim, 0.0);
        for (std::size_t j = 0; j < logits.size(); ++j)
          add_scaled(output, std::exp(logits[j] - max) / sum, v.row(head, group.keys[j]),
                     q.head_dim);
        if (!lse.empty()) lse[lse_index(q, head, query)] = max + std::log(sum);
      }
    }
  }
}

template <>
void attention_backward<Backend::naive>(std::span<const AttentionGroup> groups, ConstTensor q,
                                        ConstTensor k, ConstTensor v, ConstTensor o,
                                        ConstTensor d_o, std::span<const double> lse, Tensor dq,
                                        Tensor dk, Tensor dv, int /*threads*/) {
  check_attention_backward<double>(groups, q, k, v, o, d_o, lse, dq, dk, dv);
  const std::int64_t head_dim = q.head_dim;
  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  for (std::int64_t head = 0; head < q.heads; ++head) {
    for (const auto& group : groups) {
      for (const auto query : group.queries) std::fill_n(dq.row(head, query), head_dim, 0.0);
      for (const auto key : group.keys) {
        std::fill_n(dk.row(head, key), head_dim, 0.0);
        std::fill_n(dv.row(head, key), head_dim, 0.0);
      }
      for (const auto query : group.queries) {
        const double* const d_output = d_o.row(head, query);
        const double mean_dp = dot(d_output, o.row(head, query), head_dim);
        for (const auto key : group.keys) {
          const double logit = scale * dot(q.row(head, query), k.row(head, key), head_dim);
          const double p = std::exp(logit - lse[lse_index(q, head, query)]);
          const double dp = dot(d_output, v.row(head, key), head_dim);
          const double d_logit = p * (dp - mean_dp);
          add_scaled(dv.row(head, key), p, d_output, head_dim);
          add_scaled(dq.row(head, query), scale * d_logit, k.row(head, key), head_dim);
          add_scaled(dk.row(head, key), scale * d_logit, q.row(head, query), head_dim);
        }
      }
    }
  }
}

}  // namespace ospsim
