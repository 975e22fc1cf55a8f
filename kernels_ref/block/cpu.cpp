#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels_ref/block/check.hpp"
#include "kernels_ref/block/column_sums.hpp"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"
#include "kernels_ref/block/rope.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

using In = std::span<const float>;
using Out = std::span<float>;

/// Calls f(row) for every row, in tasks large enough to be worth a thread.
template <class F>
void for_each_row(std::int64_t rows, std::int64_t dim, int threads, F f) {
  const std::int64_t rows_per_task =
      std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(dim, 1));
  parallel_ranges(rows, rows_per_task, threads, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) f(row);
  });
}

/// The sum of term(d) over d < dim, in double; several partial sums, which a compiler can
/// vectorise.
template <class Term>
double sum_over(std::int64_t dim, Term term) {
  constexpr int parts = 8;
  double partial[parts] = {};
  std::int64_t d = 0;
  for (; d + parts <= dim; d += parts)
    for (int part = 0; part < parts; ++part) partial[part] += term(d + part);
  double sum = 0;
  for (; d < dim; ++d) sum += term(d);
  for (const double part : partial) sum += part;
  return sum;
}

struct Moments {
  float mean, inverse_deviation;
};

Moments moments(const float* x, std::int64_t dim, double epsilon) {
  const auto n = static_cast<double>(dim);
  const double mean = sum_over(dim, [&](std::int64_t d) { return x[d]; }) / n;
  const double squares =
      sum_over(dim, [&](std::int64_t d) { return (x[d] - mean) * (x[d] - mean); });
  return {static_cast<float>(mean), static_cast<float>(1 / std::sqrt(squares / n + epsilon))};
}

float inverse_rms(const float* x, std::int64_t dim, double epsilon) {
  const double squares = sum_over(dim, [&](std::int64_t d) { return x[d] * x[d]; });
  return static_cast<float>(1 / std::sqrt(squares / static_cast<double>(dim) + epsilon));
}

}  // namespace

template <>
void layer_norm_forward<Backend::cpu>(RowsShape shape, In x, In weight, In bias, double epsilon,
                                      Out y, int threads) {
  check_layer_norm_forward(shape, x, weight, bias, y);
  for_each_row(shape.rows, shape.dim, threads, [&](std::int64_t row) {
    const float* const from = x.data() + row * shape.dim;
    float* const to = y.data() + row * shape.dim;
    const auto [mean, inverse_deviation] = moments(from, shape.dim, epsilon);
    for (std::int64_t d = 0; d < shape.dim; ++d) to[d] = (from[d] - mean) * inverse_deviation;
    if (weight.empty()) return;
    const float *const w = weight.data(), *const b = bias.data();
    for (std::int64_t d = 0; d < shape.dim; ++d) to[d] = to[d] * w[d] + b[d];
  });
}

template <>
void layer_norm_backward<Backend::cpu>(RowsShape shape, In x, In weight, double epsilon, In dy,
                                       Out dx, Out dweight, Out dbias, int threads) {
  check_layer_norm_backward(shape, x, weight, dy, dx, dweight, dbias);
  const std::int64_t dim = shape.dim;
  std::vector<Moments> of_row(static_cast<std::size_t>(shape.rows));
  const std::vector<float> ones(weight.empty() ? static_cast<std::size_t>(dim) : 0, 1.0f);
  const float* const w = weight.empty() ? ones.data() : weight.data();
  for_each_row(shape.rows, dim, threads, [&](std::int64_t row) {
    const float *const from = x.data() + row * dim, *const gradient = dy.data() + row * dim;
    float* const to = dx.data() + row * dim;
    const Moments m = of_row[static_cast<std::size_t>(row)] = moments(from, dim, epsilon);
    const auto normalised = [&](std::int64_t d) {
      return (from[d] - m.mean) * m.inverse_deviation;
    };
    const auto n = static_cast<double>(dim);
    const auto mean =
        static_cast<float>(sum_over(dim, [&](std::int64_t d) { return gradient[d] * w[d]; }) / n);
    const auto projection = static_cast<float>(
        sum_over(dim, [&](std::int64_t d) { return gradient[d] * w[d] * normalised(d); }) / n);
    for (std::int64_t d = 0; d < dim; ++d)
      to[d] = m.inverse_deviation * (gradient[d] * w[d] - mean - normalised(d) * projection);
  });
  if (weight.empty()) return;
  const float *const from = x.data(), *const gradient = dy.data();
  column_sums(shape.rows, dim, threads, dweight, [&](std::int64_t row, std::int64_t d) {
    const auto& [mean, inverse_deviation] = of_row[static_cast<std::size_t>(row)];
    return gradient[row * dim + d] * ((from[row * dim + d] - mean) * inverse_deviation);
  });
  column_sums(shape.rows, dim, threads, dbias,
              [&](std::int64_t row, std::int64_t d) { return gradient[row * dim + d]; });
}

