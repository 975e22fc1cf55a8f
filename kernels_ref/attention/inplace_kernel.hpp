#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels_ref/attention/inplace_plan.hpp"
#include "kernels_ref/backend.hpp"
#include "kernels_ref/cuda/hopper.hpp"
#include "kernels_ref/index.hpp"

// Attention that reads and writes sub-sequences where they lie (attention/inplace_plan.hpp), on
// devices of compute capability 9.0. A block is one tile of 128 queries of one head: one thread
// starts copies of boxes of keys and values into a ring of shared memory; two warp groups of 64
// queries each multiply, S = Q K^T from shared memory, O += P V with P in registers.
//   version 1   plain: S, softmax, P V, one after the other in each warp group. Predicted 350 to
//               420 TFLOP/s: tensor cores idle while both groups are in their softmax
//   version 2   the softmax of a tile runs beside P V of the tile before. Predicted 500 to 580
//   version 3   and the warp groups take turns to issue, so that one multiplies while the other is
//               in its softmax. Predicted 550 to 620
//   version 4   and blocks work in pairs, each fetching half of every tile of keys and values for
//               both, which halves what the second-level cache must deliver (32 bytes a cycle and
//               multiprocessor at full rate otherwise). Predicted 580 to 650
// Predictions for an H100 (SXM), sub-sequences of 20,160 tokens, 40 heads. Not measured yet.
namespace ospsim {

/// What the kernel works on. All addresses are multiples of 16.
struct InPlaceArguments {
  const Bfloat16* q = nullptr;
  Bfloat16* o = nullptr;
  float* lse = nullptr;  ///< [heads, tokens], or null
  std::int64_t row_stride = 0, tokens = 0;
  float scale = 1;  ///< of the logits

  const TensorMap* k_maps = nullptr;  ///< [maps of the plan], of k and of v
  const TensorMap* v_maps = nullptr;
  const InPlacePlan::Box* boxes = nullptr;  ///< the plan's arrays
  const std::int32_t* mask_of_tile = nullptr;
  const std::uint32_t* masks = nullptr;
  const InPlacePlan::QueryTile* query_tiles = nullptr;
  const std::int32_t* rows = nullptr;
  std::int32_t boxes_per_tile = 1, keys_per_box = 0, query_tile_count = 0, heads = 0;
};

/// Keys is the plan's keys_per_tile. Version 4 is launched in clusters of two, with query tiles in
/// pairs (InPlacePlan::paired_query_tiles).
template <int Keys, int Version>
struct InPlaceAttentionKernel : InPlaceArguments {
  static_assert(Keys % 16 == 0 && Version >= 1 && Version <= 4);
  static constexpr int head_dim = InPlacePlan::head_dim;
  static constexpr int queries = InPlacePlan::queries_per_tile;
  static constexpr int groups = queries / 64;  ///< warp groups that multiply
  static constexpr int threads = (groups + 1) * warpgroup_lanes;
  static constexpr int cluster = Version >= 4 ? 2 : 1;
  static constexpr int stages = Keys <= 128 ? 3 : 2;

  std::int64_t blocks() const { return std::int64_t{query_tile_count} * heads; }
  std::size_t shared_bytes() const {
    return static_cast<std::size_t>(barriers_at) + 4 * stages * sizeof(CopyBarrier);
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    const Block block = make_block(lane);
    const Ring<Lane> ring{lane, lane.template shared<unsigned char>()};
    if (lane.thread() == 0) {
      OSPSIM_UNROLL
      for (int s = 0; s < stages; ++s) {
        lane.barrier_init(ring.full_k(s), 1);
        lane.barrier_init(ring.full_v(s), 1);
        lane.barrier_init(ring.empty_k(s), cluster * consumer_warps);
        lane.barrier_init(ring.empty_v(s), cluster * consumer_warps);
      }
      lane.barrier_init_fence();
    }
    sync_all(lane);
    const int group = lane.warp_uniform(lane.thread() / warpgroup_lanes);
    if (group == groups) {
      lane.template fewer_registers<24>();
      if (lane.thread() == groups * warpgroup_lanes) produce(lane, ring, block);
    } else {
      lane.template more_registers<240>();
      consume(lane, ring, block, group);
    }
    // The other block still writes to this one, and arrives at its barriers.
    if constexpr (cluster > 1) lane.cluster_meet();
  }

