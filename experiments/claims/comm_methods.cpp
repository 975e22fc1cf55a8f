#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "analysis/communication.hpp"
#include "experiments/claims/methods.hpp"
#include "kernels_ref/errors.hpp"
#include "sim/model/model.hpp"

/// Of what sequence parallelism moves, for the paper's model in bf16, and of the experiment
/// sequence-parallel.
namespace ospsim {
namespace {

constexpr int bf16_bytes = 2;

Sequence paper_sequence(const Grid& grid) {
  const Model model = find_model("osp-next-14b");
  return {.grid = grid, .pattern = model.pattern, .heads = model.heads, .head_dim = model.head_dim};
}

Traffic sparse_block(Strategy strategy, int ranks, const Grid& grid) {
  const Sequence sequence = paper_sequence(grid);
  return block_traffic(make_parallelism(strategy, ranks, {}, {}, Boundary::all_gather, sequence),
                       sequence, BlockKind::token, Direction::forward, bf16_bytes);
}

double sent(const Traffic& traffic) {
  return number(traffic.sent_bytes_per_rank);
}

/// The arguments that most methods here begin with.
struct StrategyOnRanks {
  Strategy strategy;
  int ranks;
  Grid grid;
  explicit StrategyOnRanks(Arguments& a)
      : strategy(parse_strategy(a.text("strategy"))),
        ranks(static_cast<int>(a.whole("ranks"))),
        grid(parse_grid(a.text("grid"))) {
    block();  // refuses what cannot run
  }

  Traffic block() const { return sparse_block(strategy, ranks, grid); }
};

Method block_sent_megabytes(Arguments& a) {
  const StrategyOnRanks at(a);
  return [=](const Evidence&) -> Value { return sent(at.block()) / 1e6; };
}

Method block_sent_ratio(Arguments& a) {
  const StrategyOnRanks at(a);
  const Strategy to = parse_strategy(a.text("to"));
  sparse_block(to, at.ranks, at.grid);
  return [=](const Evidence&) -> Value {
    return ratio(sent(at.block()), sent(sparse_block(to, at.ranks, at.grid)));
  };
}

Method block_saving_percent(Arguments& a) {
  const StrategyOnRanks at(a);
  const Strategy to = parse_strategy(a.text("to"));
  sparse_block(to, at.ranks, at.grid);
  return [=](const Evidence&) -> Value {
    return 100 * (1 - ratio(sent(at.block()), sent(sparse_block(to, at.ranks, at.grid))));
  };
}

Method block_collectives(Arguments& a) {
  const StrategyOnRanks at(a);
  return [=](const Evidence&) -> Value { return number(at.block().collectives); };
}

/// One forward pass, or the parts of it whose labels are named.
struct ForwardPass {
  Model model;
  StrategyOnRanks at;
  Boundary boundary;
  explicit ForwardPass(Arguments& a)
      : model(find_model(a.text("model"))), at(a), boundary(parse_boundary(a.text("boundary"))) {}