template <>
void rms_norm_forward<Backend::cpu>(RowsShape shape, In x, In weight, double epsilon, Out y,
                                    int threads) {
  check_rms_norm_forward(shape, x, weight, y);
  for_each_row(shape.rows, shape.dim, threads, [&](std::int64_t row) {
    const float *const from = x.data() + row * shape.dim, *const w = weight.data();
    float* const to = y.data() + row * shape.dim;
    const float inverse = inverse_rms(from, shape.dim, epsilon);
    for (std::int64_t d = 0; d < shape.dim; ++d) to[d] = from[d] * inverse * w[d];
  });
}

template <>
void rms_norm_backward<Backend::cpu>(RowsShape shape, In x, In weight, double epsilon, In dy,
                                     Out dx, Out dweight, int threads) {
  check_rms_norm_backward(shape, x, weight, dy, dx, dweight);
  const std::int64_t dim = shape.dim;
  std::vector<float> inverse_of_row(static_cast<std::size_t>(shape.rows));
  for_each_row(shape.rows, dim, threads, [&](std::int64_t row) {
    const float *const from = x.data() + row * dim, *const gradient = dy.data() + row * dim;
    const float* const w = weight.data();
    float* const to = dx.data() + row * dim;
    const float inverse = inverse_of_row[static_cast<std::size_t>(row)] =
        inverse_rms(from, dim, epsilon);
    const auto projection = static_cast<float>(
        sum_over(dim, [&](std::int64_t d) { return gradient[d] * w[d] * from[d]; }) * inverse *
        inverse / static_cast<double>(dim));
    for (std::int64_t d = 0; d < dim; ++d)
      to[d] = inverse * (gradient[d] * w[d] - from[d] * projection);
  });
  const float *const from = x.data(), *const gradient = dy.data();
  column_sums(shape.rows, dim, threads, dweight, [&](std::int64_t row, std::int64_t d) {
    return gradient[row * dim + d] *
           (from[row * dim + d] * inverse_of_row[static_cast<std::size_t>(row)]);
  });
}

template <>
void modulate_forward<Backend::cpu>(RowsShape shape, In x, In scale, In shift, Out y, int threads) {
  check_modulate_forward(shape, x, scale, shift, y);
  for_each_row(shape.rows, shape.dim, threads, [&](std::int64_t row) {
    const float *const from = x.data() + row * shape.dim, *const a = scale.data(),
                       *const b = shift.data();
    float* const to = y.data() + row * shape.dim;
    for (std::int64_t d = 0; d < shape.dim; ++d) to[d] = from[d] * (1 + a[d]) + b[d];
  });
}

