#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "kernels_ref/attention/inplace_kernel.hpp"
#include "kernels_ref/attention/inplace_plan.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "tests/kernels_ref/host_hopper.hpp"
#include "tests/kernels_ref/inplace_attention_support.hpp"

namespace ospsim {
namespace {

// Under a sanitizer a switch between fibers is slow, and an exception in one is not understood.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

// The emulator ------------------------------------------------------------------------------------

struct CopyOneBox {
  static constexpr int threads = 32;
  const TensorMap* map;
  std::int32_t at[4];
  std::uint16_t* read;  ///< shared memory, as it lies there
  int bytes;
  bool wait = true;

  std::int64_t blocks() const { return 1; }
  std::size_t shared_bytes() const { return static_cast<std::size_t>(bytes) + 8; }
  template <class Lane>
  void operator()(Lane& lane) const {
    auto* const tile = lane.template shared<unsigned char>();
    auto* const barrier = reinterpret_cast<CopyBarrier*>(tile + bytes);
    if (lane.thread() == 0) {
      lane.barrier_init(barrier, 1);
      lane.barrier_init_fence();
    }
    lane.sync();
    if (lane.thread() == 0) {
      lane.barrier_expect(barrier, bytes);
      lane.acquire_map(map);
      lane.load_tile(map, tile, barrier, at);
    }
    if (wait) lane.barrier_wait(barrier, 0);
    if (lane.thread() == 0) std::memcpy(read, tile, static_cast<std::size_t>(bytes));
  }
};

TEST(HostHopper, CopiesABoxSwizzledAndZeroFilled) {
  // [2][3][5][72]; the box sticks out of all dimensions, below and above.
  std::vector<std::uint16_t> data(2 * 3 * 5 * 72);
  std::iota(data.begin(), data.end(), static_cast<std::uint16_t>(1));
  const TileMap map{data.data(), {72, 5, 3, 2}, {144, 720, 2160}, {64, 4, 2, 2}};
  const TensorMap encoded = host_tensor_map(map);
  std::vector<std::uint16_t> read(64 * 16);
  host_hopper_launch(CopyOneBox{&encoded, {32, 3, -1, 1}, read.data(), 16 * 128});
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 64; ++column) {
      const int c = 32 + column, x = 3 + row % 4, y = -1 + row / 4 % 2, t = 1 + row / 8;
      const bool inside = c < 72 && x < 5 && y >= 0 && t < 2;
      const int piece = (column / 8) ^ (row % 8);
      EXPECT_EQ(read[index(row * 64 + piece * 8 + column % 8)],
                inside ? 1 + c + 72 * (x + 5 * (y + 3 * t)) : 0);
    }
  if (sanitized) return;
  EXPECT_THROW(host_hopper_launch(CopyOneBox{&encoded, {0, 0, 0, 0}, read.data(), 16 * 128, false}),
               std::logic_error);
}

enum class Fault { none, no_wait, no_fence, no_async_fence, overwrite };

/// One mma with a [64, 16] and b [16, N], laid out by hand: rows of 64 numbers, of which the mma
/// takes 16 at column 16 of a; of b it takes rows 16 to 31.
template <int N, bool FromRegisters>
struct OneMma {
  static constexpr int threads = 128;
  const Bfloat16* a;  ///< [64, 64]
  const Bfloat16* b;  ///< [N, 64] or, from registers, [32, 128]
  float* d;           ///< [64, N], read and written
  Fault fault = Fault::none;

