#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <map>

#include "analysis/mask.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

constexpr std::int64_t most_tokens = std::int64_t{1} << 24;

/// "key=value,key=value".
class Parameters {
 public:
  Parameters(std::string_view mask, std::string_view text) : mask_(mask) {
    while (!text.empty()) {
      const auto item = text.substr(0, text.find(','));
      const auto equals = item.find('=');
      const bool last = item.size() == text.size();
      if (equals == std::string_view::npos || (!last && item.size() + 1 == text.size()) ||
          !values_.emplace(item.substr(0, equals), item.substr(equals + 1)).second)
        throw InputError(fmt::format("'{}' is not key=value,key=value with each key once", text));
      text.remove_prefix(last ? item.size() : item.size() + 1);
    }
  }

  Grid extents(std::string_view key, std::optional<Grid> otherwise = {}) {
    const auto text = take(key);
    if (!text && otherwise) return *otherwise;
    if (!text) throw InputError(fmt::format("{} needs {}=TxHxW", mask_, key));
    try {
      return parse_grid(*text);
    } catch (const InputError&) {
      throw InputError(fmt::format("{}={} is not TxHxW, such as 1x8x8", key, *text));
    }
  }
  double number(std::string_view key, double least, double most,
                std::optional<double> otherwise = {}) {
    const auto text = take(key);
    if (!text && otherwise) return *otherwise;
    double value = 0;
    const auto [end, error] =
        text ? std::from_chars(text->data(), text->data() + text->size(), value)
             : std::from_chars_result{nullptr, std::errc::invalid_argument};
    if (error != std::errc{} || end != text->data() + text->size() ||
        !(value >= least && value <= most))
      throw InputError(
          fmt::format("{} needs {}=N, a number from {} to {}", mask_, key, least, most));
    return value;
  }
  std::int64_t whole(std::string_view key, std::int64_t least, std::int64_t most,
                     std::int64_t otherwise) {
    const double value = number(key, static_cast<double>(least), static_cast<double>(most),
                                static_cast<double>(otherwise));
    if (value != std::floor(value))
      throw InputError(fmt::format("{}={} is not a whole number", key, value));
    return static_cast<std::int64_t>(value);
  }
  /// Nothing may be left over.
  void done() const {
    if (!values_.empty())
      throw InputError(fmt::format("{} has no parameter '{}'", mask_, values_.begin()->first));
  }

 private:
  std::optional<std::string_view> take(std::string_view key) {
    const auto found = values_.find(key);
    if (found == values_.end()) return std::nullopt;
    const auto value = found->second;
    values_.erase(found);
    return value;
  }

  std::string_view mask_;
  std::map<std::string_view, std::string_view> values_;
};

// ---- Products over t, y and x -------------------------------------------------------------------

/// Each axis cut into blocks of so many neighbours; `attends` says which of them do, given the axis
/// and how many blocks it has.
template <class Attends>
Mask boxes(const Grid& grid, const Grid& block, const Attends& attends) {
  const auto axis = [&](char name, std::int64_t stride, std::int64_t Grid::*along) {
    const std::int64_t extent = grid.*along, size = block.*along;
    const std::int64_t blocks = (extent + size - 1) / size;
    std::vector<std::int32_t> block_of(index(extent));
    for (std::int64_t i = 0; i < extent; ++i)
      block_of[index(i)] = static_cast<std::int32_t>(i / size);
    return axis_mask(name, stride, std::move(block_of), blocks,
                     [&](std::int64_t q, std::int64_t k) { return attends(along, blocks, q, k); });
  };
  return {grid,
          {axis('t', grid.frame_tokens(), &Grid::t), axis('y', grid.w, &Grid::h),
           axis('x', 1, &Grid::w)}};
}

