#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels_ref/cuda/hopper.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// How attention reads the sub-sequences of a layout where they lie, in tensors whose element
/// (token, head, d) is data[token * row_stride + head * head_dim + d].
///
/// Along an axis, a run of neighbouring digits that name the slot is a range of coordinates with a
/// stride. One run of each axis spans a box of keys; the digits below it choose an array of which
/// tokens are every so-many-th (`Map`), the digits above it where in that array the run starts, and
/// all slot digits outside of the runs are enumerated. So the keys of a sub-sequence are a list of
/// boxes, each of which a copy engine fetches in one piece. A box may stick out of the array, where
/// it reads zeros, or of its run, where it reads other tokens; masks keep both out of the softmax.
/// (They are multiplied by zero, so an infinity or NaN in v next to a window may reach its output.)
struct InPlacePlan {
  static constexpr int head_dim = 128;
  static constexpr int queries_per_tile = 128;
  static constexpr int mask_words = 6;  ///< 192 bits
  /// The sizes of a key tile there are kernels for.
  static constexpr std::array<int, 6> tile_sizes{64, 112, 128, 144, 160, 176};

  /// Tokens first_token + sum over i of m[i] * token_stride[i], 0 <= m[i] < extent[i].
  struct Map {
    std::int64_t first_token = 0;
    std::array<std::int64_t, 3> extent{1, 1, 1};
    friend bool operator==(const Map&, const Map&) = default;
  };
  /// The box of `map` at this corner.
  struct alignas(16) Box {
    std::int32_t map = 0, at[3] = {0, 0, 0};
  };
  /// Up to 128 queries, tokens rows[first_row ... first_row + rows), and the key tiles they attend
  /// to. The first `full_key_tiles` of these have no masked keys.
  struct QueryTile {
    std::int32_t first_row = 0, rows = 0, first_key_tile = 0, key_tiles = 0, full_key_tiles = 0;
  };

  int keys_per_tile = 0;            ///< of tile_sizes
  int boxes_per_tile = 0;           ///< of equal shape, their keys one after the other
  std::array<int, 3> box{1, 1, 1};  ///< extents, innermost axis of the layout first; so below
  std::array<std::int64_t, 3> token_stride{1, 1, 1};
  std::vector<Map> maps;
  std::vector<Box> boxes;                  ///< [key tiles, boxes_per_tile]
  std::vector<std::int32_t> mask_of_tile;  ///< [key tiles], an index into masks / mask_words
  std::vector<std::uint32_t> masks;        ///< bit i % 32 of word i / 32 is set where key i counts
  std::vector<QueryTile> query_tiles;      ///< of a sub-sequence, one after the other
  std::vector<std::int32_t> rows;          ///< every token once

  std::int64_t key_tiles() const { return static_cast<std::int64_t>(mask_of_tile.size()); }
  /// `query_tiles` such that each pair, 2i and 2i + 1, attends to the same keys: with tiles of no
  /// rows where a sub-sequence has an odd number.
  std::vector<QueryTile> paired_query_tiles() const;
  /// What `maps[map]` is for a tensor of `heads` heads, with `row_stride` elements from token to
  /// token.
  TileMap tile_map(int map, const Bfloat16* data, std::int64_t heads,
                   std::int64_t row_stride) const;
};

/// The plan whose tiles hold the least padding. All layouts are accepted whose padded grid has at
/// most 2^28 tokens and that need at most 65,536 maps (the product over the axes of the stride of
/// the run, e.g. 8^3 for skiparse-3d at ratio 8); throws InputError otherwise. `keys_per_tile`
/// other than 0 asks for one of the sizes.
InPlacePlan plan_in_place(const Layout& layout, int keys_per_tile = 0);

}  // namespace ospsim
