#include "sim/parallel/megatron_layers.hpp"

#include <algorithm>
#include <cmath>

#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

constexpr Backend cpu = Backend::cpu;

/// Outputs [first, last) of a linear layer: rows of its weight.
struct OutputSlice {
  std::span<const float> weight, bias;
  OutputSlice(const LinearWeights<float>& whole, std::int64_t in, Range outputs)
      : weight(
            std::span(whole.weight).subspan(index(outputs.first * in), index(outputs.size() * in))),
        bias(std::span(whole.bias).subspan(index(outputs.first), index(outputs.size()))) {}
};

/// Inputs [first, last) of a linear layer: columns of its weight, copied.
std::vector<float> input_slice(const std::vector<float>& weight, std::int64_t in, Range inputs) {
  std::vector<float> slice;
  slice.reserve(weight.size() / index(in) * index(inputs.size()));
  for (auto row = weight.begin(); row != weight.end(); row += in)
    slice.insert(slice.end(), row + inputs.first, row + inputs.last);
  return slice;
}

void put_input_slice(const std::vector<float>& slice, std::int64_t in, Range inputs,
                     std::vector<float>& weight) {
  const std::int64_t width = inputs.size();
  for (std::int64_t row = 0; row < std::ssize(weight) / in; ++row)
    std::copy_n(slice.begin() + row * width, width, weight.begin() + row * in + inputs.first);
}

/// y += bias, row by row.
void add_bias(std::vector<float>& y, std::span<const float> bias) {
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += bias[i % bias.size()];
}

std::vector<float> column_sum(std::span<const float> rows, std::size_t columns) {
  std::vector<double> sum(columns);
  for (std::size_t i = 0; i < rows.size(); ++i) sum[i % columns] += static_cast<double>(rows[i]);
  return {sum.begin(), sum.end()};
}

/// [rows, 2]: in each row the dot product of a pair of arrays, in double, for two pairs.
template <class First, class Second>
std::vector<float> two_row_sums(std::int64_t rows, std::int64_t width, First first, Second second) {
  std::vector<float> sums(index(2 * rows));
  for (std::int64_t row = 0; row < rows; ++row) {
    double a = 0, b = 0;
    for (std::int64_t i = row * width; i < (row + 1) * width; ++i) {
      a += first(index(i));
      b += second(index(i));
    }
    sums[index(2 * row)] = static_cast<float>(a);
    sums[index(2 * row + 1)] = static_cast<float>(b);
  }
  return sums;
}

double product(float a, float b) {
  return static_cast<double>(a) * static_cast<double>(b);
}

}  // namespace

MegatronPlan::MegatronPlan(const RowNumbers& numbers, BlockKind kind, const Sharding& hidden) {
  for (const Shard& shard : hidden) rows_at.push_back(std::ssize(shard.rows));
  const auto rows = ospsim::all_rows(hidden);
  all_rows = std::ssize(rows);
  groups = attention_groups(numbers, kind, rows, rows);
  positions = positions_of(numbers, rows);
}

MegatronLayers::MegatronLayers(std::shared_ptr<const MegatronPlan> plan, const DitBlockShape& shape,
                               Communicator& communicator, StepContext context)
    : plan_(std::move(plan)),
      communicator_(communicator),
      context_(context),
      shape_(shape),
      all_rows_(plan_->all_rows) {
  const int ranks = communicator.size(), rank = communicator.rank();
  const Range heads = part_of(shape.heads, ranks, rank);
  channels_ = {heads.first * shape.head_dim(), heads.last * shape.head_dim()};
  ffn_columns_ = part_of(shape.ffn_dim, ranks, rank);
  for (const std::int64_t rows : plan_->rows_at) {
    elements_.push_back(rows * shape.dim);
    row_pairs_.push_back(2 * rows);
  }
}

std::vector<float> MegatronLayers::gather(const char* label, std::span<const float> own) {
  return all_gather(communicator_,
                    {.kind = Exchange::Kind::all_gather, .label = label, .block = context_.block},
                    context_.wire, elements_, own);
}

std::vector<float> MegatronLayers::scatter_sum(const char* label, std::span<const float> partial) {
  return reduce_scatter(
      communicator_,
      {.kind = Exchange::Kind::reduce_scatter, .label = label, .block = context_.block},
      context_.wire, elements_, partial);
}

std::vector<float> MegatronLayers::sum_over_ranks(const Array& partial) {
  const auto own = reduce_scatter(
      communicator_,
      {.kind = Exchange::Kind::reduce_scatter, .label = "norm", .block = context_.block}, Wire{4},
      row_pairs_, partial);
  return all_gather(communicator_,
                    {.kind = Exchange::Kind::all_gather, .label = "norm", .block = context_.block},
                    Wire{4}, row_pairs_, own);
}