 private:
  static constexpr int consumer_warps = groups * warpgroup_lanes / warp_lanes;
  static constexpr int q_half_bytes = queries * 128, q_bytes = 2 * q_half_bytes;
  static constexpr int half_bytes = Keys * 128, stage_bytes = 2 * half_bytes;
  static constexpr int barriers_at = q_bytes + 2 * stages * stage_bytes;
  static_assert(barriers_at + 4 * stages * 8 <= 227 * 1024 && half_bytes % 1024 == 0);
  static constexpr int mask_words = InPlacePlan::mask_words;
  // Named barriers; 0 is the whole block's.
  static constexpr int own_group = 1, turn_of_group = 3;

  using Scores = float[index(Keys / 2)];
  using Output = float[head_dim / 2];
  using Weights = std::uint32_t[index(Keys / 16)][4];
  using Piece = Pack<std::uint32_t, 4>;

  struct Block {
    int head;
    InPlacePlan::QueryTile tile;
  };
  template <class Lane>
  OSPSIM_HOST_DEVICE static void sync_all(Lane& lane) {
    if constexpr (cluster > 1)
      lane.cluster_sync();
    else
      lane.sync();
  }
  // Consecutive blocks share keys and values.
  template <class Lane>
  OSPSIM_HOST_DEVICE Block make_block(Lane& lane) const {
    const int at = static_cast<int>(lane.block());
    return {at / query_tile_count, query_tiles[at % query_tile_count]};
  }

  template <class Lane>
  struct Ring {
    Lane& lane;
    unsigned char* base;

    OSPSIM_HOST_DEVICE unsigned char* k(int stage) const {
      return base + q_bytes + stage * stage_bytes;
    }
    OSPSIM_HOST_DEVICE unsigned char* v(int stage) const {
      return base + q_bytes + (stages + stage) * stage_bytes;
    }
    OSPSIM_HOST_DEVICE CopyBarrier* barrier(int i) const {
      return reinterpret_cast<CopyBarrier*>(base + barriers_at) + i;
    }
    OSPSIM_HOST_DEVICE CopyBarrier* full_k(int stage) const { return barrier(stage); }
    OSPSIM_HOST_DEVICE CopyBarrier* full_v(int stage) const { return barrier(stages + stage); }
    OSPSIM_HOST_DEVICE CopyBarrier* empty_k(int stage) const { return barrier(2 * stages + stage); }
    OSPSIM_HOST_DEVICE CopyBarrier* empty_v(int stage) const { return barrier(3 * stages + stage); }
  };
  /// A stage of the ring and the parity of its use.
  struct Turn {
    int stage = 0;
    unsigned parity = 0;
    OSPSIM_HOST_DEVICE void next() {
      if (++stage == stages) {
        stage = 0;
        parity ^= 1;
      }
    }
  };

  // The producer ---------------------------------------------------------------------------------

  template <class Lane>
  OSPSIM_HOST_DEVICE void produce(Lane& lane, const Ring<Lane>& ring, const Block& block) const {
    const int count = block.tile.key_tiles;
    int known = -1, known_of_other = -1;  // the maps last used
    // Keys of a tile, then values of the tile before: the order in which they are needed.
    OSPSIM_NO_UNROLL
    for (int step = 0; step < 2 * count + 2; ++step) {
      const int values = step % 2, tile = step / 2 - values;
      if (tile >= 0 && tile < count) {
        const int stage = values * stages + tile % stages;
        lane.barrier_wait(ring.barrier(2 * stages + stage), tile / stages % 2 == 0 ? 1 : 0);
        lane.barrier_expect(ring.barrier(stage), stage_bytes);
        unsigned char* to = ring.k(stage);
        const TensorMap* const maps = values == 0 ? k_maps : v_maps;
        const InPlacePlan::Box* from =
            boxes + std::int64_t{block.tile.first_key_tile + tile} * boxes_per_tile;
        OSPSIM_NO_UNROLL
        for (int b = 0; b < boxes_per_tile; ++b, ++from, to += keys_per_box * 128) {
          const InPlacePlan::Box box = *from;
          const TensorMap* const map = maps + box.map;
          if (box.map != known) lane.acquire_map(map);
          known = box.map;
          load_box(lane, map, block.head, box, to, ring.barrier(stage));
        }
      }
      const int next = known_of_other;
      known_of_other = known;
      known = next;
    }
  }