  ForwardTraffic traffic() const {
    return forward_traffic(
        make_parallelism(at.strategy, at.ranks, {}, {}, boundary, paper_sequence(at.grid)), model,
        at.grid, 1, bf16_bytes);
  }
  /// Texts that are labels of parts.
  static std::vector<std::string> parts_of(Arguments& a) {
    const std::vector<std::string> labels{"full blocks", "sparse blocks", "phase switches",
                                          "entering", "leaving"};
    const auto parts = a.texts("parts");
    for (const std::string& part : parts)
      if (std::find(labels.begin(), labels.end(), part) == labels.end())
        throw InputError(
            fmt::format("its method's part '{}' is not one of {}", part, fmt::join(labels, ", ")));
    return parts;
  }
  Traffic of_parts(const std::vector<std::string>& parts) const {
    Traffic sum;
    for (const auto& [label, traffic] : traffic().breakdown)
      if (std::find(parts.begin(), parts.end(), label) != parts.end()) {
        sum.collectives += traffic.collectives;
        sum.sent_bytes_per_rank += traffic.sent_bytes_per_rank;
      }
    return sum;
  }
};

Method forward_sent_megabytes(Arguments& a) {
  const ForwardPass pass(a);
  return [=](const Evidence&) -> Value { return sent(pass.traffic().total) / 1e6; };
}

Method forward_parts_sent_megabytes(Arguments& a) {
  const ForwardPass pass(a);
  const auto parts = ForwardPass::parts_of(a);
  return [=](const Evidence&) -> Value { return sent(pass.of_parts(parts)) / 1e6; };
}

Method forward_parts_collectives(Arguments& a) {
  const ForwardPass pass(a);
  const auto parts = ForwardPass::parts_of(a);
  return [=](const Evidence&) -> Value { return number(pass.of_parts(parts).collectives); };
}

/// Of what the dense model sends under ulysses on as many ranks.
Method forward_saving_percent(Arguments& a) {
  const ForwardPass pass(a);
  return [=](const Evidence&) -> Value {
    const Sequence sequence = paper_sequence(pass.at.grid);
    const auto dense = forward_traffic(
        make_parallelism(Strategy::ulysses, pass.at.ranks, {}, {}, pass.boundary, sequence),
        find_model("wan2.1-14b"), pass.at.grid, 1, bf16_bytes);
    return 100 * (1 - ratio(sent(pass.traffic().total), sent(dense.total)));
  };
}

/// Whether all ranks together send at most N_g^power S_d, for N_g ranks that hold S_d each, and do
/// so in full as N_g grows: N_g (N_g - 1) S_d or (N_g - 1) S_d, over the rank counts of ratio 4.
Method total_volume_has_power(Arguments& a) {
  const Strategy strategy = parse_strategy(a.text("strategy"));
  const auto power = a.whole("power");
  const Grid grid = parse_grid(a.text("grid"));
  return [=](const Evidence&) -> Value {
    Sequence sequence = paper_sequence(grid);
    sequence.pattern = parse_pattern("skiparse-2d", {4, 4, 4});
    const Layout layout(sequence.pattern, grid, Phase::token);
    for (const int ranks : {2, 4, 8, 16}) {
      const Traffic block =
          block_traffic(make_parallelism(strategy, ranks, {}, {}, Boundary::all_gather, sequence),
                        sequence, BlockKind::token, Direction::forward, bf16_bytes);
      const double held = number(layout.padded_tokens() / ranks * sequence.dim() * bf16_bytes);
      const double total = ranks * sent(block);
      const double expected = (power == 2 ? ranks : 1) * (ranks - 1) * held;
      if (total != expected) return false;
    }
    return true;
  };
}

constexpr const char* runs = "sequence-parallel";

/// Whether every run of a strategy on as many real processes gave what one rank computes, to the
/// bit, and moved what the formula says by all counts.
Method runs_equal_one_rank(Arguments& a) {
  const std::string strategy = a.text("strategy");
  const auto ranks = a.whole("ranks");
  a.rest_on(runs);
  return [=](const Evidence& evidence) -> Value {
    bool any = false;
    for (const Json& run : evidence.experiment(runs).at("runs")) {
      if (run.at("strategy") != strategy || run.at("ranks") != ranks) continue;
      any = true;
      if (run.at("max_abs_difference") != 0 || run.at("counts_agree") != true) return false;
    }
    if (!any)
      throw UnavailableError(fmt::format("{} has no {} on {} ranks", runs, strategy, ranks));
    return true;
  };
}

/// Whether MPI saw exactly one collective, of the formula's bytes, per block in every run of ssp.
Method runs_have_one_collective(Arguments& a) {
  a.rest_on(runs);
  return [](const Evidence& evidence) -> Value {
    bool any = false;
    for (const Json& run : evidence.experiment(runs).at("runs")) {
      if (run.at("strategy") != "ssp" || run.at("ranks") == 1) continue;
      any = true;
      if (run.at("measured").at("collectives") != 1 || run.at("measured").at("steps") != 1 ||
          run.at("counts_agree") != true)
        return false;
    }
    if (!any) throw UnavailableError(fmt::format("{} has no ssp on several ranks", runs));
    return true;
  };
}

Method switch_is_own_inverse(Arguments& a) {
  a.rest_on(runs);
  return [](const Evidence& evidence) -> Value {
    return evidence.experiment(runs).at("exchange_times").at("switch_is_own_inverse").get<bool>();
  };
}

/// Median time of one exchange variant over that of another, in turns on this machine's processes.
Method exchange_time_ratio(Arguments& a) {
  const std::string numerator = a.text("numerator"), denominator = a.text("denominator");
  a.rest_on(runs);
  return [=](const Evidence& evidence) -> Value {
    const Json& times = evidence.experiment(runs).at("exchange_times").at("median_ms");
    return ratio(times.at(numerator).get<double>(), times.at(denominator).get<double>());
  };
}

/// A row of the experiment parallel-time.
struct SimulatedPass {
  std::string platform, placement, contender;
  std::int64_t ranks;