Mask local(const Grid& grid, Parameters& parameters) {
  const Grid window = parameters.extents("window");
  const Grid stride = parameters.extents("stride", Grid{1, 1, 1});
  parameters.done();
  if (stride.t > window.t || stride.h > window.h || stride.w > window.w)
    throw InputError(
        fmt::format("stride={} exceeds window={}", to_string(stride), to_string(window)));
  return boxes(grid, {1, 1, 1}, [&](auto along, auto extent, auto q, auto k) {
    const std::int64_t width = std::min(window.*along, extent), step = stride.*along;
    const std::int64_t leader = std::min(q / step * step + step / 2, extent - 1);
    const std::int64_t first = std::clamp(leader - width / 2, std::int64_t{0}, extent - width);
    return first <= k && k < first + width;
  });
}

Mask sliding_tile(const Grid& grid, Parameters& parameters) {
  const Grid tile = parameters.extents("tile", Grid{6, 8, 8});
  const Grid window = parameters.extents("window");
  parameters.done();
  return boxes(grid, tile, [&](auto along, auto tiles, auto q, auto k) {
    const std::int64_t width = window.*along;
    if (width >= tiles) return true;
    if (width % 2 == 0)
      throw InputError(
          fmt::format("window={}: {} of {} tiles; an axis takes an odd number or all of its tiles",
                      to_string(window), width, tiles));
    const std::int64_t centre = std::clamp(q, width / 2, tiles - 1 - width / 2);
    return std::abs(centre - k) <= width / 2;
  });
}

// ---- Blocks of all tokens in some order ---------------------------------------------------------

template <class Position, class Attends>
Mask flat_blocks(const Grid& grid, std::int64_t block, const Position& position,
                 const Attends& attends) {
  std::vector<std::int32_t> block_of(index(grid.tokens()));
  for (std::int64_t i = 0; i < grid.tokens(); ++i)
    block_of[index(i)] = static_cast<std::int32_t>(position(i) / block);
  const std::int64_t blocks = (grid.tokens() + block - 1) / block;
  return {grid, {axis_mask('i', 1, std::move(block_of), blocks, attends)}};
}

/// A band along the diagonal with `density` of the pairs, and the first H*W positions.
Mask svg(const Grid& grid, Parameters& parameters, bool temporal) {
  const double density = parameters.number("density", 1e-6, 1);
  const std::int64_t block = parameters.whole("block", 1, 65536, 128);
  parameters.done();
  const double half_width = static_cast<double>(grid.tokens()) * (1 - std::sqrt(1 - density));
  const auto blocks = static_cast<std::int64_t>(std::ceil(half_width / static_cast<double>(block)));
  const std::int64_t frame = grid.frame_tokens();
  const auto position = [&](std::int64_t token) {
    return temporal ? token % frame * grid.t + token / frame : token;
  };
  return flat_blocks(grid, block, position, [&](std::int64_t q, std::int64_t k) {
    return std::abs(q - k) <= blocks || k * block < frame;
  });
}
Mask svg_spatial(const Grid& grid, Parameters& parameters) {
  return svg(grid, parameters, false);
}
Mask svg_temporal(const Grid& grid, Parameters& parameters) {
  return svg(grid, parameters, true);
}

/// The rule of Radial Attention between tokens, and the one that makes blocks of it: of each pair
/// of frames a pair of blocks is kept where more than 0.6 of the keys that are seen at all are seen
/// by more than a third of the queries.
struct Radial {
  Grid grid;
  double decay, adjacent;
  bool sink;
  std::int64_t block;

  static double leading_bit(std::int64_t n) {
    return static_cast<double>(std::bit_floor(static_cast<std::uint64_t>(n)));
  }