  /// Both halves of the channels; of a pair of blocks, each fetches one for both.
  template <class Lane>
  OSPSIM_HOST_DEVICE static void load_box(Lane& lane, const TensorMap* map, int head,
                                          const InPlacePlan::Box& box, unsigned char* to,
                                          CopyBarrier* full) {
    if constexpr (cluster > 1) {
      const int half = lane.cluster_rank();
      const std::int32_t at[4] = {head * head_dim + half * 64, box.at[0], box.at[1], box.at[2]};
      lane.load_tile_to_both(map, to + half * half_bytes, full, at);
    } else {
      OSPSIM_UNROLL
      for (int half = 0; half < 2; ++half) {
        const std::int32_t at[4] = {head * head_dim + half * 64, box.at[0], box.at[1], box.at[2]};
        lane.load_tile(map, to + half * half_bytes, full, at);
      }
    }
  }

  // The consumers --------------------------------------------------------------------------------

  /// Of the two rows a lane holds of its warp's sixteen: the largest logit so far (unscaled), the
  /// lane's share of the sum, and by what the last tile shrank what was there before.
  struct Softmax {
    float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, shrink[2] = {0, 0};
  };

  template <class Lane>
  OSPSIM_HOST_DEVICE void consume(Lane& lane, const Ring<Lane>& ring, const Block& block,
                                  int group) const {
    load_queries(lane, ring, block, group);
    const std::uint64_t q_operand =
        k_major_operand(lane.shared_address(ring.base + group * 64 * 128));
    const std::uint32_t k_address = lane.shared_address(ring.k(0));
    const std::uint32_t v_address = lane.shared_address(ring.v(0));

    const auto start_scores = [&](Scores& s, int stage) {
      const std::uint64_t k_operand = operand_at(k_major_operand(k_address), stage * stage_bytes);
      OSPSIM_UNROLL
      for (int d = 0; d < head_dim / 16; ++d)
        lane.template mma_ss<Keys>(s, operand_at(q_operand, d / 4 * q_half_bytes + d % 4 * 32),
                                   operand_at(k_operand, d / 4 * half_bytes + d % 4 * 32), d > 0);
      lane.mma_commit();
    };
    const auto start_output = [&](Output& out, const Weights& p, int stage) {
      const std::uint64_t v_operand =
          operand_at(mn_major_operand(v_address, half_bytes), stage * stage_bytes);
      OSPSIM_UNROLL
      for (int k = 0; k < Keys / 16; ++k)
        lane.mma_rs(out, p[k], operand_at(v_operand, k * 16 * 128), true);
      lane.mma_commit();
    };
    const auto release = [&](CopyBarrier* empty) {
      if constexpr (cluster > 1) {
        if (lane.thread() % warp_lanes < cluster)
          lane.barrier_arrive_at(empty, lane.thread() % warp_lanes);
      } else {
        if (lane.thread() % warp_lanes == 0) lane.barrier_arrive(empty);
      }
    };

    const int count = block.tile.key_tiles;
    Scores s;
    Weights p;
    Output out;
    OSPSIM_UNROLL
    for (int i = 0; i < head_dim / 2; ++i) out[i] = 0;
    Softmax softmax;
    Turn k_turn, v_turn;

    if constexpr (Version == 1) {
      for (int tile = 0; tile < count; ++tile) {
        lane.barrier_wait(ring.full_k(k_turn.stage), k_turn.parity);
        lane.mma_fence();
        start_scores(s, k_turn.stage);
        lane.template mma_wait<0>(s);
        release(ring.empty_k(k_turn.stage));
        weigh(lane, s, softmax, block, tile);
        shrink(out, softmax);
        pack(lane, p, s);
        lane.barrier_wait(ring.full_v(v_turn.stage), v_turn.parity);
        lane.mma_fence();
        start_output(out, p, v_turn.stage);
        lane.template mma_wait<0>(out, p);
        release(ring.empty_v(v_turn.stage));
        k_turn.next();
        v_turn.next();
      }
    } else {
      lane.barrier_wait(ring.full_k(k_turn.stage), k_turn.parity);
      lane.mma_fence();
      start_scores(s, k_turn.stage);
      lane.template mma_wait<0>(s);
      release(ring.empty_k(k_turn.stage));
      k_turn.next();
      weigh(lane, s, softmax, block, 0);
      pack(lane, p, s);

      constexpr bool in_turns = Version >= 3;
      constexpr int both = groups * warpgroup_lanes;
      // Group 0 goes first; no arrival is left over at the end.
      if (in_turns && group == 1 && count > 1) lane.named_arrive(turn_of_group, both);
      if (count > 1) lane.barrier_wait(ring.full_k(k_turn.stage), k_turn.parity);
      for (int tile = 1; tile < count; ++tile) {
        const bool last = tile + 1 == count;
        if constexpr (in_turns) lane.named_sync(turn_of_group + group, both);
        lane.mma_fence();
        start_scores(s, k_turn.stage);
        lane.barrier_wait(ring.full_v(v_turn.stage), v_turn.parity);
        lane.mma_fence();
        start_output(out, p, v_turn.stage);
        if (in_turns && !(group == 1 && last)) lane.named_arrive(turn_of_group + 1 - group, both);
        lane.template mma_wait<1>(s);
        release(ring.empty_k(k_turn.stage));
        k_turn.next();
        weigh(lane, s, softmax, block, tile);
        // The next keys are waited for here, since the compiler would move the wait for the mma to
        // before the softmax if nothing stood between them.
        if (!last) lane.barrier_wait(ring.full_k(k_turn.stage), k_turn.parity);
        lane.template mma_wait<0>(out, p);
        release(ring.empty_v(v_turn.stage));
        v_turn.next();
        shrink(out, softmax);
        pack(lane, p, s);
      }
      lane.barrier_wait(ring.full_v(v_turn.stage), v_turn.parity);
      lane.mma_fence();
      start_output(out, p, v_turn.stage);
      lane.template mma_wait<0>(out, p);
    }
    finish(lane, ring, block, group, out, softmax);
  }