  const Json& row(const Evidence& evidence) const {
    const Json wanted{{"platform", platform},
                      {"placement", placement},
                      {"contender", contender},
                      {"ranks", ranks}};
    for (const Json& row : evidence.experiment("parallel-time").at("rows"))
      if (std::all_of(wanted.items().begin(), wanted.items().end(),
                      [&](const auto& field) { return row.at(field.key()) == field.value(); }))
        return row;
    throw UnavailableError(
        fmt::format("parallel-time has no {} on {} ranks of {}", contender, ranks, platform));
  }
  double pass_ms(const Evidence& evidence) const {
    return row(evidence).at("with_computation_ms").get<double>();
  }
};

/// What exchanges and packing add to computing, of the whole pass.
Method exposed_percent(Arguments& a) {
  const SimulatedPass pass{a.text("platform"), a.text("placement"), a.text("contender"),
                           a.whole("ranks")};
  a.rest_on("parallel-time");
  return [=](const Evidence& evidence) -> Value {
    return 100 * ratio(pass.row(evidence).at("exposed_ms").get<double>(), pass.pass_ms(evidence));
  };
}

/// Time of the passes that one group runs, over that of another group's, on the same platform.
Method pass_time_ratio(Arguments& a) {
  const std::string platform = a.text("platform"), placement = a.text("placement");
  const SimulatedPass numerator{platform, placement, a.text("numerator"),
                                a.whole("numerator_ranks")};
  const SimulatedPass denominator{platform, placement, a.text("denominator"),
                                  a.whole("denominator_ranks")};
  const auto passes = number(a.whole("numerator_passes"));
  a.rest_on("parallel-time");
  return [=](const Evidence& evidence) -> Value {
    return ratio(passes * numerator.pass_ms(evidence), denominator.pass_ms(evidence));
  };
}

}  // namespace

const Methods& comm_methods() {
  static const Methods all{{"block_collectives", block_collectives},
                           {"block_saving_percent", block_saving_percent},
                           {"block_sent_megabytes", block_sent_megabytes},
                           {"block_sent_ratio", block_sent_ratio},
                           {"exchange_time_ratio", exchange_time_ratio},
                           {"exposed_percent", exposed_percent},
                           {"forward_parts_collectives", forward_parts_collectives},
                           {"forward_parts_sent_megabytes", forward_parts_sent_megabytes},
                           {"forward_saving_percent", forward_saving_percent},
                           {"forward_sent_megabytes", forward_sent_megabytes},
                           {"pass_time_ratio", pass_time_ratio},
                           {"runs_equal_one_rank", runs_equal_one_rank},
                           {"runs_have_one_collective", runs_have_one_collective},
                           {"switch_is_own_inverse", switch_is_own_inverse},
                           {"total_volume_has_power", total_volume_has_power}};
  return all;
}

}  // namespace ospsim
