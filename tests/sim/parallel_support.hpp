#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels_ref/errors.hpp"
#include "sim/parallel/communicator.hpp"
#include "sim/parallel/strategy.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {

/// Makes a readable name of a test's parameter.
inline void PrintTo(const Sequence& sequence, std::ostream* out) {
  *out << sequence.pattern.name << " on " << to_string(sequence.grid) << ", ratio "
       << sequence.pattern.ratio.y << ", batch " << sequence.batch << ", heads " << sequence.heads;
}

using Integers = std::vector<std::int64_t>;

inline std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

inline std::vector<float> normal_floats(std::int64_t size, std::uint64_t seed, double scale = 1) {
  return converted<float>(normal(size, seed, scale));
}

/// A random number that is as likely large as small.
inline std::int64_t number(std::int64_t from, std::int64_t to) {
  return *rc::gen::resize(100, rc::gen::inRange<std::int64_t>(from, to + 1));
}

inline std::int64_t round_up(std::int64_t extent, std::int64_t unit) {
  return (extent + unit - 1) / unit * unit;
}

/// Owners of `extent` things shared out among `count`: the first ones get one more.
inline std::vector<int> owners(std::int64_t extent, int count) {
  std::vector<int> owner;
  for (int part = 0; part < count; ++part)
    owner.insert(owner.end(), at(extent / count + (part < extent % count ? 1 : 0)), part);
  return owner;
}

/// The strategies in which ranks hold whole sub-sequences.
inline bool holds_subsequences(Strategy strategy) {
  return strategy == Strategy::ssp || strategy == Strategy::ssp_ulysses ||
         strategy == Strategy::gather;
}

inline Sequence skiparse_2d(const Grid& grid, std::int64_t k, std::int64_t batch,
                            std::int64_t heads, std::int64_t head_dim) {
  return {grid, parse_pattern("skiparse-2d", {k, k, k}), batch, heads, head_dim};
}

/// Nothing where make_parallelism refuses.
inline std::optional<Parallelism> try_parallelism(Strategy strategy, int ranks, Boundary boundary,
                                                  const Sequence& sequence,
                                                  std::optional<int> ulysses = {}) {
  try {
    return make_parallelism(strategy, ranks, ulysses, {}, boundary, sequence);
  } catch (const InputError&) {
    return {};
  }
}

inline std::string described(const Parallelism& p) {
  return std::string(to_string(p.strategy)) + " ssp " + std::to_string(p.ssp) + " ulysses " +
         std::to_string(p.ulysses) + " ring " + std::to_string(p.ring) + " of " +
         std::to_string(p.ranks) + " " + std::string(to_string(p.boundary));
}

inline bool same_event(const Event& a, const Event& b) {
  if (a.index() != b.index()) return false;
  if (const auto* x = std::get_if<Exchange>(&a)) {
    const auto& y = std::get<Exchange>(b);
    return x->kind == y.kind && x->label == y.label && x->block == y.block && x->sent == y.sent &&
           x->received == y.received && x->packing_bytes == y.packing_bytes &&
           x->overlaps_next == y.overlaps_next;
  }
  const auto &x = std::get<Computation>(a), &y = std::get<Computation>(b);
  return x.label == y.label && x.block == y.block && x.flops == y.flops && x.bytes == y.bytes;
}

/// The same events, in the same order, of the same sizes, by every rank; seconds aside.
inline bool same_ledger(const Ledger& a, const Ledger& b) {
  if (a.ranks.size() != b.ranks.size()) return false;
  for (std::size_t r = 0; r < a.ranks.size(); ++r)
    if (!std::equal(a.ranks[r].begin(), a.ranks[r].end(), b.ranks[r].begin(), b.ranks[r].end(),
                    same_event))
      return false;
  return true;
}

inline std::vector<Exchange> exchanges_of(const Trace& trace) {
  std::vector<Exchange> exchanges;
  for (const Event& event : trace)
    if (const auto* exchange = std::get_if<Exchange>(&event)) exchanges.push_back(*exchange);
  return exchanges;
}

/// Rounded to bf16, to nearest even, on the bits.
inline float rounded_to_bf16(float value) {
  auto bits = std::bit_cast<std::uint32_t>(value);
  bits += 0x7fff + (bits >> 16 & 1);
  return std::bit_cast<float>(bits & 0xffff0000u);
}

/// What f throws, as text, or "" where it throws nothing; "hangs" after a while.
inline std::string error_within(std::chrono::seconds limit, std::function<void()> f) {
  std::packaged_task<std::string()> task([f = std::move(f)]() -> std::string {
    try {
      f();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  });
  auto outcome = task.get_future();
  std::thread(std::move(task)).detach();
  return outcome.wait_for(limit) == std::future_status::ready ? outcome.get() : "hangs";
}

}  // namespace ospsim
