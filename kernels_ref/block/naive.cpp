#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels_ref/block/check.hpp"
#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"
#include "kernels_ref/block/rope.hpp"

namespace ospsim {
namespace {

using In = std::span<const double>;
using Out = std::span<double>;

std::size_t index(std::int64_t row, std::int64_t column, std::int64_t columns) {
  return static_cast<std::size_t>(row * columns + column);
}

template <class T>
std::span<T> row_of(std::span<T> array, std::int64_t row, std::int64_t dim) {
  return array.subspan(index(row, 0, dim), static_cast<std::size_t>(dim));
}

}  // namespace

template <>
void linear_forward<Backend::naive>(LinearShape shape, In x, In weight, In bias, Out y,
                                    int /*threads*/) {
  check_linear_forward(shape, x, weight, bias, y);
  const auto& [rows, in, out] = shape;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < out; ++j) {
      double sum = bias.empty() ? 0 : bias[static_cast<std::size_t>(j)];
      for (std::int64_t k = 0; k < in; ++k) sum += x[index(i, k, in)] * weight[index(j, k, in)];
      y[index(i, j, out)] = sum;
    }
}

template <>
void linear_backward<Backend::naive>(LinearShape shape, In x, In weight, In dy, Out dx, Out dweight,
                                     Out dbias, int /*threads*/) {
  check_linear_backward(shape, x, weight, dy, dx, dweight, dbias);
  const auto& [rows, in, out] = shape;
  std::ranges::fill(dx, 0);
  std::ranges::fill(dweight, 0);
  std::ranges::fill(dbias, 0);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < out; ++j) {
      const double gradient = dy[index(i, j, out)];
      if (!dbias.empty()) dbias[static_cast<std::size_t>(j)] += gradient;
      for (std::int64_t k = 0; k < in; ++k) {
        if (!dx.empty()) dx[index(i, k, in)] += gradient * weight[index(j, k, in)];
        if (!dweight.empty()) dweight[index(j, k, in)] += gradient * x[index(i, k, in)];
      }
    }
}

namespace {

struct Moments {
  double mean, inverse_deviation;
};

Moments moments(In x, double epsilon) {
  const auto n = static_cast<double>(x.size());
  double sum = 0, squares = 0;
  for (const double value : x) sum += value;
  const double mean = sum / n;
  for (const double value : x) squares += (value - mean) * (value - mean);
  return {mean, 1 / std::sqrt(squares / n + epsilon)};
}

}  // namespace

template <>
void layer_norm_forward<Backend::naive>(RowsShape shape, In x, In weight, In bias, double epsilon,
                                        Out y, int /*threads*/) {
  check_layer_norm_forward(shape, x, weight, bias, y);
  for (std::int64_t i = 0; i < shape.rows; ++i) {
    const In from = row_of(x, i, shape.dim);
    const Out to = row_of(y, i, shape.dim);
    const auto [mean, inverse_deviation] = moments(from, epsilon);
    for (std::size_t d = 0; d < from.size(); ++d) {
      to[d] = (from[d] - mean) * inverse_deviation;
      if (!weight.empty()) to[d] = to[d] * weight[d] + bias[d];
    }
  }
}

template <>
void layer_norm_backward<Backend::naive>(RowsShape shape, In x, In weight, double epsilon, In dy,
                                         Out dx, Out dweight, Out dbias, int /*threads*/) {
  check_layer_norm_backward(shape, x, weight, dy, dx, dweight, dbias);
  std::ranges::fill(dweight, 0);
  std::ranges::fill(dbias, 0);
  for (std::int64_t i = 0; i < shape.rows; ++i) {
    const In from = row_of(x, i, shape.dim), gradient = row_of(dy, i, shape.dim);
    const Out to = row_of(dx, i, shape.dim);
    const Moments m = moments(from, epsilon);
    const auto normalised = [&](std::size_t d) { return (from[d] - m.mean) * m.inverse_deviation; };
    const auto d_normalised = [&](std::size_t d) {
      return weight.empty() ? gradient[d] : gradient[d] * weight[d];
    };
    double sum = 0, projection = 0;
    for (std::size_t d = 0; d < from.size(); ++d) {
      sum += d_normalised(d);
      projection += d_normalised(d) * normalised(d);
    }
    const auto n = static_cast<double>(shape.dim);
    for (std::size_t d = 0; d < from.size(); ++d) {
      to[d] = m.inverse_deviation * (d_normalised(d) - sum / n - normalised(d) * projection / n);
      if (weight.empty()) continue;
      dweight[d] += gradient[d] * normalised(d);
      dbias[d] += gradient[d];
    }
  }
}

namespace {

double inverse_rms(In x, double epsilon) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  return 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
}

}  // namespace

template <>
void rms_norm_forward<Backend::naive>(RowsShape shape, In x, In weight, double epsilon, Out y,
                                      int /*threads*/) {
  check_rms_norm_forward(shape, x, weight, y);
  for (std::int64_t i = 0; i < shape.rows; ++i) {
    const In from = row_of(x, i, shape.dim);
    const Out to = row_of(y, i, shape.dim);
    const double inverse = inverse_rms(from, epsilon);
    for (std::size_t d = 0; d < from.size(); ++d) to[d] = from[d] * inverse * weight[d];
  }
}