  static constexpr int a_bytes = 64 * 128;
  static constexpr int b_bytes = FromRegisters ? 2 * 32 * 128 : N * 128;
  std::int64_t blocks() const { return 1; }
  std::size_t shared_bytes() const { return a_bytes + b_bytes; }
  template <class Lane>
  void operator()(Lane& lane) const {
    auto* const base = lane.template shared<unsigned char>();
    const auto put = [&](int at, const Bfloat16* from) {
      // Address bits 4 to 6 combined with bits 7 to 9.
      const int to = at ^ (at >> 7 & 7) << 4;
      lane.stage16(base + to, *reinterpret_cast<const Pack<std::uint32_t, 4>*>(from));
    };
    for (int i = lane.thread(); i < 64 * 8; i += threads) put(i * 16, a + i * 8);
    for (int i = lane.thread(); i < b_bytes / 16; i += threads) {
      if constexpr (FromRegisters) {
        const int row = i / 16, piece = i % 16;
        put(a_bytes + piece / 8 * 32 * 128 + row * 128 + piece % 8 * 16, b + i * 8);
      } else {
        put(a_bytes + i * 16, b + i * 8);
      }
    }
    if (fault != Fault::no_async_fence) lane.fence_async();
    lane.sync();
    const int l = lane.thread() % 32, w = lane.thread() / 32;
    const auto at = [&](int i) {
      return (w * 16 + l / 4 + i / 2 % 2 * 8) * N + i / 4 * 8 + l % 4 * 2 + i % 2;
    };
    float registers[index(N / 2)];
    for (int i = 0; i < N / 2; ++i) registers[i] = d[at(i)];
    std::uint32_t fragment[4];
    for (int r = 0; r < 4; ++r) {
      const int row = w * 16 + l / 4 + r % 2 * 8, column = 16 + l % 4 * 2 + r / 2 * 8;
      fragment[r] = a[row * 64 + column].bits |
                    static_cast<std::uint32_t>(a[row * 64 + column + 1].bits) << 16;
    }
    // swizzle mode at bit 62, stride 1024 at 32, leading at 16; in units of 16 bytes.
    const std::uint64_t a_operand =
        std::uint64_t{1} << 62 | std::uint64_t{64} << 32 | (1024 + 32) / 16;
    const std::uint64_t b_operand =
        FromRegisters
            ? std::uint64_t{1} << 62 | std::uint64_t{64} << 32 |
                  std::uint64_t{32 * 128 / 16} << 16 | (1024 + a_bytes + 16 * 128) / 16
            : std::uint64_t{1} << 62 | std::uint64_t{64} << 32 | (1024 + a_bytes + 32) / 16;
    if (fault != Fault::no_fence) lane.mma_fence();
    if constexpr (FromRegisters)
      lane.mma_rs(registers, fragment, b_operand, true);
    else
      lane.template mma_ss<N>(registers, a_operand, b_operand, true);
    lane.mma_commit();
    if (fault == Fault::overwrite) {
      fragment[2] += 1;
      base[a_bytes + 16 * 128 + 5 + lane.thread()] ^= 1;
    }
    if (fault == Fault::no_wait)
      for (int i = 0; i < N / 2; ++i) d[at(i)] = registers[i];
    lane.template mma_wait<0>(registers);
    if (fault == Fault::no_wait) return;
    for (int i = 0; i < N / 2; ++i) d[at(i)] = registers[i];
  }
};

template <int N, bool FromRegisters>
void expect_product() {
  const auto a = random_bf16(64 * 64, 1), b = random_bf16(FromRegisters ? 32 * 128 : N * 64, 2);
  std::vector<float> d(64 * N), before;
  for (std::size_t i = 0; i < d.size(); ++i) d[i] = static_cast<float>(i % 7);
  before = d;
  const OneMma<N, FromRegisters> kernel{a.data(), b.data(), d.data()};
  host_hopper_launch(kernel, LaneOrder::shuffled);
  for (int row = 0; row < 64; ++row)
    for (int n = 0; n < N; ++n) {
      double sum = before[index(row * N + n)];
      for (int k = 0; k < 16; ++k)
        sum += static_cast<double>(value_of(a[index(row * 64 + 16 + k)])) *
               value_of(FromRegisters ? b[index((16 + k) * 128 + n)] : b[index(n * 64 + 16 + k)]);
      ASSERT_NEAR(d[index(row * N + n)], sum, 1e-4) << row << " " << n;
    }

  const auto with = [&](Fault fault) {
    auto faulty = kernel;
    faulty.fault = fault;
    d = before;
    host_hopper_launch(faulty);
  };
  with(Fault::no_wait);
  EXPECT_TRUE(std::ranges::all_of(d, [](float x) { return std::isnan(x); }));
  if (sanitized) return;
  EXPECT_THROW(with(Fault::no_fence), std::logic_error);
  EXPECT_THROW(with(Fault::no_async_fence), std::logic_error);
  EXPECT_THROW(with(Fault::overwrite), std::logic_error);
}
TEST(HostHopper, MultipliesFromSharedMemory) {
  expect_product<112, false>();
}
TEST(HostHopper, MultipliesFromRegisters) {
  expect_product<128, true>();
}

TEST(HostHopper, RoundsToBf16) {
  EXPECT_EQ(bf16_of_float(1.0f), 0x3f80);
  EXPECT_EQ(bf16_of_float(1.00390625f), 0x3f80);  // half way, to even
  EXPECT_EQ(bf16_of_float(1.01171875f), 0x3f82);
  EXPECT_EQ(bf16_of_float(1.00390637f), 0x3f81);
  EXPECT_EQ(bf16_of_float(-INFINITY), 0xff80);
}

// The plan ----------------------------------------------------------------------------------------

std::vector<Case> many_cases() {
  std::vector<Case> cases;
  const Grid grids[] = {{1, 1, 1}, {2, 3, 5}, {3, 7, 9}, {5, 8, 12}, {2, 13, 17}, {7, 16, 24}};
  for (const auto& grid : grids)
    for (const auto phase : {Phase::token, Phase::group}) {
      cases.push_back({"full", {}, grid, phase});
      cases.push_back({"2+1d", {}, grid, phase});
      for (const std::int64_t k : {2, 3, 4})
        for (const char* const name : {"skiparse-1d", "skiparse-2d", "skip+window"})
          cases.push_back({name, {k, k, k}, grid, phase});
      cases.push_back({"skiparse-3d", {2, 2, 3}, grid, phase});
      cases.push_back({"window", {2, 3, 2}, grid, phase});
      cases.push_back({"y0,x1,t|y2,x0", {2, 2, 2}, grid, phase});
      cases.push_back({"y0,y2|y1,x/3", {2, 2, 2}, grid, phase});
      cases.push_back({"t/2,s0|s1", {3, 3, 3}, grid, phase});
    }
  return cases;
}

/// The tokens a plan's query tile attends to, and whether all is in order.
std::vector<std::int64_t> keys_of(const InPlacePlan& plan, const InPlacePlan::QueryTile& tile) {
  std::vector<std::int64_t> keys;
  for (int t = 0; t < tile.key_tiles; ++t) {
    const auto number = index(tile.first_key_tile + t);
    const auto mask = index(plan.mask_of_tile[number]) * InPlacePlan::mask_words;
    int key = 0, valid = 0;
    for (int b = 0; b < plan.boxes_per_tile; ++b) {
      const auto& box = plan.boxes[number * index(plan.boxes_per_tile) + index(b)];
      const auto& map = plan.maps.at(index(box.map));
      for (int i2 = 0; i2 < plan.box[2]; ++i2)
        for (int i1 = 0; i1 < plan.box[1]; ++i1)
          for (int i0 = 0; i0 < plan.box[0]; ++i0, ++key) {
            if ((plan.masks.at(mask + index(key / 32)) >> key % 32 & 1) == 0) continue;
            ++valid;
            const std::int64_t m[3] = {box.at[0] + i0, box.at[1] + i1, box.at[2] + i2};
            std::int64_t token = map.first_token;
            for (std::size_t a = 0; a < 3; ++a) {
              EXPECT_TRUE(m[a] >= 0 && m[a] < map.extent[a]);
              token += m[a] * plan.token_stride[a];
            }
            keys.push_back(token);
          }
    }
    EXPECT_EQ(key, plan.keys_per_tile);
    EXPECT_GT(valid, 0);
    EXPECT_EQ(valid == key, t < tile.full_key_tiles);
  }
  return keys;
}

void expect_pairs(const InPlacePlan& plan) {
  const auto paired = plan.paired_query_tiles();
  ASSERT_EQ(paired.size() % 2, 0u);
  std::size_t next = 0;
  for (std::size_t i = 0; i < paired.size(); ++i) {
    ASSERT_EQ(paired[i].first_key_tile, paired[i / 2 * 2].first_key_tile);
    if (paired[i].rows == 0) continue;
    ASSERT_EQ(paired[i].first_row, plan.query_tiles.at(next++).first_row);
  }
  ASSERT_EQ(next, plan.query_tiles.size());
}

void expect_covers(const Layout& layout, const InPlacePlan& plan) {
  expect_pairs(plan);
  std::vector<std::int64_t> queries_seen(index(layout.grid().tokens()));
  std::int64_t subsequence = -1;
  std::size_t row = 0;
  std::vector<std::int64_t> wanted;
  for (const auto& map : plan.maps) {
    std::int64_t last = map.first_token;
    for (std::size_t a = 0; a < 3; ++a) {
      ASSERT_GE(map.extent[a], 1);
      last += (map.extent[a] - 1) * plan.token_stride[a];
    }
    ASSERT_LT(last, layout.grid().tokens());
  }
  for (const auto& tile : plan.query_tiles) {
    ASSERT_EQ(index(tile.first_row), row);
    ASSERT_TRUE(tile.rows > 0 && tile.rows <= InPlacePlan::queries_per_tile);
    const auto owner = layout.place(plan.rows[row]).subsequence;
    if (owner != subsequence) {
      subsequence = owner;
      wanted = layout.tokens_of(owner);
      std::ranges::sort(wanted);
      auto keys = keys_of(plan, tile);
      std::ranges::sort(keys);
      ASSERT_EQ(keys, wanted);
    }
    for (int r = 0; r < tile.rows; ++r, ++row) {
      ASSERT_EQ(layout.place(plan.rows.at(row)).subsequence, subsequence);
      ++queries_seen[index(plan.rows[row])];
    }
  }
  ASSERT_TRUE(std::ranges::all_of(queries_seen, [](std::int64_t n) { return n == 1; }));
}

TEST(InPlacePlan, NamesEveryQueryAndKeyOnce) {
  for (const auto& c : many_cases()) {
    SCOPED_TRACE(c);
    const Layout layout = c.layout();
    for (const int keys : {0, 64, 112, 144, 176})
      expect_covers(layout, plan_in_place(layout, keys));
    if (HasFatalFailure()) return;
  }
}

std::int64_t padded_keys(const InPlacePlan& plan) {
  return plan.key_tiles() * plan.keys_per_tile;
}

TEST(InPlacePlan, WastesNothingWhereTheGridDivides) {
  for (const auto phase : {Phase::token, Phase::group}) {
    const Case c{"skiparse-2d", {2, 2, 2}, {21, 48, 80}, phase};
    const auto plan = plan_in_place(c.layout());
    EXPECT_EQ(padded_keys(plan), c.grid.tokens());
    EXPECT_EQ(plan.maps.size(), phase == Phase::token ? 4u : 16u);
    for (const auto& tile : plan.query_tiles) EXPECT_EQ(tile.full_key_tiles, tile.key_tiles);
    expect_covers(c.layout(), plan);
  }
}

TEST(InPlacePlan, WastesLittleOnRaggedGrids) {
  for (const auto phase : {Phase::token, Phase::group})
    for (const std::int64_t k : {2, 4}) {
      const Case c{"skiparse-2d", {k, k, k}, {21, 45, 80}, phase};
      SCOPED_TRACE(c);
      const auto plan = plan_in_place(c.layout());
      EXPECT_LT(static_cast<double>(padded_keys(plan)),
                1.08 * static_cast<double>(c.grid.tokens()));
      expect_covers(c.layout(), plan);
    }
}

TEST(InPlacePlan, RefusesWhatWouldNeedTooMuch) {
  EXPECT_THROW(plan_in_place(Case{"t0,t1,y0,y1,x0,x1", {8, 8, 8}, {70, 70, 70}}.layout()),
               InputError);
  EXPECT_THROW(plan_in_place(Case{"full", {}, {1 << 10, 1 << 10, 1 << 10}}.layout()), InputError);
  EXPECT_THROW(plan_in_place(Case{"full", {}, {2, 2, 2}}.layout(), 96), InputError);
}

// The kernel --------------------------------------------------------------------------------------

struct Attempt {
  int version = 1;
  int keys = 0;
  LaneOrder order = LaneOrder::ascending;
};

Answer run_kernel(const Problem& p, const Attempt& run) {
  const auto plan = plan_in_place(p.layout, run.keys);
  std::vector<TensorMap> k_maps, v_maps;
  for (int m = 0; m < static_cast<int>(plan.maps.size()); ++m) {
    k_maps.push_back(host_tensor_map(plan.tile_map(m, p.k.data(), p.heads, p.row_stride)));
    v_maps.push_back(host_tensor_map(plan.tile_map(m, p.v.data(), p.heads, p.row_stride)));
  }
  constexpr Bfloat16 untouched{0xc0e0};  // -7
  std::vector<Bfloat16> o(p.q.size(), untouched);
  std::vector<float> lse(index(p.heads * p.tokens()));
  const InPlaceArguments arguments{
      .q = p.q.data(),
      .o = o.data(),
      .lse = lse.data(),
      .row_stride = p.row_stride,
      .tokens = p.tokens(),
      .scale = 1 / std::sqrt(static_cast<float>(Problem::head_dim)),
      .k_maps = k_maps.data(),
      .v_maps = v_maps.data(),
      .boxes = plan.boxes.data(),
      .mask_of_tile = plan.mask_of_tile.data(),
      .masks = plan.masks.data(),
      .query_tiles = plan.query_tiles.data(),
      .rows = plan.rows.data(),
      .boxes_per_tile = plan.boxes_per_tile,
      .keys_per_box = plan.keys_per_tile / plan.boxes_per_tile,
      .query_tile_count = static_cast<std::int32_t>(plan.query_tiles.size()),
      .heads = static_cast<std::int32_t>(p.heads)};
  const auto paired = plan.paired_query_tiles();
  auto arguments_of_pairs = arguments;
  arguments_of_pairs.query_tiles = paired.data();
  arguments_of_pairs.query_tile_count = static_cast<std::int32_t>(paired.size());
  bool ran = false;
  with_tile_size(plan.keys_per_tile, [&](auto keys) {
    ran = true;
    if (run.version == 1)
      host_hopper_launch(InPlaceAttentionKernel<keys, 1>{arguments}, run.order);
    else if (run.version == 2)
      host_hopper_launch(InPlaceAttentionKernel<keys, 2>{arguments}, run.order);
    else if (run.version == 3)
      host_hopper_launch(InPlaceAttentionKernel<keys, 3>{arguments}, run.order);
    else
      host_hopper_launch(InPlaceAttentionKernel<keys, 4>{arguments_of_pairs}, run.order, 2);
  });
  EXPECT_TRUE(ran);
  for (std::int64_t t = 0; t < p.tokens(); ++t)
    for (std::int64_t c = p.heads * Problem::head_dim; c < p.row_stride; ++c)
      EXPECT_EQ(o[index(t * p.row_stride + c)].bits, untouched.bits);
  return {p.packed(p.values<double>(o)), std::vector<double>(lse.begin(), lse.end())};
}

void expect_close(const Problem& p, const std::vector<Attempt>& runs) {
  const auto groups = groups_in_place(p.layout);
  const auto wanted = oracle(p, groups);
  const double allowed = 2 * relative_l2(plain(p, groups), wanted.o);
  for (const auto& run : runs) {
    const auto got = run_kernel(p, run);
    EXPECT_LE(relative_l2(got.o, wanted.o), allowed) << run.version << " " << run.keys;
    EXPECT_LT(relative_l2(got.o, wanted.o), 1e-2) << run.version << " " << run.keys;
    for (std::size_t i = 0; i < wanted.lse.size(); ++i)
      ASSERT_NEAR(got.lse[i], wanted.lse[i], 1e-4) << run.version << " " << run.keys;
  }
}

TEST(InPlaceAttention, TinyGrids) {
  const Case cases[] = {{"full", {}, {2, 6, 11}},
                        {"full", {}, {1, 1, 1}},
                        {"skiparse-2d", {2, 2, 2}, {1, 3, 5}},
                        {"skiparse-2d", {2, 2, 2}, {2, 3, 5}, Phase::group}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c);
    expect_close(Problem(c.layout(), 2), {{1}, {3}, {4}});
    if (sanitized) return;
  }
}

