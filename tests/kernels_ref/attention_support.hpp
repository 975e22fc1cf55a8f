#pragma once

#include <Eigen/Dense>
#include <utility>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {

enum class Order { heads_first, rows_first };

struct Sizes {
  std::int64_t heads = 1, queries = 1, keys = 1, head_dim = 1;
  std::int64_t query_elements() const { return heads * queries * head_dim; }
  std::int64_t key_elements() const { return heads * keys * head_dim; }
};

/// The inputs of one attention call, as one array per tensor.
struct Inputs {
  Sizes sizes;
  std::vector<double> q, k, v, d_o;
};

inline Inputs random_inputs(Sizes sizes, std::uint64_t seed = 1, double scale = 1) {
  return {sizes, normal(sizes.query_elements(), seed, scale),
          normal(sizes.key_elements(), seed + 1, scale),
          normal(sizes.key_elements(), seed + 2, scale),
          normal(sizes.query_elements(), seed + 3, scale)};
}

template <class T>
struct Results {
  std::vector<T> o, lse, dq, dk, dv;
  friend bool operator==(const Results&, const Results&) = default;
};

/// What the results hold before the call: rows that no group names must keep it.
inline constexpr int untouched = -7;

template <Backend B>
Results<Real<B>> run_attention(const std::vector<AttentionGroup>& groups, const Inputs& inputs,
                               Order order = Order::heads_first, int threads = 2) {
  using T = Real<B>;
  const std::int64_t heads = inputs.sizes.heads, head_dim = inputs.sizes.head_dim;
  const std::int64_t queries = inputs.sizes.queries, keys = inputs.sizes.keys;
  const auto view = [&](auto* data, std::int64_t rows) {
    return order == Order::heads_first ? heads_first(data, heads, rows, head_dim)
                                       : rows_first(data, heads, rows, head_dim);
  };
  const auto q = converted<T>(inputs.q), k = converted<T>(inputs.k), v = converted<T>(inputs.v),
             d_o = converted<T>(inputs.d_o);
  Results<T> r{std::vector<T>(q.size(), untouched),
               std::vector<T>(static_cast<std::size_t>(heads * queries), untouched),
               std::vector<T>(q.size(), untouched), std::vector<T>(k.size(), untouched),
               std::vector<T>(k.size(), untouched)};
  attention_forward<B>(groups, view(q.data(), queries), view(k.data(), keys), view(v.data(), keys),
                       view(r.o.data(), queries), r.lse, threads);
  attention_backward<B>(groups, view(q.data(), queries), view(k.data(), keys), view(v.data(), keys),
                        view(std::as_const(r.o).data(), queries), view(d_o.data(), queries), r.lse,
                        view(r.dq.data(), queries), view(r.dk.data(), keys),
                        view(r.dv.data(), keys), threads);
  return r;
}

/// Masked softmax attention as dense matrices in precision T: an oracle that knows no groups, and
/// in float what "a plain computation in the same precision" means. `mask` [queries, keys] is 0
/// or 1.
template <class T>
Results<T> dense_attention(const Eigen::MatrixXd& mask, const Inputs& inputs) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Column = Eigen::Matrix<T, Eigen::Dynamic, 1>;
  const std::int64_t heads = inputs.sizes.heads, head_dim = inputs.sizes.head_dim;
  const std::int64_t queries = inputs.sizes.queries, keys = inputs.sizes.keys;
  const T scale = 1 / std::sqrt(static_cast<T>(head_dim));
  Results<T> r;
  const auto append = [](std::vector<T>& to, const Matrix& values) {
    to.insert(to.end(), values.data(), values.data() + values.size());
  };
  for (std::int64_t head = 0; head < heads; ++head) {
    const auto of_head = [&](const std::vector<double>& data, std::int64_t rows) -> Matrix {
      using Doubles = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
      return Eigen::Map<const Doubles>(data.data() + head * rows * head_dim, rows, head_dim)
          .template cast<T>();
    };
    const Matrix q = of_head(inputs.q, queries), k = of_head(inputs.k, keys),
                 v = of_head(inputs.v, keys), d_o = of_head(inputs.d_o, queries);
    const Matrix logits = scale * q * k.transpose();
    const Column max = logits.rowwise().maxCoeff();
    const Matrix weights = (logits.colwise() - max).array().exp() * mask.cast<T>().array();
    const Column sum = weights.rowwise().sum();
    const Matrix p = sum.cwiseInverse().asDiagonal() * weights;
    const Matrix o = p * v, dp = d_o * v.transpose();
    const Column mean_dp = p.cwiseProduct(dp).rowwise().sum();
    const Matrix d_logits = p.array() * (dp.colwise() - mean_dp).array();
    append(r.o, o);
    append(r.lse, max.array() + sum.array().log());
    append(r.dq, scale * d_logits * k);
    append(r.dk, scale * d_logits.transpose() * q);
    append(r.dv, p.transpose() * d_o);
  }
  return r;
}

/// The largest relative L2 error over the five results.
template <class A, class B>
double worst_error(const Results<A>& a, const Results<B>& b) {
  return std::max({relative_l2(a.o, b.o), relative_l2(a.lse, b.lse), relative_l2(a.dq, b.dq),
                   relative_l2(a.dk, b.dk), relative_l2(a.dv, b.dv)});
}

}  // namespace ospsim
