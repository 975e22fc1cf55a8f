#include <gtest/gtest.h>

#include "analysis/network_time.hpp"
#include "tests/sim/network_support.hpp"

namespace ospsim {
namespace {

using Placement = ReplaySettings::Placement;
using AllToAll = ReplaySettings::AllToAll;

constexpr std::int64_t dim_bytes = 5120 * 2, full_tokens = 21 * 45 * 80,
                       sparse_tokens = 21 * 48 * 80;

/// A forward pass of 40 blocks, the first and last 4 of which attend fully: ulysses over all ranks
/// there; ssp over `ssp` ranks, and ulysses over `ulysses` where there are several, in the others.
/// `unevenness` makes parts and computations of different ranks differ by up to that fraction.
Ledger forward_pass(int ssp, int ulysses, double unevenness) {
  const int ranks = ssp * ulysses;
  const auto uneven = [unevenness](double value, int seed) {
    return value * (1 + unevenness * (seed * 7919 % 13) / 13);
  };
  Ledger ledger;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<int> all = ranks_from(0, ranks);
    const std::vector<int> of_ulysses = ranks_from(rank / ulysses * ulysses, ulysses);
    const std::vector<int> of_ssp = ranks_from(rank % ulysses, ssp, ulysses);
    Trace trace;
    const auto exchange = [&](const std::vector<int>& group, const char* label,
                              std::int64_t bytes) {
      if (group.size() < 2) return;
      trace.push_back(exchange_of(rank, group, label, [&](int from, int to) {
        return static_cast<std::int64_t>(uneven(static_cast<double>(bytes), from * 5 + to));
      }));
    };
    const auto compute = [&](double flops) {
      trace.push_back(Computation{.flops = uneven(flops / ranks, rank + 1)});
    };
    const auto ulysses_block = [&](const std::vector<int>& group, std::int64_t tokens,
                                   double flops) {
      const auto bytes = tokens * dim_bytes / ranks / static_cast<std::int64_t>(group.size());
      for (const char* label : {"q", "k", "v"}) exchange(group, label, bytes);
      compute(0.7 * flops);
      exchange(group, "o", bytes);
      compute(0.3 * flops);
    };
    for (int block = 0; block < 40; ++block) {
      if (block < 4 || block >= 36) {
        ulysses_block(all, full_tokens, 1.631e14);
        continue;
      }
      if (block == 4) exchange(all, "enter", full_tokens * dim_bytes / ranks);
      exchange(of_ssp, "phase", sparse_tokens * dim_bytes / ranks / ssp);
      ulysses_block(of_ulysses, sparse_tokens, 0.785e14);
      if (block == 35) exchange(all, "leave", sparse_tokens * dim_bytes / ranks);
    }
    ledger.ranks.push_back(std::move(trace));
  }
  return ledger;
}

struct Case {
  int ssp, ulysses, replicas;
  Placement placement;
  AllToAll all_to_all;
  double unevenness;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.replicas << " groups of ssp " << c.ssp << " x ulysses " << c.ulysses
       << (c.placement == Placement::packed ? ", packed" : ", strided")
       << (c.all_to_all == AllToAll::concurrent ? ", at once" : ", in rounds")
       << (c.unevenness > 0 ? ", uneven" : "");
}

class NetworkAtScale : public testing::TestWithParam<Case> {};

TEST_P(NetworkAtScale, AForwardPassOfAThousandRanksOnAnOversubscribedFatTree) {
  SKIP_WITHOUT_REPLAYER();
  const auto& [ssp, ulysses, replicas, placement, all_to_all, unevenness] = GetParam();
  const Ledger ledger = forward_pass(ssp, ulysses, unevenness);
  const ReplaySettings settings{.platform = load_platform("h200-fat-tree-4to1"),
                                .replicas = replicas,
                                .placement = placement,
                                .all_to_all = all_to_all};
  const ReplayResult result = simulate(ledger, settings);
  EXPECT_EQ(result.devices, ssp * ulysses * replicas);
  EXPECT_GE(result.devices, 1000);
  EXPECT_GT(result.flows, 200'000);
  const double formula = network_seconds(ledger, settings);
  EXPECT_GT(result.time_s, 0.999 * formula);
  if (placement == Placement::packed && unevenness == 0) {  // no group leaves its node
    EXPECT_NEAR(result.time_s, formula, 1e-3 * formula);
  }
  // The uplinks can cost at most their oversubscription.
  EXPECT_LT(result.exposed.max_s, 1.1 * 4 * (formula - 0.9 * result.computation.mean_s));
}

INSTANTIATE_TEST_SUITE_P(
    Settings, NetworkAtScale,
    testing::Values(Case{4, 2, 128, Placement::packed, AllToAll::concurrent, 0},
                    Case{4, 2, 128, Placement::strided, AllToAll::concurrent, 0},
                    Case{4, 2, 128, Placement::strided, AllToAll::pairwise, 0},
                    Case{4, 1, 256, Placement::packed, AllToAll::concurrent, 0},
                    Case{4, 1, 256, Placement::strided, AllToAll::concurrent, 0},
                    Case{4, 2, 125, Placement::strided, AllToAll::concurrent, 0.04}));

}  // namespace
}  // namespace ospsim