TEST(InPlaceAttention, ManyTilesInEveryOrderOfLanes) {
  if (sanitized) GTEST_SKIP() << "slow; TinyGrids runs";
  // 540 tokens: 9 tiles of 64, 5 query tiles.
  const Problem p(Case{"full", {}, {5, 9, 12}}.layout(), 1);
  std::vector<Attempt> runs;
  for (const auto order : lane_orders)
    for (const int version : {1, 2, 3, 4}) runs.push_back({version, 64, order});
  expect_close(p, runs);
}

TEST(InPlaceAttention, EverySizeOfTile) {
  if (sanitized) GTEST_SKIP() << "slow; TinyGrids runs";
  const Problem p(Case{"skiparse-2d", {2, 2, 2}, {3, 25, 30}}.layout(), 1);
  std::vector<Attempt> runs;
  for (const int keys : InPlacePlan::tile_sizes) runs.push_back({keys / 16 % 4 + 1, keys});
  expect_close(p, runs);
}

TEST(InPlaceAttention, BothPhasesInPlace) {
  if (sanitized) GTEST_SKIP() << "slow; TinyGrids runs";
  for (const auto phase : {Phase::token, Phase::group}) {
    const Case c{"skiparse-2d", {2, 2, 2}, {7, 16, 32}, phase};
    EXPECT_EQ(padded_keys(plan_in_place(c.layout(), 112)), c.grid.tokens());
    expect_close(Problem(c.layout(), 1), {{3, 112}});
  }
}

TEST(InPlaceAttention, OtherPartitions) {
  if (sanitized) GTEST_SKIP() << "slow; TinyGrids runs";
  const Case cases[] = {{"skiparse-1d", {3, 3, 3}, {3, 7, 11}},
                        {"skiparse-1d", {3, 3, 3}, {3, 7, 11}, Phase::group},
                        {"window", {2, 3, 2}, {3, 11, 13}},
                        {"skiparse-3d", {2, 2, 2}, {5, 9, 10}},
                        {"skiparse-3d", {2, 2, 2}, {5, 9, 10}, Phase::group},
                        {"2+1d", {}, {3, 9, 10}},
                        {"y0,x1,t|y2,x0", {2, 2, 2}, {2, 9, 14}, Phase::group}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c);
    expect_close(Problem(c.layout(), 1), {{3}, {4}});
  }
}

TEST(InPlaceAttention, LargeLogits) {
  if (sanitized) GTEST_SKIP() << "slow; TinyGrids runs";
  // A spread of logits of hundreds: most weights vanish, and the largest come late and early.
  expect_close(Problem(Case{"full", {}, {2, 10, 13}}.layout(), 1, 8), {{1, 64}, {4, 64}});
}

}  // namespace
}  // namespace ospsim