  /// The row of a group's 64 that a lane's registers of parity `h` belong to.
  template <class Lane>
  OSPSIM_HOST_DEVICE static int row_of(Lane& lane, int h) {
    return lane.thread() % warpgroup_lanes / warp_lanes * 16 + lane.thread() % warp_lanes / 4 +
           8 * h;
  }

  /// Sixteen lanes a row. Rows past the tile's are zeros.
  template <class Lane>
  OSPSIM_HOST_DEVICE void load_queries(Lane& lane, const Ring<Lane>& ring, const Block& block,
                                       int group) const {
    const int piece = lane.thread() % 16, first = lane.thread() % warpgroup_lanes / 16;
    Piece pieces[8] = {};
    OSPSIM_UNROLL
    for (int i = 0; i < 8; ++i) {
      const int row = group * 64 + i * 8 + first;
      if (row < block.tile.rows)
        pieces[i] = *reinterpret_cast<const Piece*>(
            q + rows[block.tile.first_row + row] * row_stride + block.head * head_dim + piece * 8);
    }
    OSPSIM_UNROLL
    for (int i = 0; i < 8; ++i)
      lane.stage16(ring.base + piece / 8 * q_half_bytes +
                       swizzled_offset(group * 64 + i * 8 + first, piece % 8),
                   pieces[i]);
    lane.fence_async();
    lane.named_sync(own_group + group, warpgroup_lanes);
  }

  /// Logits to weights, exp(scale (s - top)), in place.
  template <class Lane>
  OSPSIM_HOST_DEVICE void weigh(Lane& lane, Scores& s, Softmax& softmax, const Block& block,
                                int tile) const {
    if (tile >= block.tile.full_key_tiles) mask(lane, s, block, tile);
    const float c = scale * 1.44269504088896341f;
    // Two chains a row, rows side by side: each depends on itself only.
    float top[2][2], sum[2][2] = {}, offset[2];
    OSPSIM_UNROLL
    for (int r = 0; r < 4; ++r) top[r / 2][r % 2] = s[r];
    OSPSIM_UNROLL
    for (int i = 4; i < Keys / 2; ++i) top[i / 2 % 2][i % 2] = fmaxf(top[i / 2 % 2][i % 2], s[i]);
    OSPSIM_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float own = fmaxf(fmaxf(top[h][0], top[h][1]), softmax.top[h]);
      const float of_row = warp_combine(
          lane, own, [](float a, float b) { return fmaxf(a, b); }, 4);
      softmax.shrink[h] = lane.exp2((softmax.top[h] - of_row) * c);
      softmax.top[h] = of_row;
      offset[h] = of_row * c;
    }
    OSPSIM_UNROLL
    for (int i = 0; i < Keys / 2; ++i) {
      s[i] = lane.exp2(s[i] * c - offset[i / 2 % 2]);
      sum[i / 2 % 2][i % 2] += s[i];
    }
    OSPSIM_UNROLL
    for (int h = 0; h < 2; ++h)
      softmax.sum[h] = softmax.sum[h] * softmax.shrink[h] + (sum[h][0] + sum[h][1]);
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void mask(Lane& lane, Scores& s, const Block& block, int tile) const {
    const std::uint32_t* const words =
        masks + std::int64_t{mask_of_tile[block.tile.first_key_tile + tile]} * mask_words;
    OSPSIM_UNROLL
    for (int i = 0; i < Keys / 8; ++i) {
      const std::uint32_t valid = words[i / 4] >> (i % 4 * 8 + lane.thread() % 4 * 2);
      if ((valid & 1) == 0) s[4 * i] = s[4 * i + 2] = -INFINITY;
      if ((valid & 2) == 0) s[4 * i + 1] = s[4 * i + 3] = -INFINITY;
    }
  }

