#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels_ref/block/block_kernels.hpp"
#include "kernels_ref/block/product.hpp"
#include "kernels_ref/formats/codec_kernels.hpp"
#include "kernels_ref/layout/rearrange_kernels.hpp"

/// Kernels (kernels_ref/cuda/lane.hpp) that look at all that a timed kernel made, as plainly as can
/// be, so that no row, column or tile of a large result goes unseen. `found`, which starts as
/// zeros, receives the largest error as `largest` and numbers that are none, or what differs where
/// equality is asked for, as `not_finite`.
namespace ospsim {

namespace comparison {

inline constexpr int threads = 128;

/// What one lane has found.
struct Found {
  float largest = 0;
  unsigned long long wrong = 0;

  OSPSIM_HOST_DEVICE void see(double got, double exact, double floor) {
    const auto error = static_cast<float>(std::abs(got - exact) / (std::abs(exact) + floor));
    if (!(error <= std::numeric_limits<float>::max()))
      ++wrong;
    else if (error > largest)
      largest = error;
  }
  template <class Lane>
  OSPSIM_HOST_DEVICE void tell(Lane& lane, DeviceAmax* all) const {
    if (wrong > 0) lane.atomic_add(&all->not_finite, wrong);
    const auto bits = std::bit_cast<std::uint32_t>(largest);
    if (bits > all->largest) lane.atomic_max(&all->largest, bits);
  }
};

}  // namespace comparison

/// Every byte that GatherRows wrote.
struct CompareGather {
  static constexpr int threads = comparison::threads;
  GatherRows made;
  DeviceAmax* found = nullptr;

  std::int64_t blocks() const { return made.rows; }
  std::size_t shared_bytes() const { return 0; }
  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t row = lane.block(), source = made.source[row];
    comparison::Found own;
    for (int i = lane.thread(); i < made.row_bytes; i += threads) {
      const unsigned char expected = source < 0 ? 0 : made.from[source * made.row_bytes + i];
      own.wrong += made.to[row * made.row_bytes + i] != expected;
    }
    own.tell(lane, found);
  }
};

/// Whether x[i] is x[i - period], bit by bit.
template <class T>
struct ComparePeriods {
  static constexpr int threads = comparison::threads;
  const T* x = nullptr;
  std::int64_t size = 0, period = 0;
  DeviceAmax* found = nullptr;

  std::int64_t blocks() const { return (size + threads - 1) / threads; }
  std::size_t shared_bytes() const { return 0; }
  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    using Bits = codec_detail::BitsOf<T>;
    const std::int64_t i = lane.block() * threads + lane.thread();
    comparison::Found own;
    if (i >= period && i < size)
      own.wrong += std::bit_cast<Bits>(x[i]) != std::bit_cast<Bits>(x[i - period]);
    own.tell(lane, found);
  }
};

/// Every number that ResidualNorm made; where it wrote a sum, the norm of that sum.
struct CompareNorm {
  static constexpr int threads = comparison::threads;
  ResidualNorm made;
  double floor = 1e-2;
  DeviceAmax* found = nullptr;

  std::int64_t blocks() const { return made.rows; }
  std::size_t shared_bytes() const { return 2 * (threads / warp_lanes) * sizeof(double); }
  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t row = lane.block() * made.dim;
    const std::int64_t source = made.source == nullptr ? lane.block() : made.source[lane.block()];
    const auto exact_sum = [&](int c) {
      if (source < 0) return 0.0;
      const double x = to_float(made.x[source * made.dim + c]);
      if (made.residual == nullptr) return x;
      const double gate = made.gate == nullptr ? 1 : made.gate[c];
      return x + gate * to_float(made.residual[source * made.dim + c]);
    };
    const auto sum = [&](int c) -> double {
      return made.sum == nullptr ? exact_sum(c) : to_float(made.sum[row + c]);
    };
    comparison::Found own;
    if (made.sum != nullptr)
      for (int c = lane.thread(); c < made.dim; c += threads) own.see(sum(c), exact_sum(c), floor);
    if (made.normed != nullptr) {
      double* const scratch = lane.template shared<double>();
      double total = 0, squares = 0;
      for (int c = lane.thread(); c < made.dim; c += threads) total += sum(c);
      const double mean = block_combine(lane, total, Sum{}, scratch) / made.dim;
      for (int c = lane.thread(); c < made.dim; c += threads)
        squares += (sum(c) - mean) * (sum(c) - mean);
      const double variance =
          block_combine(lane, squares, Sum{}, scratch + threads / warp_lanes) / made.dim;
      for (int c = lane.thread(); c < made.dim; c += threads) {
        double exact = (sum(c) - mean) / std::sqrt(variance + made.epsilon);
        if (made.scale != nullptr)
          exact = exact * (made.scale_offset + made.scale[c]) + made.shift[c];
        own.see(to_float(made.normed[row + c]), source < 0 ? 0 : exact, floor);
      }
    }
    own.tell(lane, found);
  }
};

