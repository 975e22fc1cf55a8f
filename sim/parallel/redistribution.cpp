// Exchanges of one sparse block on four MPI processes of one machine (2 vCPU of an AMD EPYC with
// AVX-512), 21x48x80 tokens of width 640 in float32; medians, by `ospsim run sequence-parallel`:
//                                                                     Ulysses      SSP
//   floor: as many bytes by bare MPI_Alltoall, and a copy of each      115 ms
//   1  staging allocated for each exchange: fresh pages cost three
//      times the copies they are for (measured beside 2)               x 3.0        x 2.3
//   2  staging kept by the communicator; a side whose parts are
//      contiguous is not staged at all                                 129 ms       42 ms
//      the switch through MPI datatypes instead (mpi/zero_copy_switch)              50 ms
#include "sim/parallel/redistribution.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

Range common(Range a, Range b) {
  const std::int64_t first = std::max(a.first, b.first);
  return {first, std::max(first, std::min(a.last, b.last))};
}

template <class To, class From>
void convert(const From* from, To* to, std::int64_t count) {
  if constexpr (std::is_same_v<To, From>) {
    std::memcpy(to, from, index(count) * sizeof(To));
  } else if constexpr (std::is_same_v<To, Bfloat16>) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = to_bfloat16(from[i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) to[i] = to_float(from[i]);
  }
}

}  // namespace

/// The rows of `order` that both shards hold, as rows of `local`. `index_of_row` is scratch with -1
/// everywhere, and is left so.
Redistribution::Part Redistribution::common_part(const Shard& local, const Shard& remote,
                                                 const Shard& order,
                                                 std::vector<std::int64_t>& index_of_row) {
  Part part;
  const Range channels = common(local.channels, remote.channels);
  part.window = {channels.first - local.channels.first, channels.last - local.channels.first};
  if (channels.size() == 0) return part;

  // Mark the rows of the side that does not give the order with their place there.
  const Shard& other = &order == &local ? remote : local;
  for (std::size_t i = 0; i < other.rows.size(); ++i)
    index_of_row[index(other.rows[i])] = static_cast<std::int64_t>(i);
  for (std::size_t i = 0; i < order.rows.size(); ++i) {
    const std::int64_t found = index_of_row[index(order.rows[i])];
    if (found < 0) continue;
    const std::int64_t row = &order == &local ? static_cast<std::int64_t>(i) : found;
    if (!part.runs.empty() && part.runs.back().first + part.runs.back().count == row)
      ++part.runs.back().count;
    else
      part.runs.push_back({row, 1});
    ++part.rows;
  }
  for (const std::int64_t row : other.rows) index_of_row[index(row)] = -1;
  return part;
}

void Redistribution::finish(Side& side, int rank) {
  for (int r = 0; r < std::ssize(side.parts); ++r) {
    const Part& part = side.parts[index(r)];
    if (r == rank || part.rows == 0) continue;
    if (part.runs.size() != 1 || part.window.size() != side.width) side.contiguous = false;
  }
}

/// Whether the parts together write every element of the local array.
bool Redistribution::is_covered(const Side& side, std::int64_t rows) {
  std::vector<const Part*> by_window;
  for (const Part& part : side.parts) by_window.push_back(&part);
  std::sort(by_window.begin(), by_window.end(),
            [](const Part* a, const Part* b) { return a->window.first < b->window.first; });
  std::vector<std::int64_t> written(index(rows));  // of each row, channels from the first on
  for (const Part* part : by_window)
    for (const Run& run : part->runs)
      for (std::int64_t row = run.first; row < run.first + run.count; ++row)
        if (part->window.first <= written[index(row)])
          written[index(row)] = std::max(written[index(row)], part->window.last);
  return std::all_of(written.begin(), written.end(),
                     [&](std::int64_t channels) { return channels == side.width; });
}

