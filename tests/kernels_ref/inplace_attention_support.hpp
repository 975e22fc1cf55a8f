#pragma once

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/attention/inplace_plan.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/index.hpp"
#include "tests/kernels_ref/support.hpp"

/// What the tests of in-place attention on the host and on a device have in common.
namespace ospsim {

inline float value_of(Bfloat16 x) {
  return to_float(x);
}
inline float rounded_to_bf16(float x) {
  return to_float(to_bfloat16(x));
}
inline std::vector<Bfloat16> random_bf16(std::int64_t size, std::uint64_t seed, double scale = 1) {
  std::vector<Bfloat16> all;
  for (const double value : normal(size, seed, scale))
    all.push_back(to_bfloat16(static_cast<float>(value)));
  return all;
}

struct Case {
  const char* pattern;
  Ratio ratio;
  Grid grid;
  Phase phase = Phase::token;
  Layout layout() const { return {parse_pattern(pattern, ratio), grid, phase}; }
};
inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.pattern << " " << c.ratio.t << "," << c.ratio.y << "," << c.ratio.x << " on "
             << c.grid.t << "x" << c.grid.h << "x" << c.grid.w << ", " << to_string(c.phase);
}

/// Tensors [tokens, row_stride] of bf16, and what attention in double makes of them.
struct Problem {
  static constexpr std::int64_t head_dim = InPlacePlan::head_dim;
  Layout layout;
  std::int64_t heads, row_stride;
  std::vector<Bfloat16> q, k, v;

  Problem(const Layout& l, std::int64_t h, double scale = 1)
      : layout(l),
        heads(h),
        row_stride(h * head_dim + 8),  // rows lie further apart than they are long
        q(random_bf16(layout.grid().tokens() * row_stride, 1, scale)),
        k(random_bf16(layout.grid().tokens() * row_stride, 2, scale)),
        v(random_bf16(layout.grid().tokens() * row_stride, 3)) {}

  std::int64_t tokens() const { return layout.grid().tokens(); }
  template <class T>
  HeadTensor<T> view(T* data) const {
    return {data, heads, tokens(), head_dim, head_dim, row_stride};
  }
  template <class T>
  std::vector<T> values(const std::vector<Bfloat16>& tensor) const {
    std::vector<T> all;
    for (const auto x : tensor) all.push_back(value_of(x));
    return all;
  }
  /// The numbers of a tensor that belong to a token.
  std::vector<double> packed(const std::vector<double>& tensor) const {
    std::vector<double> all;
    for (std::int64_t t = 0; t < tokens(); ++t)
      for (std::int64_t c = 0; c < heads * head_dim; ++c)
        all.push_back(tensor[index(t * row_stride + c)]);
    return all;
  }
};

struct Answer {
  std::vector<double> o, lse;
};

inline Answer oracle(const Problem& p, const std::vector<AttentionGroup>& groups) {
  Answer answer{std::vector<double>(p.q.size()), std::vector<double>(index(p.heads * p.tokens()))};
  const auto q = p.values<double>(p.q), k = p.values<double>(p.k), v = p.values<double>(p.v);
  attention_forward<Backend::naive>(groups, p.view(q.data()), p.view(k.data()), p.view(v.data()),
                                    p.view(answer.o.data()), answer.lse);
  answer.o = p.packed(answer.o);
  return answer;
}

/// The same in float, weights and outputs rounded to bf16: no better can be asked of the kernel.
inline std::vector<double> plain(const Problem& p, const std::vector<AttentionGroup>& groups) {
  const auto q = p.values<float>(p.q), k = p.values<float>(p.k), v = p.values<float>(p.v);
  std::vector<double> o(p.q.size());
  const float scale = 1 / std::sqrt(static_cast<float>(Problem::head_dim));
  for (const auto& group : groups)
    for (std::int64_t head = 0; head < p.heads; ++head)
      for (const auto query : group.queries) {
        const auto at = [&](std::int64_t row) {
          return index(row * p.row_stride + head * Problem::head_dim);
        };
        std::vector<float> weights, sums(Problem::head_dim);
        float top = -INFINITY, total = 0;
        for (const auto key : group.keys) {
          float sum = 0;
          for (std::size_t d = 0; d < Problem::head_dim; ++d)
            sum += q[at(query) + d] * k[at(key) + d];
          weights.push_back(sum * scale);
          top = std::max(top, weights.back());
        }
        for (std::size_t i = 0; i < weights.size(); ++i) {
          const float weight = std::exp(weights[i] - top);
          total += weight;
          const float rounded = rounded_to_bf16(weight);
          for (std::size_t d = 0; d < Problem::head_dim; ++d)
            sums[d] += rounded * v[at(group.keys[i]) + d];
        }
        for (std::size_t d = 0; d < Problem::head_dim; ++d)
          o[at(query) + d] = rounded_to_bf16(sums[d] / total);
      }
  return p.packed(o);
}

}  // namespace ospsim
