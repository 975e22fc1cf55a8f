#include "kernels_ref/attention/inplace_plan.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/digits.hpp"

namespace ospsim {
namespace {

constexpr std::int64_t max_padded_tokens = std::int64_t{1} << 28;
constexpr std::int64_t max_maps = 65536;
constexpr int max_box = 256;  // of one dimension, a limit of the copy engine
constexpr std::array<int, 6> boxes_per_tile_choices{1, 2, 3, 4, 6, 8};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// Digits of one axis next to each other that all name the slot: coordinates stride * m, m < radix.
struct Run {
  std::int64_t stride = 1, radix = 1;
};

/// A part of a sub-sequence along an axis: coordinates base + run.stride * m, m < length.
struct Segment {
  std::int64_t base = 0, length = 0;
};

struct Axis {
  AxisDigits digits;
  std::int64_t token_stride = 1;
  std::vector<std::int64_t> stride;  ///< of each digit

  Axis(const Layout& layout, int a)
      : digits(axis_digits(layout, a)), token_stride(layout.axis(a).token_stride) {
    std::int64_t product = 1;
    for (const auto radix : digits.radix) {
      stride.push_back(product);
      product *= radix;
    }
  }
  Axis() = default;

  /// At least one; where no digit names the slot, a run of one coordinate.
  std::vector<Run> runs() const {
    std::vector<Run> found;
    for (std::size_t d = 0; d < digits.count(); ++d) {
      if (digits.names_subsequence[d]) continue;
      if (d > 0 && !digits.names_subsequence[d - 1])
        found.back().radix *= digits.radix[d];
      else
        found.push_back({stride[d], digits.radix[d]});
    }
    if (found.empty()) found.push_back({});
    return found;
  }
  bool in(const Run& run, std::size_t d) const {
    return stride[d] >= run.stride && stride[d] < run.stride * run.radix;
  }
  /// What the digits that name the sub-sequence, and those slots outside of `run`, can add up to.
  std::vector<std::int64_t> sums(bool of_subsequence, const Run& run) const {
    std::vector<std::int64_t> all{0};
    for (std::size_t d = digits.count(); d-- > 0;) {
      if (digits.names_subsequence[d] != of_subsequence) continue;
      if (!of_subsequence && in(run, d)) continue;
      std::vector<std::int64_t> longer;
      for (const auto sum : all)
        for (std::int64_t value = 0; value < digits.radix[d]; ++value)
          longer.push_back(sum + value * stride[d]);
      all = std::move(longer);
    }
    return all;
  }
  /// The parts of the sub-sequence whose digits on this axis add up to `base`, those with tokens.
  std::vector<Segment> segments(std::int64_t base, const std::vector<std::int64_t>& enumerated,
                                const Run& run) const {
    std::vector<Segment> found;
    for (const auto offset : enumerated) {
      const std::int64_t first = base + offset;
      if (first >= digits.extent) continue;
      found.push_back({first, std::min(run.radix, ceil_div(digits.extent - first, run.stride))});
    }
    return found;
  }
};

/// Sub-sequences with the same lengths of segments along one axis cost the same.
struct Profile {
  std::int64_t tokens = 0, classes = 0;
  std::vector<std::int64_t> boxes;  ///< by the box's extent
};

std::vector<Profile> profiles(const Axis& axis, const Run& run) {
  std::map<std::vector<std::int64_t>, std::int64_t> classes;
  const auto enumerated = axis.sums(false, run);
  for (const auto base : axis.sums(true, run)) {
    std::vector<std::int64_t> lengths;
    for (const auto& segment : axis.segments(base, enumerated, run))
      lengths.push_back(segment.length);
    ++classes[lengths];
  }
  std::vector<Profile> all;
  for (const auto& [lengths, count] : classes) {
    Profile profile{0, count, std::vector<std::int64_t>(max_box + 1, 0)};
    for (const auto length : lengths) {
      profile.tokens += length;
      for (int b = 1; b <= max_box; ++b) profile.boxes[index(b)] += ceil_div(length, b);
    }
    if (profile.tokens > 0) all.push_back(std::move(profile));
  }
  return all;
}

struct Shape {
  int keys = 0, boxes = 0;
  std::array<int, 3> box{1, 1, 1};
};

/// Shapes of which some could be best: boxes are multiples of 8 keys, so that each starts where the
/// swizzle does.
std::vector<Shape> shapes(int keys_per_tile) {
  std::vector<Shape> all;
  for (const int keys : InPlacePlan::tile_sizes) {
    if (keys_per_tile != 0 && keys != keys_per_tile) continue;
    for (const int boxes : boxes_per_tile_choices) {
      if (keys % (8 * boxes) != 0) continue;
      const int volume = keys / boxes;
      for (int x = 1; x <= volume; ++x)
        for (int y = 1; x * y <= volume; ++y)
          if (volume % (x * y) == 0) all.push_back({keys, boxes, {x, y, volume / (x * y)}});
    }
  }
  return all;
}

/// Time in units of one key of one query tile; the constants are guesses of what a tile and a box
/// cost beside their keys.
double cost(const Shape& shape, const std::array<const Profile*, 3>& profile) {
  constexpr double per_tile = 12, per_box = 1;
  double boxes = 1, tokens = 1, classes = 1;
  for (std::size_t a = 0; a < 3; ++a) {
    boxes *= static_cast<double>(profile[a]->boxes[index(shape.box[a])]);
    tokens *= static_cast<double>(profile[a]->tokens);
    classes *= static_cast<double>(profile[a]->classes);
  }
  const double tiles = std::ceil(boxes / shape.boxes);
  const double query_tiles = std::ceil(tokens / InPlacePlan::queries_per_tile);
  return classes * query_tiles * tiles * (shape.keys + per_tile + per_box * shape.boxes);
}

struct Choice {
  Shape shape;
  std::array<Run, 3> runs;
};

Choice best_choice(const Layout& layout, const std::array<Axis, 3>& axes, int keys_per_tile) {
  const auto candidates = shapes(keys_per_tile);
  if (candidates.empty())
    throw InputError(
        fmt::format("in-place attention has no tiles of {} keys; use one of {} or 0 for the best",
                    keys_per_tile, fmt::join(InPlacePlan::tile_sizes, ", ")));
  std::array<std::vector<Run>, 3> runs;
  std::array<std::vector<std::vector<Profile>>, 3> profiles_of_run;
  for (std::size_t a = 0; a < 3; ++a) {
    runs[a] = axes[a].runs();
    for (const auto& run : runs[a]) profiles_of_run[a].push_back(profiles(axes[a], run));
  }
  std::optional<Choice> best;
  double best_cost = std::numeric_limits<double>::infinity();
  std::int64_t fewest_maps = std::numeric_limits<std::int64_t>::max();
  for (std::size_t r0 = 0; r0 < runs[0].size(); ++r0)
    for (std::size_t r1 = 0; r1 < runs[1].size(); ++r1)
      for (std::size_t r2 = 0; r2 < runs[2].size(); ++r2) {
        const std::array<Run, 3> chosen{runs[0][r0], runs[1][r1], runs[2][r2]};
        const std::int64_t maps = chosen[0].stride * chosen[1].stride * chosen[2].stride;
        fewest_maps = std::min(fewest_maps, maps);
        if (maps > max_maps) continue;
        for (const auto& shape : candidates) {
          double total = 0;
          for (const auto& p0 : profiles_of_run[0][r0])
            for (const auto& p1 : profiles_of_run[1][r1])
              for (const auto& p2 : profiles_of_run[2][r2]) total += cost(shape, {&p0, &p1, &p2});
          if (total >= best_cost) continue;
          best_cost = total;
          best = {shape, chosen};
        }
      }
  if (!best)
    throw InputError(
        fmt::format("in-place attention on grid {} would need {} tensor maps for this pattern, "
                    "more than {}; use a smaller ratio or a rearrangement",
                    to_string(layout.grid()), fewest_maps, max_maps));
  return *best;
}

using Mask = std::array<std::uint32_t, InPlacePlan::mask_words>;

/// Builds the lists, sub-sequence by sub-sequence.
class Builder {
 public:
  Builder(const Layout& layout, const std::array<Axis, 3>& axes, const Choice& choice)
      : layout_(layout), axes_(axes), runs_(choice.runs) {
    plan_.keys_per_tile = choice.shape.keys;
    plan_.boxes_per_tile = choice.shape.boxes;
    plan_.box = choice.shape.box;
    for (std::size_t a = 0; a < 3; ++a) {
      plan_.token_stride[a] = runs_[a].stride * axes_[a].token_stride;
      enumerated_[a] = axes_[a].sums(false, runs_[a]);
    }
  }

