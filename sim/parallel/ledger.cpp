#include "sim/parallel/ledger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace ospsim {
namespace {

template <class F>
void for_each_exchange(const Trace& trace, F f) {
  for (const Event& event : trace)
    if (const auto* exchange = std::get_if<Exchange>(&event)) f(*exchange);
}

}  // namespace

std::int64_t Exchange::sent_bytes() const {
  return std::accumulate(sent.begin(), sent.end(), std::int64_t{0},
                         [](std::int64_t sum, const Part& part) { return sum + part.bytes; });
}

Traffic traffic(const Ledger& ledger, std::string_view label) {
  Traffic largest;
  for (const Trace& trace : ledger.ranks) {
    Traffic own;
    for_each_exchange(trace, [&](const Exchange& exchange) {
      if (!label.empty() && exchange.label != label) return;
      own.collectives += exchange.kind != Exchange::Kind::shift ? 1 : 0;
      own.steps += 1;
      own.sent_bytes_per_rank += exchange.sent_bytes();
    });
    largest = {std::max(largest.collectives, own.collectives), std::max(largest.steps, own.steps),
               std::max(largest.sent_bytes_per_rank, own.sent_bytes_per_rank)};
  }
  return largest;
}

std::vector<std::int64_t> bytes_between_ranks(const Ledger& ledger) {
  const std::size_t ranks = ledger.ranks.size();
  std::vector<std::int64_t> bytes(ranks * ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank)
    for_each_exchange(ledger.ranks[rank], [&](const Exchange& exchange) {
      for (const auto& part : exchange.sent)
        bytes[rank * ranks + static_cast<std::size_t>(part.peer)] += part.bytes;
    });
  return bytes;
}

void require_matching_parts(const Ledger& ledger) {
  const std::size_t ranks = ledger.ranks.size();
  std::vector<std::vector<std::int64_t>> sent(ranks * ranks), received(ranks * ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank)
    for_each_exchange(ledger.ranks[rank], [&](const Exchange& exchange) {
      for (const auto& part : exchange.sent)
        sent[rank * ranks + static_cast<std::size_t>(part.peer)].push_back(part.bytes);
      for (const auto& part : exchange.received)
        received[static_cast<std::size_t>(part.peer) * ranks + rank].push_back(part.bytes);
    });
  for (std::size_t pair = 0; pair < sent.size(); ++pair)
    if (sent[pair] != received[pair])
      throw std::logic_error(
          fmt::format("rank {} does not receive what rank {} sends", pair % ranks, pair / ranks));
}

}  // namespace ospsim