std::vector<float> MegatronLayers::self_attention(const AttentionWeights<float>& weights,
                                                  std::span<const float> x) {
  const std::int64_t dim = shape_.dim, width = channels_.size(), heads = width / shape_.head_dim();
  const int bytes = context_.wire.bytes_per_element, threads = context_.threads;
  const LinearShape projection{all_rows_, dim, width}, output{all_rows_, width, dim};
  x_ = gather("attention in", x);

  const Cost one = linear_forward_cost(projection, bytes);
  record("q, k, v", {3 * one.flops, 3 * one.bytes});
  if (computes()) {
    const auto project = [&](const LinearWeights<float>& whole) {
      const OutputSlice slice(whole, dim, channels_);
      Array y(index(all_rows_ * width));
      linear_forward<cpu>(projection, x_, slice.weight, slice.bias, y, threads);
      return y;
    };
    q_linear_ = project(weights.q);
    k_linear_ = project(weights.k);
    v_ = project(weights.v);
    sums_of_squares_ = two_row_sums(
        all_rows_, width, [&](std::size_t i) { return product(q_linear_[i], q_linear_[i]); },
        [&](std::size_t i) { return product(k_linear_[i], k_linear_[i]); });
  } else if (communicator_.carries_payload()) {
    sums_of_squares_.assign(index(2 * all_rows_), 0);
  }
  sums_of_squares_ = sum_over_ranks(sums_of_squares_);

  const auto cost = attention_forward_cost(attended_pairs(plan_->groups), heads, all_rows_,
                                           all_rows_, shape_.head_dim(), bytes);
  record("attention", cost);
  Array partial(communicator_.carries_payload() ? index(all_rows_ * dim) : 0);
  if (computes()) {
    const auto normed = [&](const Array& linear, const std::vector<float>& weight, int which) {
      Array y(linear.size());
      for (std::int64_t i = 0; i < std::ssize(y); ++i)
        y[index(i)] = linear[index(i)] * inverse_rms(i / width, which) *
                      weight[index(channels_.first + i % width)];
      rope_3d_forward<cpu>({heads, shape_.head_dim()}, plan_->positions, y, y, threads);
      return y;
    };
    q_ = normed(q_linear_, weights.q_norm, 0);
    k_ = normed(k_linear_, weights.k_norm, 1);
    attended_.assign(q_.size(), 0);
    lse_.assign(index(heads * all_rows_), 0);
    attention_forward<cpu>(plan_->groups, heads_of(q_), heads_of(k_), heads_of(v_),
                           heads_of(attended_), lse_, threads);
    linear_forward<cpu>(output, attended_, input_slice(weights.o.weight, dim, channels_), {},
                        partial, threads);
  }
  record("o", linear_forward_cost(output, bytes));
  Array y = scatter_sum("attention out", partial);
  if (computes()) add_bias(y, weights.o.bias);
  return y;
}

float MegatronLayers::inverse_rms(std::int64_t row, int which) const {
  const double mean = static_cast<double>(sums_of_squares_[index(2 * row + which)]) /
                      static_cast<double>(shape_.dim);
  return static_cast<float>(1 / std::sqrt(mean + dit_epsilon));
}

HeadTensor<float> MegatronLayers::heads_of(Array& x) const {
  return rows_first(x.data(), channels_.size() / shape_.head_dim(), all_rows_, shape_.head_dim());
}