/// Every number that RmsNormRope made of `original`.
struct CompareRope {
  static constexpr int threads = comparison::threads;
  RmsNormRope made;
  const Bfloat16* original = nullptr;
  double floor = 1e-2;
  DeviceAmax* found = nullptr;

  std::int64_t blocks() const { return made.rows; }
  std::size_t shared_bytes() const { return (threads / warp_lanes) * sizeof(double); }
  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const Bfloat16 *const from = original + lane.block() * made.dim, *const to =
                                                                         made.x +
                                                                         lane.block() * made.dim;
    double squares = 0;
    for (int c = lane.thread(); c < made.dim; c += threads) {
      const double x = to_float(from[c]);
      squares += x * x;
    }
    squares = block_combine(lane, squares, Sum{}, lane.template shared<double>());
    const double factor = 1 / std::sqrt(squares / made.dim + made.epsilon);
    comparison::Found own;
    for (int c = 2 * lane.thread(); c < made.dim; c += 2 * threads) {
      const double a = to_float(from[c]) * factor * made.weight[c],
                   b = to_float(from[c + 1]) * factor * made.weight[c + 1];
      double cosine = 1, sine = 0;
      if (made.positions != nullptr) {
        int pair = c % made.head_dim / 2, axis = 0;
        while (axis < 2 && pair >= made.axes[axis].pairs) pair -= made.axes[axis++].pairs;
        const AxisTurns& turns = made.axes[axis];
        const Turn turn = turns.turns[made.positions[lane.block()].at[axis] * turns.pairs + pair];
        cosine = turn.at[0];
        sine = turn.at[1];
      }
      own.see(to_float(to[c]), a * cosine - b * sine, floor);
      own.see(to_float(to[c + 1]), a * sine + b * cosine, floor);
    }
    own.tell(lane, found);
  }
};

/// One row in every `row_step` and one column in every `column_step` of a product of bf16 or, T
/// being std::uint8_t, e4m3 operands.
template <class T>
struct CompareProduct {
  static constexpr int threads = comparison::threads;
  static constexpr int warps = threads / warp_lanes;
  Product product;
  const T *x = nullptr, *weight = nullptr;
  const Bfloat16 *bias = nullptr, *y = nullptr;
  std::int64_t row_step = 1, column_step = 1;
  double floor = 1;
  DeviceAmax* found = nullptr;

  OSPSIM_HOST_DEVICE static std::int64_t count(std::int64_t size, std::int64_t step) {
    return (size + step - 1) / step;
  }
  /// Element i of those that are looked at; which of its step changes from one to the next.
  OSPSIM_HOST_DEVICE static std::int64_t at(std::int64_t i, std::int64_t size, std::int64_t step) {
    const std::int64_t chosen = i * step + i * 37 % step;
    return chosen < size ? chosen : size - 1;
  }
  OSPSIM_HOST_DEVICE std::int64_t columns() const { return count(product.shape.out, column_step); }
  OSPSIM_HOST_DEVICE std::int64_t elements() const {
    return count(product.shape.rows, row_step) * columns();
  }

  std::int64_t blocks() const { return count(elements(), warps); }
  std::size_t shared_bytes() const { return 0; }
  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t element = lane.block() * warps + lane.thread() / warp_lanes;
    if (element >= elements()) return;
    const auto& [rows, in, out] = product.shape;
    const std::int64_t row = at(element / columns(), rows, row_step),
                       column = at(element % columns(), out, column_step);
    float part = 0;
    for (std::int64_t i = lane.thread() % warp_lanes; i < in; i += warp_lanes)
      part += number(x[row * in + i]) * number(weight[column * in + i]);
    double exact = warp_combine(lane, static_cast<double>(part), Sum{});
    if (lane.thread() % warp_lanes != 0) return;
    if (product.bias) exact += to_float(bias[column]);
    if (product.gelu)
      exact *=
          0.5 * (1 + std::tanh(0.79788456080286536 * (exact + 0.044715 * exact * exact * exact)));
    comparison::Found own;
    own.see(to_float(y[row * out + column]), exact, floor);
    own.tell(lane, found);
  }

 private:
  OSPSIM_HOST_DEVICE static float number(T code) {
    if constexpr (std::is_same_v<T, std::uint8_t>)
      return decode(Format::e4m3, code);
    else
      return to_float(code);
  }
};

}  // namespace ospsim