  InPlacePlan build() {
    for (std::int64_t c = 0; c < layout_.subsequences(); ++c) add(c);
    return std::move(plan_);
  }

 private:
  struct Placed {
    InPlacePlan::Box box;
    std::array<std::int64_t, 3> valid;  ///< of each extent, how much counts
    bool full = false;
  };

  void add(std::int64_t subsequence) {
    const auto tokens = layout_.tokens_of(subsequence);
    if (tokens.empty()) return;
    const auto first_key_tile = static_cast<std::int32_t>(plan_.mask_of_tile.size());
    const auto boxes = boxes_of(subsequence);
    const auto per_tile = index(plan_.boxes_per_tile);
    std::int32_t full_key_tiles = 0;
    for (std::size_t first = 0; first < boxes.size(); first += per_tile) {
      bool full = true;
      Mask mask{};
      for (std::size_t b = 0; b < per_tile; ++b) {
        const bool exists = first + b < boxes.size();
        if (exists) add_to(mask, static_cast<int>(b), boxes[first + b].valid);
        full = full && exists && boxes[first + b].full;
        plan_.boxes.push_back(exists ? boxes[first + b].box : nothing(boxes[first].box.map));
      }
      plan_.mask_of_tile.push_back(number_of(mask));
      if (full) ++full_key_tiles;
    }
    const auto key_tiles = static_cast<std::int32_t>(plan_.mask_of_tile.size()) - first_key_tile;

    const auto first_row = static_cast<std::int32_t>(plan_.rows.size());
    for (const auto token : tokens) plan_.rows.push_back(static_cast<std::int32_t>(token));
    const auto rows = static_cast<std::int32_t>(tokens.size());
    for (std::int32_t row = 0; row < rows; row += InPlacePlan::queries_per_tile)
      plan_.query_tiles.push_back({first_row + row,
                                   std::min(InPlacePlan::queries_per_tile, rows - row),
                                   first_key_tile, key_tiles, full_key_tiles});
  }