template <>
void modulate_backward<Backend::cpu>(RowsShape shape, In x, In scale, In dy, Out dx, Out dscale,
                                     Out dshift, int threads) {
  check_modulate_backward(shape, x, scale, dy, dx, dscale, dshift);
  const std::int64_t dim = shape.dim;
  const float *const from = x.data(), *const gradient = dy.data();
  for_each_row(shape.rows, dim, threads, [&](std::int64_t row) {
    const float *const dy_row = gradient + row * dim, *const a = scale.data();
    float* const to = dx.data() + row * dim;
    for (std::int64_t d = 0; d < dim; ++d) to[d] = dy_row[d] * (1 + a[d]);
  });
  column_sums(shape.rows, dim, threads, dscale, [&](std::int64_t row, std::int64_t d) {
    return gradient[row * dim + d] * from[row * dim + d];
  });
  column_sums(shape.rows, dim, threads, dshift,
              [&](std::int64_t row, std::int64_t d) { return gradient[row * dim + d]; });
}

template <>
void gated_residual_forward<Backend::cpu>(RowsShape shape, In x, In r, In gate, Out y,
                                          int threads) {
  check_gated_residual_forward(shape, x, r, gate, y);
  for_each_row(shape.rows, shape.dim, threads, [&](std::int64_t row) {
    const float *const a = x.data() + row * shape.dim, *const b = r.data() + row * shape.dim;
    float* const to = y.data() + row * shape.dim;
    if (gate.empty()) {
      for (std::int64_t d = 0; d < shape.dim; ++d) to[d] = a[d] + b[d];
    } else {
      const float* const g = gate.data();
      for (std::int64_t d = 0; d < shape.dim; ++d) to[d] = a[d] + g[d] * b[d];
    }
  });
}

template <>
void gated_residual_backward<Backend::cpu>(RowsShape shape, In r, In gate, In dy, Out dr, Out dgate,
                                           int threads) {
  check_gated_residual_backward(shape, r, gate, dy, dr, dgate);
  const std::int64_t dim = shape.dim;
  const float *const from = r.data(), *const gradient = dy.data();
  for_each_row(shape.rows, dim, threads, [&](std::int64_t row) {
    const float *const dy_row = gradient + row * dim, *const g = gate.data();
    float* const to = dr.data() + row * dim;
    for (std::int64_t d = 0; d < dim; ++d) to[d] = dy_row[d] * g[d];
  });
  column_sums(shape.rows, dim, threads, dgate, [&](std::int64_t row, std::int64_t d) {
    return gradient[row * dim + d] * from[row * dim + d];
  });
}

namespace {

void rotate(RopeShape shape, std::span<const TokenPosition> positions, In x, Out y, double sign,
            int threads) {
  check_rope_3d(shape, positions, x, y);
  const auto pairs = rope_pairs(shape.head_dim);
  const std::int64_t dim = shape.heads * shape.head_dim;
  for_each_row(std::ssize(positions), dim, threads, [&](std::int64_t row) {
    // All heads turn by the same angles.
    std::vector<float> cosine, sine;
    for (const auto& [axis, frequency] : pairs) {
      const double angle =
          sign * static_cast<double>(positions[static_cast<std::size_t>(row)].*axis) * frequency;
      cosine.push_back(static_cast<float>(std::cos(angle)));
      sine.push_back(static_cast<float>(std::sin(angle)));
    }
    const float* from = x.data() + row * dim;
    float* to = y.data() + row * dim;
    for (std::int64_t head = 0; head < shape.heads; ++head)
      for (std::size_t j = 0; j < pairs.size(); ++j, from += 2, to += 2) {
        const float real = from[0], imaginary = from[1];
        to[0] = real * cosine[j] - imaginary * sine[j];
        to[1] = real * sine[j] + imaginary * cosine[j];
      }
  });
}

}  // namespace

template <>
void rope_3d_forward<Backend::cpu>(RopeShape shape, std::span<const TokenPosition> positions, In x,
                                   Out y, int threads) {
  rotate(shape, positions, x, y, 1, threads);
}

template <>
void rope_3d_backward<Backend::cpu>(RopeShape shape, std::span<const TokenPosition> positions,
                                    In dy, Out dx, int threads) {
  rotate(shape, positions, dy, dx, -1, threads);
}

}  // namespace ospsim
