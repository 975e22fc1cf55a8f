#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/block/dit_block.hpp"
#include "kernels_ref/formats/bf16_pack.hpp"
#include "kernels_ref/random.hpp"

// What a DiT block does between its products, on a device: bf16 in memory, float32 in registers, a
// row to a block of threads, and every tensor read and written once.
//   version 1   a row of up to 5,120 numbers stays in the registers of 128 lanes between its one
//               read and its one write. Floor: bytes over copy bandwidth. Not measured yet
namespace ospsim {

namespace block_kernels {

inline constexpr int threads = 128;
inline constexpr int packs_per_lane = 5;
/// The longest row these kernels take; a row's length is a multiple of bf16_pack.
inline constexpr std::int64_t max_dim = std::int64_t{threads} * packs_per_lane * bf16_pack;

/// The part of a row that one lane holds: pack p begins at channel (p * threads + lane) *
/// bf16_pack.
struct RowPart {
  float x[packs_per_lane][bf16_pack];

  template <class Lane, class F>
  OSPSIM_HOST_DEVICE static void for_each_pack(Lane& lane, int dim, const F& f) {
    OSPSIM_UNROLL
    for (int p = 0; p < packs_per_lane; ++p) {
      const int channel = (p * threads + lane.thread()) * bf16_pack;
      if (channel < dim) f(p, channel);
    }
  }
  template <class Lane>
  OSPSIM_HOST_DEVICE void load(Lane& lane, int dim, const Bfloat16* row) {
    Bf16Pack packs[packs_per_lane] = {};
    for_each_pack(lane, dim, [&](int p, int channel) { packs[p] = load16(row + channel); });
    OSPSIM_UNROLL
    for (int p = 0; p < packs_per_lane; ++p) OSPSIM_UNROLL
    for (int i = 0; i < bf16_pack; ++i) x[p][i] = to_float(packs[p].at[i]);
  }
  template <class Lane>
  OSPSIM_HOST_DEVICE void store(Lane& lane, int dim, Bfloat16* row) const {
    for_each_pack(lane, dim,
                  [&](int p, int channel) { store16(row + channel, to_bf16_pack(x[p])); });
  }
  /// The mean of f(x) over the row, in every lane. f is not asked about what lies behind the row.
  template <class Lane, class F>
  OSPSIM_HOST_DEVICE float mean(Lane& lane, int dim, float* scratch, const F& f) const {
    float total = 0;
    for_each_pack(lane, dim, [&](int p, int) {
      OSPSIM_UNROLL
      for (int i = 0; i < bf16_pack; ++i) total += f(x[p][i]);
    });
    return block_combine(lane, total, Sum{}, scratch) / static_cast<float>(dim);
  }
};

}  // namespace block_kernels

/// The end of one layer of a block and the beginning of the next, over rows of bf16:
///     s = x[row] + gate * residual[row]      written to `sum`
///     y = norm(s) * (scale_offset + scale) + shift      written to `normed`
/// where row = source[i] for the i-th row written, so that a rearrangement costs nothing extra; a
/// row whose source is negative is padding: its s and its normed row are zeros. norm is the layer
/// norm without weights; s is rounded to bf16 before it. `residual`, `gate`, `source`, `sum` and
/// `normed` may be null: then 0, 1, the identity, not wanted, not wanted. scale and shift [dim]
/// are null together: then y = norm(s). adaLN has scale_offset 1, an affine norm 0.
///
/// x, residual [.., dim], sum, normed [rows, dim], contiguous; sum may be x where there is no
/// source. dim is a multiple of 8, at most block_kernels::max_dim.
struct ResidualNorm {
  static constexpr int threads = block_kernels::threads;

  std::int64_t rows = 0;
  std::int32_t dim = 0;
  const Bfloat16* x = nullptr;
  const Bfloat16* residual = nullptr;
  const float* gate = nullptr;
  const std::int32_t* source = nullptr;
  Bfloat16* sum = nullptr;
  Bfloat16* normed = nullptr;
  float scale_offset = 1;
  const float* scale = nullptr;
  const float* shift = nullptr;
  float epsilon = static_cast<float>(dit_epsilon);