Redistribution::Redistribution(const Sharding& from, const Sharding& to, int rank) : rank_(rank) {
  const Shard &mine = from[index(rank)], &wanted = to[index(rank)];
  std::int64_t last_row = 0;
  for (const auto* sharding : {&from, &to})
    for (const Shard& shard : *sharding)
      for (const std::int64_t row : shard.rows) last_row = std::max(last_row, row);
  std::vector<std::int64_t> index_of_row(index(last_row + 1), -1);

  sent_ = {.width = mine.channels.size(), .elements = mine.elements()};
  received_ = {.width = wanted.channels.size(), .elements = wanted.elements()};
  for (std::size_t r = 0; r < from.size(); ++r) {
    sent_.parts.push_back(common_part(mine, to[r], to[r], index_of_row));
    received_.parts.push_back(common_part(wanted, from[r], wanted, index_of_row));
  }
  zero_first_ = !is_covered(received_, std::ssize(wanted.rows));
  finish(sent_, rank);
  finish(received_, rank);
}

std::int64_t Redistribution::remote_elements(const Side& side) const {
  std::int64_t elements = 0;
  for (int r = 0; r < std::ssize(side.parts); ++r)
    if (r != rank_) elements += side.parts[index(r)].elements();
  return elements;
}

std::int64_t Redistribution::sent_elements() const {
  return remote_elements(sent_);
}

std::int64_t Redistribution::scratch_elements() const {
  const std::int64_t sending = sent_.contiguous ? 0 : remote_elements(sent_);
  const std::int64_t receiving = received_.contiguous ? 0 : remote_elements(received_);
  const bool sends_from_out = receiving > 0 && sending <= received_.elements;
  return receiving + (sends_from_out ? 0 : sending);
}

namespace {

/// Calls f(offset in the local array, elements) for the contiguous pieces of a part, in order.
template <class Runs, class F>
void for_each_piece(std::int64_t width, const Runs& runs, Range window, F f) {
  for (const auto& run : runs)
    if (window.size() == width)
      f(run.first * width, run.count * width);
    else
      for (std::int64_t row = run.first; row < run.first + run.count; ++row)
        f(row * width + window.first, window.size());
}

}  // namespace

void Redistribution::run(Communicator& communicator, const StepName& name, Wire wire,
                         std::span<const float> in, std::span<float> out) const {
  if (communicator.carries_payload()) {
    if (wire.bytes_per_element == sizeof(float)) return move<float>(communicator, name, in, out);
    if (wire.bytes_per_element == sizeof(Bfloat16))
      return move<Bfloat16>(communicator, name, in, out);
    throw std::logic_error("real payload travels as float32 or bf16");
  }
  const int ranks = communicator.size();
  SentParts sent(nullptr, ranks);
  ReceivedParts received(nullptr, ranks);
  set_sizes(sent, received, wire.bytes_per_element);
  communicator.exchange(name, sent, received, packing_bytes(wire.bytes_per_element));
}

/// Each packed or unpacked byte is read and written once.
std::int64_t Redistribution::packing_bytes(int bytes_per_element) const {
  return 2 * bytes_per_element *
         ((sent_.contiguous ? 0 : remote_elements(sent_)) +
          (received_.contiguous ? 0 : remote_elements(received_)));
}

/// Parts packed behind each other, by rank.
void Redistribution::set_sizes(SentParts& sent, ReceivedParts& received,
                               int bytes_per_element) const {
  std::int64_t sent_at = 0, received_at = 0;
  for (int r = 0; r < std::ssize(sent_.parts); ++r) {
    if (r == rank_) continue;
    const std::int64_t out_bytes = sent_.parts[index(r)].elements() * bytes_per_element;
    const std::int64_t in_bytes = received_.parts[index(r)].elements() * bytes_per_element;
    sent.set(r, sent_at, out_bytes);
    received.set(r, received_at, in_bytes);
    sent_at += out_bytes;
    received_at += in_bytes;
  }
}