  /// Full boxes first, in the order of their maps.
  std::vector<Placed> boxes_of(std::int64_t subsequence) {
    const auto base = bases(subsequence);
    std::array<std::vector<Segment>, 3> segments;
    for (std::size_t a = 0; a < 3; ++a)
      segments[a] = axes_[a].segments(base[a], enumerated_[a], runs_[a]);
    std::vector<Placed> placed;
    for (const auto& s2 : segments[2])
      for (const auto& s1 : segments[1])
        for (const auto& s0 : segments[0]) place({s0, s1, s2}, placed);
    std::stable_partition(placed.begin(), placed.end(), [](const Placed& p) { return p.full; });
    return placed;
  }

  void place(const std::array<Segment, 3>& segment, std::vector<Placed>& to) {
    std::array<std::int64_t, 3> first{};
    for (std::size_t a = 0; a < 3; ++a) first[a] = segment[a].base / runs_[a].stride;
    const std::int32_t map = map_of(segment);
    const auto& box = plan_.box;
    for (std::int64_t m2 = 0; m2 < segment[2].length; m2 += box[2])
      for (std::int64_t m1 = 0; m1 < segment[1].length; m1 += box[1])
        for (std::int64_t m0 = 0; m0 < segment[0].length; m0 += box[0]) {
          const std::array<std::int64_t, 3> m{m0, m1, m2};
          Placed placed{.box = {.map = map}, .valid = {}, .full = true};
          for (std::size_t a = 0; a < 3; ++a) {
            placed.box.at[a] = static_cast<std::int32_t>(first[a] + m[a]);
            placed.valid[a] = std::min<std::int64_t>(box[a], segment[a].length - m[a]);
            placed.full = placed.full && placed.valid[a] == box[a];
          }
          to.push_back(placed);
        }
  }

  /// A box outside of its array.
  InPlacePlan::Box nothing(std::int32_t map) const {
    InPlacePlan::Box box{.map = map};
    for (std::size_t a = 0; a < 3; ++a)
      box.at[a] = static_cast<std::int32_t>(plan_.maps[index(map)].extent[a]);
    return box;
  }