  /// The largest distance along the flattened frame at which frame i sees frame j.
  std::optional<std::int64_t> half_width(std::int64_t i, std::int64_t j) const {
    const std::int64_t frame = grid.frame_tokens(), distance = std::abs(i - j);
    if (distance == 0 || (sink && j == 0)) return frame;
    if (distance == 1) return static_cast<std::int64_t>(adjacent * static_cast<double>(frame));
    const double span = leading_bit(frame) / leading_bit(distance);
    const auto least = static_cast<double>(block);
    if (span < least && distance % static_cast<std::int64_t>(least / span) != 0) return {};
    return static_cast<std::int64_t>(std::max(least, decay * span));
  }

  struct Part {
    std::int64_t first, last;
  };
  /// Where in frame f a block lies.
  Part part(std::int64_t b, std::int64_t f) const {
    const std::int64_t start = f * grid.frame_tokens(), end = start + grid.frame_tokens();
    return {std::max(b * block, start) - start, std::min((b + 1) * block, end) - start};
  }

  bool kept(std::int64_t q, std::int64_t k, std::int64_t i, std::int64_t j) const {
    const auto width = half_width(i, j);
    if (!width) return false;
    const Part queries = part(q, i), keys = part(k, j);
    std::int64_t seen = 0, well_seen = 0;
    for (std::int64_t p = keys.first; p < keys.last; ++p) {
      const std::int64_t by =
          std::min(queries.last, p + *width + 1) - std::max(queries.first, p - *width);
      if (by > 0) ++seen;
      if (3 * by > block) ++well_seen;
    }
    return 10 * well_seen > 6 * seen;
  }

  bool operator()(std::int64_t q, std::int64_t k) const {
    const std::int64_t frame = grid.frame_tokens();
    const auto last_frame = [&](std::int64_t b) {
      return (std::min((b + 1) * block, grid.tokens()) - 1) / frame;
    };
    for (std::int64_t i = q * block / frame; i <= last_frame(q); ++i)
      for (std::int64_t j = k * block / frame; j <= last_frame(k); ++j)
        if (kept(q, k, i, j)) return true;
    return q == k;
  }
};

Mask radial(const Grid& grid, Parameters& parameters) {
  const double decay = parameters.number("decay", 0, 1e6);
  const double adjacent = parameters.number("adjacent", 0, 1, 0.5);
  const bool sink = parameters.whole("sink", 0, 1, 1) != 0;
  const std::int64_t block = parameters.whole("block", 1, 65536, 128);
  parameters.done();
  return flat_blocks(
      grid, block, [](std::int64_t token) { return token; },
      Radial{grid, decay, adjacent, sink, block});
}

struct NamedMask {
  std::string_view name;
  Mask (*make)(const Grid&, Parameters&);
};
constexpr std::array named_masks{NamedMask{"local", local}, NamedMask{"sliding-tile", sliding_tile},
                                 NamedMask{"svg-spatial", svg_spatial},
                                 NamedMask{"svg-temporal", svg_temporal},
                                 NamedMask{"radial", radial}};

const NamedMask* find_mask(std::string_view text) {
  const auto name = text.substr(0, text.find(':'));
  const auto found = std::ranges::find(named_masks, name, &NamedMask::name);
  return found == named_masks.end() ? nullptr : &*found;
}

}  // namespace

bool is_mask(std::string_view text) {
  return find_mask(text) != nullptr;
}

std::vector<std::string_view> mask_names() {
  std::vector<std::string_view> names;
  for (const auto& mask : named_masks) names.push_back(mask.name);
  return names;
}

Mask parse_mask(std::string_view text, const Grid& grid) {
  const NamedMask* const mask = find_mask(text);
  if (mask == nullptr)
    throw InputError(
        fmt::format("mask '{}' is not one of {}", text, fmt::join(mask_names(), ", ")));
  if (grid.tokens() > most_tokens)
    throw InputError(fmt::format("{} takes grids of up to {} tokens, not {}", mask->name,
                                 most_tokens, grid.tokens()));
  text.remove_prefix(std::min(text.size(), mask->name.size() + 1));
  Parameters parameters(mask->name, text);
  return mask->make(grid, parameters);
}

}  // namespace ospsim
