#include "analysis/downstream_error.hpp"

#include <algorithm>
#include <cmath>

#include "kernels_ref/attention/attention.hpp"

namespace ospsim {

namespace {

std::vector<float> unrounded(std::span<const float> x, std::int64_t) {
  return {x.begin(), x.end()};
}

std::vector<float> rounded_to_bf16(std::span<const float> x, std::int64_t) {
  std::vector<float> y(x.size());
  std::transform(x.begin(), x.end(), y.begin(), round_to_bf16);
  return y;
}

}  // namespace

OperandRounding no_rounding() {
  return {unrounded, unrounded};
}

OperandRounding bf16_rounding() {
  return {rounded_to_bf16, rounded_to_bf16};
}

OperandRounding quantization_rounding(const Quantization& forward, const Quantization& backward,
                                      int threads) {
  const auto by = [threads](const Quantization& quantization) -> Rounder {
    return [=](std::span<const float> x, std::int64_t columns) {
      return quantized(quantization, columns, x, threads);
    };
  };
  return {by(forward), by(backward)};
}

LinearResult rounded_linear(LinearShape shape, std::span<const float> x,
                            std::span<const float> weight, std::span<const float> dy,
                            const OperandRounding& rounding, int threads) {
  const auto rounded_x = rounding.forward(x, shape.in);
  const auto rounded_weight = rounding.forward(weight, shape.in);
  const auto rounded_dy = rounding.gradient(dy, shape.out);
  LinearResult result{.y = std::vector<float>(dy.size()),
                      .dx = std::vector<float>(x.size()),
                      .dweight = std::vector<float>(weight.size())};
  linear_forward<Backend::cpu>(shape, rounded_x, rounded_weight, {}, result.y, threads);
  linear_backward<Backend::cpu>(shape, rounded_x, rounded_weight, rounded_dy, result.dx,
                                result.dweight, {}, threads);
  return result;
}

AttentionResult rounded_attention(AttentionShape shape, std::span<const float> q,
                                  std::span<const float> k, std::span<const float> v,
                                  std::span<const float> d_o, const OperandRounding& rounding,
                                  int threads) {
  const auto& [heads, tokens, head_dim] = shape;
  const auto rounded_q = rounding.forward(q, head_dim), rounded_k = rounding.forward(k, head_dim),
             rounded_v = rounding.forward(v, head_dim);
  const auto view = [&](auto& values) {
    return heads_first(values.data(), heads, tokens, head_dim);
  };
  const auto groups = group_of_all(tokens, tokens);
  std::vector<float> lse(static_cast<std::size_t>(heads * tokens));
  AttentionResult result{std::vector<float>(q.size()), std::vector<float>(q.size()),
                         std::vector<float>(q.size()), std::vector<float>(q.size())};
  attention_forward<Backend::cpu>(groups, view(rounded_q), view(rounded_k), view(rounded_v),
                                  view(result.o), lse, threads);
  attention_backward<Backend::cpu>(groups, view(rounded_q), view(rounded_k), view(rounded_v),
                                   view(result.o), view(d_o), lse, view(result.dq), view(result.dk),
                                   view(result.dv), threads);
  for (auto* gradient : {&result.dq, &result.dk, &result.dv})
    *gradient = rounding.gradient(*gradient, head_dim);
  return result;
}

double relative_l2(std::span<const float> a, std::span<const float> b) {
  double difference_2 = 0, norm_2 = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    difference_2 += difference * difference;
    norm_2 += static_cast<double>(b[i]) * b[i];
  }
  return difference_2 == 0 ? 0 : std::sqrt(difference_2 / norm_2);
}

}  // namespace ospsim