  OSPSIM_HOST_DEVICE static void shrink(Output& out, const Softmax& softmax) {
    OSPSIM_UNROLL
    for (int i = 0; i < head_dim / 2; ++i) out[i] *= softmax.shrink[i / 2 % 2];
  }

  /// Accumulator fragments of sixteen keys are, rounded, an operand fragment.
  template <class Lane>
  OSPSIM_HOST_DEVICE static void pack(Lane& lane, Weights& p, const Scores& s) {
    OSPSIM_UNROLL
    for (int i = 0; i < Keys / 4; ++i) p[i / 4][i % 4] = lane.pack_bf16(s[2 * i], s[2 * i + 1]);
  }

  /// Divides by the sums and writes the rows, through the shared memory the queries lay in.
  template <class Lane>
  OSPSIM_HOST_DEVICE void finish(Lane& lane, const Ring<Lane>& ring, const Block& block, int group,
                                 const Output& out, const Softmax& softmax) const {
    const int warp_row = group * 64 + lane.thread() % warpgroup_lanes / warp_lanes * 16;
    float inverse[2];
    OSPSIM_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float sum = warp_combine(lane, softmax.sum[h], Sum{}, 4);
      inverse[h] = 1 / sum;
      const int row = group * 64 + row_of(lane, h);
      if (lse != nullptr && lane.thread() % 4 == 0 && row < block.tile.rows)
        lse[block.head * tokens + rows[block.tile.first_row + row]] =
            softmax.top[h] * scale + lane.log2(sum) * 0.693147180559945309f;
    }
    lane.named_sync(own_group + group, warpgroup_lanes);  // all have read their queries
    OSPSIM_UNROLL
    for (int i = 0; i < head_dim / 4; ++i) {
      const int h = i % 2, piece = i / 2;
      const int row = group * 64 + row_of(lane, h);
      *reinterpret_cast<std::uint32_t*>(ring.base + piece / 8 * q_half_bytes +
                                        swizzled_offset(row, piece % 8) + lane.thread() % 4 * 4) =
          lane.pack_bf16(out[2 * i] * inverse[h], out[2 * i + 1] * inverse[h]);
    }
    lane.sync_warp();
    const int piece = lane.thread() % 16;
    OSPSIM_UNROLL
    for (int i = 0; i < 8; ++i) {
      const int row = warp_row + 2 * i + lane.thread() % warp_lanes / 16;
      if (row < block.tile.rows)
        *reinterpret_cast<Piece*>(o + rows[block.tile.first_row + row] * row_stride +
                                  block.head * head_dim + piece * 8) =
            *reinterpret_cast<const Piece*>(ring.base + piece / 8 * q_half_bytes +
                                            swizzled_offset(row, piece % 8));
    }
  }
};

/// Calls f with the size of a plan's tiles as a std::integral_constant.
template <class F>
void with_tile_size(int keys, const F& f) {
  const auto call_if = [&](auto size) {
    if (keys == size) f(size);
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (call_if(std::integral_constant<int, InPlacePlan::tile_sizes[I]>{}), ...);
  }
  (std::make_index_sequence<InPlacePlan::tile_sizes.size()>{});
}

}  // namespace ospsim