template <>
void rms_norm_backward<Backend::naive>(RowsShape shape, In x, In weight, double epsilon, In dy,
                                       Out dx, Out dweight, int /*threads*/) {
  check_rms_norm_backward(shape, x, weight, dy, dx, dweight);
  std::ranges::fill(dweight, 0);
  for (std::int64_t i = 0; i < shape.rows; ++i) {
    const In from = row_of(x, i, shape.dim), gradient = row_of(dy, i, shape.dim);
    const Out to = row_of(dx, i, shape.dim);
    const double inverse = inverse_rms(from, epsilon);
    double projection = 0;
    for (std::size_t d = 0; d < from.size(); ++d) projection += gradient[d] * weight[d] * from[d];
    projection *= inverse * inverse / static_cast<double>(shape.dim);
    for (std::size_t d = 0; d < from.size(); ++d) {
      to[d] = inverse * (gradient[d] * weight[d] - from[d] * projection);
      dweight[d] += gradient[d] * from[d] * inverse;
    }
  }
}

template <>
void modulate_forward<Backend::naive>(RowsShape shape, In x, In scale, In shift, Out y,
                                      int /*threads*/) {
  check_modulate_forward(shape, x, scale, shift, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t d = i % scale.size();
    y[i] = x[i] * (1 + scale[d]) + shift[d];
  }
}

template <>
void modulate_backward<Backend::naive>(RowsShape shape, In x, In scale, In dy, Out dx, Out dscale,
                                       Out dshift, int /*threads*/) {
  check_modulate_backward(shape, x, scale, dy, dx, dscale, dshift);
  std::ranges::fill(dscale, 0);
  std::ranges::fill(dshift, 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t d = i % scale.size();
    dx[i] = dy[i] * (1 + scale[d]);
    dscale[d] += dy[i] * x[i];
    dshift[d] += dy[i];
  }
}

template <>
void gated_residual_forward<Backend::naive>(RowsShape shape, In x, In r, In gate, Out y,
                                            int /*threads*/) {
  check_gated_residual_forward(shape, x, r, gate, y);
  for (std::size_t i = 0; i < x.size(); ++i)
    y[i] = x[i] + (gate.empty() ? r[i] : gate[i % gate.size()] * r[i]);
}

template <>
void gated_residual_backward<Backend::naive>(RowsShape shape, In r, In gate, In dy, Out dr,
                                             Out dgate, int /*threads*/) {
  check_gated_residual_backward(shape, r, gate, dy, dr, dgate);
  std::ranges::fill(dgate, 0);
  for (std::size_t i = 0; i < r.size(); ++i) {
    const std::size_t d = i % gate.size();
    dr[i] = dy[i] * gate[d];
    dgate[d] += dy[i] * r[i];
  }
}

namespace {

constexpr double cubic = 0.044715;
const double gelu_scale = std::sqrt(2 / std::numbers::pi);

}  // namespace

template <>
void gelu_tanh_forward<Backend::naive>(In x, Out y, int /*threads*/) {
  check_gelu_tanh(x, x, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double t = std::tanh(gelu_scale * (x[i] + cubic * x[i] * x[i] * x[i]));
    y[i] = x[i] / 2 * (1 + t);
  }
}

template <>
void gelu_tanh_backward<Backend::naive>(In x, In dy, Out dx, int /*threads*/) {
  check_gelu_tanh(x, dy, dx);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double t = std::tanh(gelu_scale * (x[i] + cubic * x[i] * x[i] * x[i]));
    const double du = gelu_scale * (1 + 3 * cubic * x[i] * x[i]);
    dx[i] = dy[i] * ((1 + t) / 2 + x[i] / 2 * (1 - t * t) * du);
  }
}

namespace {

void rotate(RopeShape shape, std::span<const TokenPosition> positions, In x, Out y, double sign) {
  check_rope_3d(shape, positions, x, y);
  const auto pairs = rope_pairs(shape.head_dim);
  std::size_t i = 0;
  for (const auto& position : positions)
    for (std::int64_t head = 0; head < shape.heads; ++head)
      for (const auto& [axis, frequency] : pairs) {
        const double angle = sign * static_cast<double>(position.*axis) * frequency;
        const double real = x[i], imaginary = x[i + 1];
        y[i] = real * std::cos(angle) - imaginary * std::sin(angle);
        y[i + 1] = real * std::sin(angle) + imaginary * std::cos(angle);
        i += 2;
      }
}

}  // namespace

template <>
void rope_3d_forward<Backend::naive>(RopeShape shape, std::span<const TokenPosition> positions,
                                     In x, Out y, int /*threads*/) {
  rotate(shape, positions, x, y, 1);
}

template <>
void rope_3d_backward<Backend::naive>(RopeShape shape, std::span<const TokenPosition> positions,
                                      In dy, Out dx, int /*threads*/) {
  rotate(shape, positions, dy, dx, -1);
}

}  // namespace ospsim