template <class Wired>
void Redistribution::move(Communicator& communicator, const StepName& name,
                          std::span<const float> in, std::span<float> out) const {
  if (std::ssize(in) != sent_.elements || std::ssize(out) != received_.elements)
    throw std::invalid_argument("redistribution: an array is not as large as its shard");
  constexpr bool as_stored = std::is_same_v<Wired, float>;
  const bool packs = !(as_stored && sent_.contiguous);
  const bool unpacks = !(as_stored && received_.contiguous);
  const int ranks = communicator.size();

  // `out` holds what is sent until it is overwritten by what arrived.
  const bool sends_from_out =
      as_stored && packs && unpacks && remote_elements(sent_) <= std::ssize(out);
  const std::int64_t receiving = unpacks ? remote_elements(received_) : 0;
  const std::int64_t sending = packs && !sends_from_out ? remote_elements(sent_) : 0;
  constexpr int element_bytes = sizeof(Wired);
  std::byte* const scratch = communicator.scratch((receiving + sending) * element_bytes);
  auto* const arrived = reinterpret_cast<Wired*>(scratch);
  auto* const leaving_from =
      sends_from_out ? reinterpret_cast<Wired*>(out.data()) : arrived + receiving;

  SentParts sent(packs ? reinterpret_cast<const std::byte*>(leaving_from)
                       : reinterpret_cast<const std::byte*>(in.data()),
                 ranks);
  ReceivedParts received(unpacks ? scratch : reinterpret_cast<std::byte*>(out.data()), ranks);
  set_sizes(sent, received, element_bytes);
  for (int r = 0; r < ranks; ++r) {
    if (r == rank_) continue;
    const Part &leaving = sent_.parts[index(r)], &arriving = received_.parts[index(r)];
    if (packs)
      for_each_piece(sent_.width, leaving.runs, leaving.window,
                     [&, to = leaving_from + sent.offset[index(r)] / element_bytes](
                         std::int64_t at, std::int64_t elements) mutable {
                       convert(in.data() + at, to, elements);
                       to += elements;
                     });
    else if (leaving.rows > 0)
      sent.offset[index(r)] = leaving.runs.front().first * sent_.width * element_bytes;
    if (!unpacks && arriving.rows > 0)
      received.offset[index(r)] = arriving.runs.front().first * received_.width * element_bytes;
  }
  if (!unpacks && zero_first_) std::fill(out.begin(), out.end(), 0.0f);
  communicator.exchange(name, sent, received, packing_bytes(element_bytes));

  if (unpacks) {
    if (zero_first_) std::fill(out.begin(), out.end(), 0.0f);
    for (int r = 0; r < ranks; ++r) {
      const Part& part = received_.parts[index(r)];
      if (r != rank_)
        for_each_piece(received_.width, part.runs, part.window,
                       [&, from = arrived + received.offset[index(r)] / element_bytes](
                           std::int64_t at, std::int64_t elements) mutable {
                         convert(from, out.data() + at, elements);
                         from += elements;
                       });
    }
  }
  keep_own<Wired>(in, out);
}

/// The own part, row by row: the two sides cut the same rows into different runs. What would be
/// rounded on the wire is rounded here too, so that a value does not depend on who held it.
template <class Wired>
void Redistribution::keep_own(std::span<const float> in, std::span<float> out) const {
  const Part &from = sent_.parts[index(rank_)], &to = received_.parts[index(rank_)];
  std::size_t to_run = 0;
  std::int64_t used = 0;
  for (const Run& run : from.runs)
    for (std::int64_t done = 0; done < run.count;) {
      const Run& target = to.runs[to_run];
      const std::int64_t rows = std::min(run.count - done, target.count - used);
      for (std::int64_t i = 0; i < rows; ++i) {
        const float* source = in.data() + (run.first + done + i) * sent_.width + from.window.first;
        float* copy = out.data() + (target.first + used + i) * received_.width + to.window.first;
        if constexpr (std::is_same_v<Wired, float>)
          convert(source, copy, from.window.size());
        else
          std::transform(source, source + from.window.size(), copy, round_to_bf16);
      }
      done += rows;
      used += rows;
      if (used == target.count) {
        ++to_run;
        used = 0;
      }
    }
}

}  // namespace ospsim