std::vector<float> MegatronLayers::self_attention_backward(const AttentionWeights<float>& weights,
                                                           std::span<const float> dy,
                                                           AttentionWeights<float>& gradient) {
  const std::int64_t dim = shape_.dim, width = channels_.size(), heads = width / shape_.head_dim();
  const int threads = context_.threads;
  const LinearShape projection{all_rows_, dim, width}, output{all_rows_, width, dim};
  Array d_output = gather("attention out", dy);
  Array dx(communicator_.carries_payload() ? index(all_rows_ * dim) : 0);
  if (!computes()) {
    sum_over_ranks(sums_of_squares_);
    return scatter_sum("attention in", dx);
  }
  gradient.o.bias = column_sum(dy, index(dim));

  Array d_attended(attended_.size()), d_slice(index(dim * width));
  linear_backward<cpu>(output, attended_, input_slice(weights.o.weight, dim, channels_), d_output,
                       d_attended, d_slice, {}, threads);
  put_input_slice(d_slice, dim, channels_, gradient.o.weight);

  Array dq(q_.size()), dk(q_.size()), dv(q_.size());
  attention_backward<cpu>(plan_->groups, heads_of(q_), heads_of(k_), heads_of(v_),
                          heads_of(attended_), heads_of(d_attended), lse_, heads_of(dq),
                          heads_of(dk), heads_of(dv), threads);
  for (Array* d : {&dq, &dk})
    rope_3d_backward<cpu>({heads, shape_.head_dim()}, plan_->positions, *d, *d, threads);

  const auto weight_at = [&](const std::vector<float>& weight, std::size_t i) {
    return weight[index(channels_.first) + i % index(width)];
  };
  const auto projections = sum_over_ranks(two_row_sums(
      all_rows_, width,
      [&](std::size_t i) { return product(dq[i] * weight_at(weights.q_norm, i), q_linear_[i]); },
      [&](std::size_t i) { return product(dk[i] * weight_at(weights.k_norm, i), k_linear_[i]); }));
  const auto norm_backward = [&](Array& d, const Array& linear, const std::vector<float>& weight,
                                 std::vector<float>& d_weight, int which) {
    Array d_scale(d.size());
    for (std::int64_t i = 0; i < std::ssize(d); ++i) {
      const std::int64_t row = i / width;
      const float inverse = inverse_rms(row, which), x = linear[index(i)];
      const auto along =
          static_cast<float>(static_cast<double>(projections[index(2 * row + which)]) *
                             product(inverse, inverse) / static_cast<double>(dim));
      d_scale[index(i)] = d[index(i)] * x * inverse;
      d[index(i)] = inverse * (d[index(i)] * weight_at(weight, index(i)) - x * along);
    }
    const auto sums = column_sum(d_scale, index(width));
    std::copy(sums.begin(), sums.end(), d_weight.begin() + channels_.first);
  };
  norm_backward(dq, q_linear_, weights.q_norm, gradient.q_norm, 0);
  norm_backward(dk, k_linear_, weights.k_norm, gradient.k_norm, 1);

  const auto project_back = [&](const LinearWeights<float>& whole, const Array& d,
                                LinearWeights<float>& d_whole) {
    const auto outputs =
        std::span(d_whole.weight).subspan(index(channels_.first * dim), index(width * dim));
    const auto biases = std::span(d_whole.bias).subspan(index(channels_.first), index(width));
    Array part(x_.size());
    linear_backward<cpu>(projection, x_, OutputSlice(whole, dim, channels_).weight, d, part,
                         outputs, biases, threads);
    std::transform(part.begin(), part.end(), dx.begin(), dx.begin(), std::plus<>());
  };
  project_back(weights.q, dq, gradient.q);
  project_back(weights.k, dk, gradient.k);
  project_back(weights.v, dv, gradient.v);
  return scatter_sum("attention in", dx);
}

std::vector<float> MegatronLayers::feed_forward(const LinearWeights<float>& up,
                                                const LinearWeights<float>& down,
                                                std::span<const float> x) {
  const std::int64_t dim = shape_.dim, width = ffn_columns_.size();
  const int bytes = context_.wire.bytes_per_element, threads = context_.threads;
  const LinearShape widen{all_rows_, dim, width}, narrow{all_rows_, width, dim};
  ffn_x_ = gather("FFN in", x);
  record("FFN", linear_forward_cost(widen, bytes) + linear_forward_cost(narrow, bytes));
  Array partial(communicator_.carries_payload() ? index(all_rows_ * dim) : 0);
  if (computes()) {
    const OutputSlice slice(up, dim, ffn_columns_);
    ffn_up_.resize(index(all_rows_ * width));
    ffn_gelu_.resize(ffn_up_.size());
    linear_forward<cpu>(widen, ffn_x_, slice.weight, slice.bias, ffn_up_, threads);
    gelu_tanh_forward<cpu>(ffn_up_, ffn_gelu_, threads);
    linear_forward<cpu>(narrow, ffn_gelu_, input_slice(down.weight, shape_.ffn_dim, ffn_columns_),
                        {}, partial, threads);
  }
  Array y = scatter_sum("FFN out", partial);
  if (computes()) add_bias(y, down.bias);
  return y;
}

std::vector<float> MegatronLayers::feed_forward_backward(const LinearWeights<float>& up,
                                                         const LinearWeights<float>& down,
                                                         std::span<const float> dy,
                                                         LinearWeights<float>& up_gradient,
                                                         LinearWeights<float>& down_gradient) {
  const std::int64_t dim = shape_.dim, width = ffn_columns_.size();
  const int threads = context_.threads;
  const LinearShape widen{all_rows_, dim, width}, narrow{all_rows_, width, dim};
  const Array d_output = gather("FFN out", dy);
  Array dx(communicator_.carries_payload() ? index(all_rows_ * dim) : 0);
  if (computes()) {
    down_gradient.bias = column_sum(dy, index(dim));
    Array d_gelu(ffn_gelu_.size()), d_slice(index(dim * width));
    linear_backward<cpu>(narrow, ffn_gelu_, input_slice(down.weight, shape_.ffn_dim, ffn_columns_),
                         d_output, d_gelu, d_slice, {}, threads);
    put_input_slice(d_slice, shape_.ffn_dim, ffn_columns_, down_gradient.weight);
    gelu_tanh_backward<cpu>(ffn_up_, d_gelu, d_gelu, threads);
    const auto rows =
        std::span(up_gradient.weight).subspan(index(ffn_columns_.first * dim), index(width * dim));
    const auto biases =
        std::span(up_gradient.bias).subspan(index(ffn_columns_.first), index(width));
    linear_backward<cpu>(widen, ffn_x_, OutputSlice(up, dim, ffn_columns_).weight, d_gelu, dx, rows,
                         biases, threads);
  }
  return scatter_sum("FFN in", dx);
}

}  // namespace ospsim