  std::int64_t blocks() const { return rows; }
  std::size_t shared_bytes() const { return 2 * (threads / warp_lanes) * sizeof(float); }
  Cost cost() const {
    const int tensors = 1 + (residual != nullptr) + (sum != nullptr) + (normed != nullptr);
    const double row = 2.0 * tensors * dim + (source != nullptr ? sizeof(std::int32_t) : 0);
    return {.bytes = static_cast<double>(rows) * row};
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    using block_kernels::RowPart;
    const std::int64_t to = lane.block(), from = source != nullptr ? source[to] : to;
    const auto put = [&](const RowPart& row, Bfloat16* tensor) {
      if (tensor != nullptr) row.store(lane, dim, tensor + to * dim);
    };
    RowPart s = {};
    if (from < 0) {
      put(s, sum);
      put(s, normed);
      return;
    }
    s.load(lane, dim, x + from * dim);
    if (residual != nullptr) {
      RowPart r;
      r.load(lane, dim, residual + from * dim);
      RowPart::for_each_pack(lane, dim, [&](int p, int channel) {
        float g[bf16_pack] = {1, 1, 1, 1, 1, 1, 1, 1};
        if (gate != nullptr) load_floats(gate + channel, g);
        OSPSIM_UNROLL
        for (int i = 0; i < bf16_pack; i += 2) {
          const Bf16Pair both = to_bfloat16_pair(s.x[p][i] + g[i] * r.x[p][i],
                                                 s.x[p][i + 1] + g[i + 1] * r.x[p][i + 1]);
          s.x[p][i] = to_float(both.first);
          s.x[p][i + 1] = to_float(both.second);
        }
      });
    }
    put(s, sum);
    if (normed == nullptr) return;

    float* const scratch = lane.template shared<float>();
    const float mean = s.mean(lane, dim, scratch, [](float v) { return v; });
    const float variance = s.mean(lane, dim, scratch + threads / warp_lanes,
                                  [&](float v) { return (v - mean) * (v - mean); });
    const float factor = 1 / std::sqrt(variance + epsilon);
    RowPart::for_each_pack(lane, dim, [&](int p, int channel) {
      float a[bf16_pack] = {}, b[bf16_pack] = {};
      if (scale != nullptr) {
        load_floats(scale + channel, a);
        load_floats(shift + channel, b);
      }
      OSPSIM_UNROLL
      for (int i = 0; i < bf16_pack; ++i) {
        float& v = s.x[p][i];
        v = (v - mean) * factor;
        if (scale != nullptr) v = v * (scale_offset + a[i]) + b[i];
      }
    });
    put(s, normed);
  }
};

/// cos and sin of an angle.
using Turn = Pack<float, 2>;

/// The turns of the head's pairs of channels at every coordinate of one axis: [extent, pairs].
struct AxisTurns {
  const Turn* turns = nullptr;
  std::int32_t pairs = 0;
};

/// A token's t, y and x; the fourth number is nothing.
using DevicePosition = Pack<std::int16_t, 4>;
inline DevicePosition device_position(const TokenPosition& p) {
  return {{static_cast<std::int16_t>(p.t), static_cast<std::int16_t>(p.y),
           static_cast<std::int16_t>(p.x), 0}};
}

/// What RmsNormRope reads, before it is copied to a device: in double precision, rounded once.
struct RopeTables {
  std::vector<Turn> turns[3];  ///< t, y, x: [extent, pairs[axis]]
  std::int32_t pairs[3] = {};
};
RopeTables rope_tables(const Grid& grid, std::int64_t head_dim);

/// RMS norm over each whole row with `weight`, then, where `positions` is not null, the 3-D RoPE
/// of every head; in place, float32 until the one rounding at the end.
///
/// x [rows, dim], contiguous; weight [dim]; positions [rows]. dim is a multiple of head_dim, at
/// most block_kernels::max_dim; head_dim is a multiple of 8.
struct RmsNormRope {
  static constexpr int threads = block_kernels::threads;

  std::int64_t rows = 0;
  std::int32_t dim = 0, head_dim = 128;
  Bfloat16* x = nullptr;
  const float* weight = nullptr;
  const DevicePosition* positions = nullptr;
  AxisTurns axes[3] = {};
  float epsilon = static_cast<float>(dit_epsilon);

