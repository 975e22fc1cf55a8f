#include <algorithm>
#include <bit>

#include "analysis/mask.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

/// Which blocks of one axis each block has reached, a row of bits per block.
class Reached {
 public:
  explicit Reached(const AxisMask& axis)
      : sizes_(index(axis.blocks)), words_((axis.blocks + 63) / 64) {
    for (const auto block : axis.block_of) ++sizes_[index(block)];
    step_.assign(index(axis.blocks * words_), 0);
    reached_ = step_;
    for (std::int64_t q = 0; q < axis.blocks; ++q) {
      set(reached_, q, q);
      for (std::int64_t k = 0; k < axis.blocks; ++k)
        if (axis.allowed[index(q * axis.blocks + k)] != 0) set(step_, q, k);
    }
    fresh_ = reached_;
  }

  /// One more operation, from the blocks that the last one reached first.
  void hop() {
    auto next = reached_;
    for (std::int64_t q = 0; q < std::ssize(sizes_); ++q)
      for_each(fresh_, q, [&](std::int64_t via) {
        for (std::int64_t w = 0; w < words_; ++w)
          next[index(q * words_ + w)] |= step_[index(via * words_ + w)];
      });
    for (std::size_t w = 0; w < next.size(); ++w) fresh_[w] = next[w] & ~reached_[w];
    reached_ = std::move(next);
  }

  struct Coordinates {
    Count least, sum;  ///< reached by the worst coordinate; summed over all coordinates
  };
  Coordinates coordinates() const {
    Coordinates result{~Count{0}, 0};
    for (std::int64_t q = 0; q < std::ssize(sizes_); ++q) {
      Count count = 0;
      for_each(reached_, q, [&](std::int64_t k) { count += sizes_[index(k)]; });
      result.least = std::min(result.least, count);
      result.sum += count * sizes_[index(q)];
    }
    return result;
  }

 private:
  void set(std::vector<std::uint64_t>& rows, std::int64_t q, std::int64_t k) const {
    rows[index(q * words_ + k / 64)] |= std::uint64_t{1} << (k % 64);
  }
  template <class F>
  void for_each(const std::vector<std::uint64_t>& rows, std::int64_t q, const F& f) const {
    for (std::int64_t w = 0; w < words_; ++w)
      for (std::uint64_t bits = rows[index(q * words_ + w)]; bits != 0; bits &= bits - 1)
        f(64 * w + std::countr_zero(bits));
  }

  std::vector<Count> sizes_;
  std::int64_t words_;
  std::vector<std::uint64_t> step_, reached_, fresh_;
};

std::vector<Reached> start(const Mask& mask) {
  return {mask.axes.begin(), mask.axes.end()};
}

void hop(std::vector<Reached>& axes) {
  for (Reached& axis : axes) axis.hop();
}

Reached::Coordinates product(const std::vector<Reached>& axes) {
  Reached::Coordinates all{1, 1};
  for (const Reached& axis : axes) {
    const auto [least, sum] = axis.coordinates();
    all.least *= least;
    all.sum *= sum;
  }
  return all;
}

Count tokens_of(const Mask& mask) {
  return static_cast<Count>(mask.grid.tokens());
}

/// Of the pairs of tokens of one frame that are (dy, dx) apart.
struct Pairs {
  Count met = 0, all = 0;
};

/// Along one axis of a product.
Pairs pairs_at(const AxisMask& axis, std::int64_t distance) {
  Pairs pairs;
  for (std::int64_t i = std::max<std::int64_t>(0, -distance);
       i < std::min(axis.extent(), axis.extent() - distance); ++i) {
    ++pairs.all;
    if (axis.attends(i, i + distance)) ++pairs.met;
  }
  return pairs;
}

Pairs pairs_at(const Mask& mask, std::int64_t dy, std::int64_t dx) {
  const auto [frames, h, w] = mask.grid;
  Pairs pairs{1, 1};
  if (mask.axes.size() == 3) {
    for (std::size_t a = 0; a < 3; ++a) {
      const auto [met, all] = pairs_at(mask.axes[a], a == 0 ? 0 : a == 1 ? dy : dx);
      pairs.met *= met;
      pairs.all *= all;
    }
    return pairs;
  }
  pairs = {};
  for (std::int64_t t = 0; t < frames; ++t)
    for (std::int64_t y = std::max<std::int64_t>(0, -dy); y < std::min(h, h - dy); ++y)
      for (std::int64_t x = std::max<std::int64_t>(0, -dx); x < std::min(w, w - dx); ++x) {
        const std::int64_t query = (t * h + y) * w + x;
        ++pairs.all;
        if (mask.attends(query, query + dy * w + dx)) ++pairs.met;
      }
  return pairs;
}

}  // namespace

Count attended_pairs(const Mask& mask) {
  auto axes = start(mask);
  hop(axes);
  return product(axes).sum;
}

double sparsity(const Mask& mask) {
  const auto tokens = static_cast<double>(mask.grid.tokens());
  return tokens * tokens / static_cast<double>(attended_pairs(mask));
}

std::vector<Reach> reach(const Mask& mask, int hops) {
  const Count tokens = tokens_of(mask);
  auto axes = start(mask);
  std::vector<Reach> result;
  for (int h = 1; h <= hops; ++h) {
    hop(axes);
    const auto [least, sum] = product(axes);
    result.push_back({h, {least, tokens}, {sum, tokens * tokens}});
  }
  return result;
}

AverageDistance average_distance(const Mask& mask) {
  const Count pairs = tokens_of(mask) * tokens_of(mask);
  auto axes = start(mask);
  std::vector<Count> within{tokens_of(mask)};  // pairs at most so many operations apart
  do {
    hop(axes);
    within.push_back(product(axes).sum);
  } while (within.back() != within[within.size() - 2]);
  Count sum = 0;
  for (const Count n : within) sum += within.back() - n;
  return {.over_connected = {sum, within.back()}, .unconnected = {pairs - within.back(), pairs}};
}

std::optional<Fraction> neighbour_coverage(const Mask& mask, std::int64_t radius) {
  Pairs sum;
  for (std::int64_t dy = -radius; dy <= radius; ++dy)
    for (std::int64_t dx = -radius; dx <= radius; ++dx) {
      if (dy == 0 && dx == 0) continue;
      const auto [met, all] = pairs_at(mask, dy, dx);
      sum.met += met;
      sum.all += all;
    }
  if (sum.all == 0) return std::nullopt;
  return Fraction{sum.met, sum.all};
}

std::optional<double> anisotropy(const Mask& mask) {
  double least = 1, most = 0;
  constexpr std::int64_t nearest[4][2] = {{-1, 0}, {1, 0}, {0, -1}, {0, 1}};
  for (const auto& [dy, dx] : nearest) {
    const auto [met, all] = pairs_at(mask, dy, dx);
    if (all == 0) continue;
    least = std::min(least, Fraction{met, all}.value());
    most = std::max(most, Fraction{met, all}.value());
  }
  if (least == 0 || most == 0) return std::nullopt;
  return most / least;
}

}  // namespace ospsim