  /// What the digits that name the sub-sequence add up to along each axis.
  std::array<std::int64_t, 3> bases(std::int64_t subsequence) const {
    std::array<std::int64_t, 3> base{};
    for (int d = layout_.subsequence_digits() - 1; d >= 0; --d) {
      const auto& [stride, radix, axis] = layout_.digit(d);
      base[index(layout_.axis_count() - 1 - axis)] += subsequence % radix * stride;
      subsequence /= radix;
    }
    return base;
  }

  std::int32_t map_of(const std::array<Segment, 3>& segment) {
    InPlacePlan::Map map;
    for (std::size_t a = 0; a < 3; ++a) {
      const std::int64_t residue = segment[a].base % runs_[a].stride;
      map.first_token += residue * axes_[a].token_stride;
      map.extent[a] = ceil_div(axes_[a].digits.extent - residue, runs_[a].stride);
    }
    const auto [known, is_new] =
        map_numbers_.try_emplace(map.first_token, static_cast<std::int32_t>(plan_.maps.size()));
    if (is_new) plan_.maps.push_back(map);
    return known->second;
  }

  void add_to(Mask& mask, int box_in_tile, const std::array<std::int64_t, 3>& valid) const {
    const auto& box = plan_.box;
    for (int i2 = 0; i2 < valid[2]; ++i2)
      for (int i1 = 0; i1 < valid[1]; ++i1)
        for (int i0 = 0; i0 < valid[0]; ++i0) {
          const int key = ((box_in_tile * box[2] + i2) * box[1] + i1) * box[0] + i0;
          mask[index(key / 32)] |= 1u << key % 32;
        }
  }
  std::int32_t number_of(const Mask& mask) {
    const auto [known, is_new] =
        mask_numbers_.try_emplace(mask, static_cast<std::int32_t>(mask_numbers_.size()));
    if (is_new) plan_.masks.insert(plan_.masks.end(), mask.begin(), mask.end());
    return known->second;
  }

  const Layout& layout_;
  const std::array<Axis, 3>& axes_;
  std::array<Run, 3> runs_;
  std::array<std::vector<std::int64_t>, 3> enumerated_;
  std::map<std::int64_t, std::int32_t> map_numbers_;  // by first token
  std::map<Mask, std::int32_t> mask_numbers_;
  InPlacePlan plan_;
};

}  // namespace

std::vector<InPlacePlan::QueryTile> InPlacePlan::paired_query_tiles() const {
  std::vector<QueryTile> paired;
  for (const auto& tile : query_tiles) {
    if (paired.size() % 2 != 0 && paired.back().first_key_tile != tile.first_key_tile) {
      paired.push_back(paired.back());
      paired.back().rows = 0;
    }
    paired.push_back(tile);
  }
  if (paired.size() % 2 != 0) {
    paired.push_back(paired.back());
    paired.back().rows = 0;
  }
  return paired;
}

TileMap InPlacePlan::tile_map(int map, const Bfloat16* data, std::int64_t heads,
                              std::int64_t row_stride) const {
  const Map& of = maps[index(map)];
  TileMap tile{.data = data + of.first_token * row_stride,
               .extent = {heads * head_dim},
               .stride_bytes = {},
               .box = {64}};
  for (std::size_t a = 0; a < 3; ++a) {
    tile.extent[a + 1] = of.extent[a];
    tile.stride_bytes[a] = token_stride[a] * row_stride * 2;
    tile.box[a + 1] = box[a];
  }
  return tile;
}

InPlacePlan plan_in_place(const Layout& layout, int keys_per_tile) {
  if (layout.padded_tokens() > max_padded_tokens)
    throw InputError(
        fmt::format("in-place attention takes grids of at most {} tokens, padding "
                    "included; {} has {} for this pattern",
                    max_padded_tokens, to_string(layout.grid()), layout.padded_tokens()));
  std::array<Axis, 3> axes;  // innermost first; missing ones have one coordinate
  for (int a = 0; a < layout.axis_count(); ++a)
    axes[index(layout.axis_count() - 1 - a)] = Axis(layout, a);
  return Builder(layout, axes, best_choice(layout, axes, keys_per_tile)).build();
}

}  // namespace ospsim