  std::int64_t blocks() const { return rows; }
  std::size_t shared_bytes() const {
    return static_cast<std::size_t>(head_dim / 2) * sizeof(Turn) +
           (threads / warp_lanes) * sizeof(float);
  }
  /// The turns are few and stay in the caches.
  Cost cost() const {
    const double row = 4.0 * dim + (positions != nullptr ? sizeof(DevicePosition) : 0);
    return {.bytes = static_cast<double>(rows) * row};
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    using block_kernels::RowPart;
    const std::int64_t row = lane.block();
    Bfloat16* const at = x + row * dim;
    Turn* const turns = lane.template shared<Turn>();
    float* const scratch = reinterpret_cast<float*>(turns + head_dim / 2);

    RowPart v;
    v.load(lane, dim, at);
    if (positions != nullptr)
      for (int pair = lane.thread(); pair < head_dim / 2; pair += threads)
        turns[pair] = turn(positions[row], pair);
    // The barrier inside the mean also stands between the turns' writing and their reading.
    const float mean_square = v.mean(lane, dim, scratch, [](float c) { return c * c; });
    const float factor = 1 / std::sqrt(mean_square + epsilon);
    RowPart::for_each_pack(lane, dim, [&](int p, int channel) {
      const int first_pair = channel % head_dim / 2;
      float w[bf16_pack];
      load_floats(weight + channel, w);
      OSPSIM_UNROLL
      for (int i = 0; i < bf16_pack; i += 2) {
        const float a = v.x[p][i] * factor * w[i];
        const float b = v.x[p][i + 1] * factor * w[i + 1];
        if (positions == nullptr) {
          v.x[p][i] = a;
          v.x[p][i + 1] = b;
        } else {
          const Turn by = turns[first_pair + i / 2];
          v.x[p][i] = a * by.at[0] - b * by.at[1];
          v.x[p][i + 1] = a * by.at[1] + b * by.at[0];
        }
      }
    });
    v.store(lane, dim, at);
  }

 private:
  OSPSIM_HOST_DEVICE Turn turn(const DevicePosition& position, int pair) const {
    OSPSIM_UNROLL
    for (int a = 0; a < 2; ++a) {
      if (pair < axes[a].pairs) return axes[a].turns[position.at[a] * axes[a].pairs + pair];
      pair -= axes[a].pairs;
    }
    return axes[2].turns[position.at[2] * axes[2].pairs + pair];
  }
};

/// x[i] = about normal, of mean `mean` and standard deviation `deviation`, the same numbers on
/// every machine: the sum of four uniform ones, drawn by seed and index. x [size], 16-byte aligned.
struct FillNormal {
  static constexpr int threads = 256;

  Bfloat16* x = nullptr;
  std::int64_t size = 0;
  float deviation = 1, mean = 0;
  std::uint64_t seed = 0;

  std::int64_t blocks() const {
    const std::int64_t packs = (size + bf16_pack - 1) / bf16_pack;
    return (packs + threads - 1) / threads;
  }
  std::size_t shared_bytes() const { return 0; }
  Cost cost() const { return {.bytes = 2.0 * static_cast<double>(size)}; }

  OSPSIM_HOST_DEVICE static float number(std::uint64_t seed, std::uint64_t i) {
    const std::uint64_t bits = random_bits(seed, i);
    const auto part = [&](int p) { return static_cast<std::int32_t>(bits >> (16 * p) & 0xffffu); };
    // Four numbers of variance 2^32 / 12 each.
    const std::int32_t sum = part(0) + part(1) + part(2) + part(3) - 2 * 0xffff;
    return static_cast<float>(sum) * (1.7320508f / 65536);
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const std::int64_t first = (lane.block() * threads + lane.thread()) * bf16_pack;
    if (first >= size) return;
    float values[bf16_pack];
    OSPSIM_UNROLL
    for (int i = 0; i < bf16_pack; ++i)
      values[i] = mean + deviation * number(seed, static_cast<std::uint64_t>(first + i));
    const Bf16Pack pack = to_bf16_pack(values);
    if (first + bf16_pack <= size) {
      store16(x + first, pack);
      return;
    }
    OSPSIM_UNROLL
    for (int i = 0; i < bf16_pack; ++i)
      if (first + i < size) x[first + i] = pack.at[i];
  }
};

}  // namespace ospsim
