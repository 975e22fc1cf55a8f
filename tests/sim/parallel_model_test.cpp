#include "sim/parallel/parallel_model.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>
#include <numeric>
#include <tuple>

#include "tests/kernels_ref/dit_block_support.hpp"
#include "tests/sim/parallel_support.hpp"

namespace ospsim {
namespace {

using Array = std::vector<float>;
using enum BlockKind;

constexpr std::int64_t ffn_dim = 20, text_rows = 5;
const std::vector hybrid{full, token, group, token, full};

// ---- A stack of blocks on one rank -------------------------------------------------------------

struct Block {
  BlockKind kind = full;
  DitBlockWeights<double> weights;
  std::vector<double> modulation;
};

/// What a stack is run on: valid tokens in (t, y, x) order, sample after sample.
struct Stack {
  Sequence sequence;
  DitBlockShape shape;
  std::vector<Block> blocks;
  std::vector<double> x, dy, text;

  explicit Stack(const Sequence& what) : sequence(what) {
    shape = {what.grid.tokens() * what.batch, text_rows, what.dim(), what.heads, ffn_dim};
    for (std::size_t b = 0; b < hybrid.size(); ++b) {
      blocks.push_back(
          {hybrid[b], random_weights(shape, 100 * b + 20), normal(6 * shape.dim, 7 + b, 0.5)});
    }
    x = normal(shape.rows * shape.dim, 1);
    dy = normal(shape.rows * shape.dim, 2);
    text = normal(text_rows * shape.dim, 3);
  }
};

/// What a stack gives: `gradients` of weights, text and modulation, block after block.
template <class T>
struct Outcome {
  std::vector<T> y, dx;
  std::vector<std::vector<T>> gradients;
};

template <class T, class F>
void for_each_shared_gradient(DitBlockGradients<T>& gradients, F f) {
  for_each_weight(gradients.weights, f);
  f(gradients.text);
  f(gradients.modulation);
}

std::vector<AttentionGroup> groups_on_one_rank(const Sequence& sequence, BlockKind kind) {
  std::vector<AttentionGroup> one_sample =
      kind == full ? group_of_all(sequence.grid.tokens(), sequence.grid.tokens())
                   : groups_in_place(Layout(sequence.pattern, sequence.grid,
                                            kind == token ? Phase::token : Phase::group));
  std::vector<AttentionGroup> groups;
  for (std::int64_t sample = 0; sample < sequence.batch; ++sample)
    for (AttentionGroup group : one_sample) {
      for (auto* rows : {&group.queries, &group.keys})
        for (std::int64_t& row : *rows) row += sample * sequence.grid.tokens();
      groups.push_back(std::move(group));
    }
  return groups;
}

template <Backend B>
Outcome<Real<B>> on_one_rank(const Stack& stack) {
  using T = Real<B>;
  const auto text = converted<T>(stack.text);
  std::vector<TokenPosition> positions;
  for (std::int64_t sample = 0; sample < stack.sequence.batch; ++sample)
    for (const TokenPosition& position : positions_in_place(stack.sequence.grid))
      positions.push_back(position);

  const std::size_t count = stack.blocks.size();
  std::vector<std::vector<T>> x{converted<T>(stack.x)}, modulation;
  std::vector<DitBlockWeights<T>> weights;
  std::vector<std::vector<AttentionGroup>> groups;
  std::vector<DitBlockActivations<T>> activations(count);
  for (const Block& block : stack.blocks) {
    weights.push_back(converted_weights<T>(stack.shape, block.weights));
    modulation.push_back(converted<T>(block.modulation));
    groups.push_back(groups_on_one_rank(stack.sequence, block.kind));
  }
  const auto inputs = [&](std::size_t b) {
    return DitBlockInputs<T>{x[b], text, modulation[b], groups[b], positions};
  };
  for (std::size_t b = 0; b < count; ++b) {
    std::vector<T> y(x[b].size());
    dit_block_forward<B>(stack.shape, weights[b], inputs(b), y, activations[b], 1);
    x.push_back(std::move(y));
  }
  Outcome<T> outcome{.y = x.back(), .dx = converted<T>(stack.dy)};
  std::vector<DitBlockGradients<T>> gradients(count);
  for (std::size_t b = count; b-- > 0;) {
    gradients[b] =
        dit_block_backward<B>(stack.shape, weights[b], inputs(b), activations[b], outcome.dx, 1);
    outcome.dx = gradients[b].x;
  }
  for (auto& block : gradients)
    for_each_shared_gradient(
        block, [&](std::vector<T>& array) { outcome.gradients.push_back(std::move(array)); });
  return outcome;
}

// ---- The same on many --------------------------------------------------------------------------

struct ParallelOutcome : Outcome<float> {
  std::vector<std::vector<double>> sums;  ///< of the ranks' gradients
  Ledger ledger;
};

/// One rank of a training step. Without payload, what it would exchange.
struct Rank {
  const Stack& stack;
  const ParallelPlan& plan;
  std::vector<DitBlockWeights<float>> weights;
  std::vector<Array> modulation;
  Array text;

  Rank(const Stack& of, const ParallelPlan& by) : stack(of), plan(by) {
    for (const Block& block : stack.blocks) {
      weights.push_back(converted_weights<float>(stack.shape, block.weights));
      modulation.push_back(converted<float>(block.modulation));
    }
    text = converted<float>(stack.text);
  }

  /// The row of the tensors on one rank.
  std::int64_t row_on_one_rank(std::int64_t row) const {
    return plan.numbers.sample(row) * plan.sequence.grid.tokens() + *plan.numbers.token(row);
  }
  Array own(const std::vector<double>& whole, const Shard& shard) const {
    const std::int64_t dim = plan.sequence.dim();
    Array part;
    for (const std::int64_t row : shard.rows)
      for (std::int64_t c = 0; c < dim; ++c)
        part.push_back(static_cast<float>(whole[at(row_on_one_rank(row) * dim + c)]));
    return part;
  }
  void put(const Array& part, const Shard& shard, Array& whole) const {
    const std::int64_t dim = plan.sequence.dim();
    for (std::int64_t i = 0; i < std::ssize(shard.rows); ++i)
      std::copy_n(part.begin() + i * dim, dim,
                  whole.begin() + row_on_one_rank(shard.rows[at(i)]) * dim);
  }

  void run(Communicator& communicator, Wire wire, ParallelOutcome& outcome,
           std::mutex& mutex) const {
    const bool payload = communicator.carries_payload();
    ParallelModel model(plan, communicator, wire, 1);
    const int count = static_cast<int>(stack.blocks.size());
    const auto kind = [&](int b) { return stack.blocks[at(b)].kind; };
    const auto conditioning = [&](int b) {
      return ParallelModel::Conditioning{&weights[at(b)], text, modulation[at(b)]};
    };
    const Shard& shard = model.shard(full);
    Array x = payload ? own(stack.x, shard) : Array();
    for (int b = 0; b < count; ++b) {
      if (b > 0) x = model.hand_over(kind(b - 1), kind(b), b, x);
      x = model.forward(kind(b), b, conditioning(b), x);
    }
    Array dx = payload ? own(stack.dy, shard) : Array();
    std::vector<DitBlockGradients<float>> gradients(at(count));
    for (int b = count - 1; b >= 0; --b) {
      gradients[at(b)] = model.backward(kind(b), b, conditioning(b), dx);
      dx = gradients[at(b)].x;
      if (b > 0) dx = model.hand_over(kind(b), kind(b - 1), b, dx);
    }
    if (!payload) return;
    const std::scoped_lock lock(mutex);
    put(x, shard, outcome.y);
    put(dx, shard, outcome.dx);
    std::size_t i = 0;
    for (auto& block : gradients)
      for_each_shared_gradient(block, [&](Array& array) {
        if (i == outcome.sums.size()) outcome.sums.emplace_back(array.size());
        for (std::size_t j = 0; j < array.size(); ++j)
          outcome.sums[i][j] += static_cast<double>(array[j]);
        ++i;
      });
  }
};

ParallelOutcome on_ranks(const Stack& stack, const Parallelism& parallelism, Wire wire = {}) {
  const ParallelPlan plan(parallelism, stack.sequence, ffn_dim, text_rows);
  const Rank rank(stack, plan);
  ParallelOutcome outcome;
  outcome.y.resize(stack.x.size());
  outcome.dx.resize(stack.x.size());
  std::mutex mutex;
  const auto program = [&](Communicator& communicator) {
    rank.run(communicator, wire, outcome, mutex);
  };
  outcome.ledger = run_in_process(parallelism.ranks, program);
  require_matching_parts(outcome.ledger);
  EXPECT_TRUE(same_ledger(outcome.ledger, run_without_payload(parallelism.ranks, program)));
  return outcome;
}

/// Every strategy that takes the sequence, on 1 to 9 ranks.
std::vector<Parallelism> parallelisms(const Sequence& sequence) {
  std::vector<Parallelism> list;
  for (const Strategy strategy : all_strategies())
    for (const int ranks : {1, 2, 3, 4, 8, 9})
      for (const Boundary boundary : {Boundary::all_gather, Boundary::reshard}) {
        if (boundary == Boundary::reshard && !holds_subsequences(strategy)) continue;
        const bool chooses = strategy == Strategy::usp || strategy == Strategy::ssp_ulysses;
        for (const std::optional<int> ulysses : {std::optional<int>{}, {2}, {3}}) {
          if (ulysses && !chooses) continue;
          if (const auto p = try_parallelism(strategy, ranks, boundary, sequence, ulysses))
            list.push_back(*p);
        }
      }
  return list;
}

/// Only these add up in another order than one rank does.
bool sums_otherwise(const Parallelism& p) {
  return p.ring > 1 || p.strategy == Strategy::megatron_sp;
}

/// Gradients of a block in the order of for_each_shared_gradient: ten arrays of each attention
/// layer (weight and bias of q, k, v and o, then the norms of q and k), and others.
constexpr std::size_t arrays_per_block = 28, arrays_per_attention = 10;

/// What the gradient's error is measured by. The gradients of q and k come from p (dp - mean of
/// dp), in which keys cancel each other: exactly for a shift of all keys, which is what the bias of
/// k would be but for its norm, and nearly where attention is nearly even. The terms that are added
/// are of the size of v's gradients, 30 to 1000 times the sum here, and rounding follows the terms.
/// So q and k may be off by 5e-7 of v's gradient besides 2e-6 of their own.
double allowed_error(const std::vector<Array>& gradients, std::size_t i) {
  const auto norm = [](const Array& array) {
    return std::sqrt(std::inner_product(array.begin(), array.end(), array.begin(), 0.0));
  };
  const double allowed = 2e-6 * norm(gradients[i]);
  const std::size_t array = i % arrays_per_block, part = array % arrays_per_attention;
  const std::size_t first = i - part, v_weight = first + 4, v_bias = first + 5;
  if (array >= 2 * arrays_per_attention || (part >= 4 && part <= 7)) return allowed;
  const bool is_weight = part == 0 || part == 2;
  return allowed + 5e-7 * norm(gradients[is_weight ? v_weight : v_bias]);
}

double distance(const std::vector<double>& a, const Array& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(a[i] - static_cast<double>(b[i]), 2);
  return std::sqrt(sum);
}

class EveryStrategy : public testing::TestWithParam<Sequence> {};

TEST_P(EveryStrategy, TrainsAsOneRankDoes) {
  const Stack stack(GetParam());
  const auto one = on_one_rank<Backend::cpu>(stack);
  const auto exact = on_one_rank<Backend::naive>(stack);
  EXPECT_LT(relative_l2(one.y, exact.y), 2e-6);
  EXPECT_LT(relative_l2(one.dx, exact.dx), 2e-6);
  ASSERT_EQ(one.gradients.size(), arrays_per_block * stack.blocks.size());
  int bitwise = 0;
  for (const Parallelism& p : parallelisms(stack.sequence)) {
    SCOPED_TRACE(described(p));
    const auto many = on_ranks(stack, p);
    if (sums_otherwise(p)) {
      EXPECT_LT(relative_l2(many.y, one.y), 2e-6);
      EXPECT_LT(relative_l2(many.dx, one.dx), 2e-6);
    } else {
      EXPECT_EQ(many.y, one.y);
      EXPECT_EQ(many.dx, one.dx);
      ++bitwise;
    }
    ASSERT_EQ(many.sums.size(), one.gradients.size());
    for (std::size_t i = 0; i < many.sums.size(); ++i) {
      ASSERT_EQ(many.sums[i].size(), one.gradients[i].size());
      EXPECT_LE(distance(many.sums[i], one.gradients[i]), allowed_error(one.gradients, i))
          << "array " << i % arrays_per_block << " of block " << i / arrays_per_block;
    }
  }
  EXPECT_GT(bitwise, 10);
}

Sequence of_pattern(const char* text, Ratio ratio, Sequence sequence) {
  sequence.pattern = parse_pattern(text, ratio);
  return sequence;
}

INSTANTIATE_TEST_SUITE_P(
    Grids, EveryStrategy,
    testing::Values(skiparse_2d({2, 7, 9}, 2, 2, 5, 6), skiparse_2d({1, 8, 16}, 2, 1, 8, 4),
                    skiparse_2d({1, 10, 19}, 3, 1, 9, 4), skiparse_2d({1, 5, 17}, 4, 2, 4, 6),
                    skiparse_2d({9, 1, 1}, 2, 1, 3, 4),  // most ranks hold nothing but padding
                    of_pattern("skiparse-1d", {4, 4, 4}, skiparse_2d({2, 5, 7}, 2, 2, 3, 6)),
                    of_pattern("skiparse-3d", {2, 2, 2}, skiparse_2d({3, 5, 6}, 2, 1, 9, 2)),
                    of_pattern("x0,y1|y1,x0", {2, 2, 2}, skiparse_2d({2, 5, 9}, 2, 1, 4, 4))));

/// More ranks than heads is refused where ranks share heads in sparse blocks; full blocks then
/// leave some ranks without any.
TEST(ParallelModel, RanksWithoutHeadsInFullBlocks) {
  const Stack stack(skiparse_2d({2, 8, 8}, 2, 1, 3, 4));
  const auto one = on_one_rank<Backend::cpu>(stack);
  for (const int ranks : {4, 8}) {
    const auto p = try_parallelism(Strategy::ssp_ulysses, ranks, Boundary::reshard, stack.sequence);
    ASSERT_TRUE(p);
    const auto many = on_ranks(stack, *p);
    EXPECT_EQ(many.y, one.y);
    EXPECT_EQ(many.dx, one.dx);
  }
}

// ---- Rounded on the wire -----------------------------------------------------------------------

TEST(ParallelModel, SwitchesRoundTheSameOnAnyNumberOfRanks) {
  const Sequence sequence = skiparse_2d({2, 7, 9}, 2, 2, 5, 6);
  const Stack stack(sequence);
  const std::int64_t dim = sequence.dim();
  const auto run = [&](const Parallelism& p, Wire wire) {
    const ParallelPlan plan(p, sequence, ffn_dim, text_rows);
    const Rank rank(stack, plan);
    const std::int64_t rows = plan.numbers.padded_tokens() * sequence.batch;
    const Array all = normal_floats(rows * dim, 1);
    Array result(at(rows * dim), -1);
    std::mutex mutex;
    run_in_process(p.ranks, [&](Communicator& communicator) {
      ParallelModel model(plan, communicator, wire, 1);
      Array x;
      for (const std::int64_t row : model.shard(token).rows)
        x.insert(x.end(), all.begin() + row * dim, all.begin() + (row + 1) * dim);
      for (int b = 1; b < 4; ++b) {
        const BlockKind kind = stack.blocks[at(b)].kind;
        x = model.forward(kind, b, {&rank.weights[at(b)], rank.text, rank.modulation[at(b)]}, x);
        x = model.hand_over(kind, kind == token ? group : token, b, x);
      }
      const std::scoped_lock lock(mutex);
      const Shard& shard = model.shard(group);
      for (std::int64_t i = 0; i < std::ssize(shard.rows); ++i)
        std::copy_n(x.begin() + i * dim, dim, result.begin() + shard.rows[at(i)] * dim);
    });
    return result;
  };
  const auto ranks_of = [&](Strategy strategy, int ranks) {
    return *try_parallelism(strategy, ranks, Boundary::reshard, sequence);
  };
  const Array exact = run(ranks_of(Strategy::ssp, 1), Wire{4});
  const Array rounded = run(ranks_of(Strategy::ssp, 1), Wire{2});
  const double error = relative_l2(rounded, exact);
  EXPECT_GT(error, std::ldexp(1, -11));
  EXPECT_LT(error, std::ldexp(1, -7));
  for (const float value : rounded) ASSERT_EQ(value, rounded_to_bf16(value));
  for (const Strategy strategy : {Strategy::ssp, Strategy::gather})
    for (const int ranks : {2, 4}) {
      EXPECT_EQ(run(ranks_of(strategy, ranks), Wire{4}), exact) << ranks;
      EXPECT_EQ(run(ranks_of(strategy, ranks), Wire{2}), rounded) << ranks;
    }
}

TEST(ParallelModel, ResultsAreWithinRoundingOnTheWire) {
  const Stack stack(skiparse_2d({2, 7, 9}, 2, 1, 5, 6));
  const auto one = on_one_rank<Backend::cpu>(stack);
  std::map<Strategy, std::vector<Array>> results;
  for (const Strategy strategy : all_strategies())
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(std::string(to_string(strategy)) + " " + std::to_string(ranks));
      std::vector<Array> same;
      for (const Boundary boundary : {Boundary::all_gather, Boundary::reshard}) {
        const auto p = try_parallelism(strategy, ranks, boundary, stack.sequence);
        ASSERT_TRUE(p);
        const auto many = on_ranks(stack, *p, Wire{2});
        // Every exchange rounds once: half a unit in 8 bits, and errors add up over five blocks.
        EXPECT_LT(relative_l2(many.y, one.y), 5 * std::ldexp(1, -8));
        EXPECT_LT(relative_l2(many.dx, one.dx), 5 * std::ldexp(1, -8));
        EXPECT_GT(relative_l2(many.y, one.y), 1e-4);
        same.push_back(many.y);
        EXPECT_EQ(traffic(many.ledger).sent_bytes_per_rank * 2,
                  strategy == Strategy::megatron_sp
                      ? 2 * traffic(many.ledger).sent_bytes_per_rank
                      : traffic(on_ranks(stack, *p).ledger).sent_bytes_per_rank);
      }
      EXPECT_EQ(same[0], same[1]);  // the boundary changes no value
      results[strategy].push_back(same[0]);
    }
  for (const Strategy strategy : {Strategy::ulysses, Strategy::ssp, Strategy::gather})
    EXPECT_EQ(results[strategy][0], results[strategy][1]) << to_string(strategy);
  EXPECT_EQ(results[Strategy::ssp], results[Strategy::gather]);
  EXPECT_EQ(results[Strategy::ssp], results[Strategy::ssp_ulysses]);
}

// ---- Attention alone ---------------------------------------------------------------------------

struct AttentionOutcome {
  Array o, dq, dk, dv;
};

TEST(SharedAttention, EqualsAttentionOnOneRank) {
  for (const Sequence& sequence :
       {skiparse_2d({2, 7, 9}, 2, 2, 5, 6), skiparse_2d({1, 10, 9}, 3, 1, 7, 5)}) {
    const std::int64_t dim = sequence.dim(), tokens = sequence.grid.tokens();
    const std::int64_t rows = tokens * sequence.batch;
    const Array q = normal_floats(rows * dim, 1), k = normal_floats(rows * dim, 2),
                v = normal_floats(rows * dim, 3), d_o = normal_floats(rows * dim, 4);
    const RowNumbers numbers(sequence);
    for (const BlockKind kind : {full, token, group}) {
      const auto heads_of = [&](auto* data) {
        return rows_first(data, sequence.heads, rows, sequence.head_dim);
      };
      const auto groups = groups_on_one_rank(sequence, kind);
      AttentionOutcome one{Array(q.size()), Array(q.size()), Array(q.size()), Array(q.size())};
      Array lse(at(sequence.heads * rows));
      attention_forward<Backend::cpu>(groups, heads_of(q.data()), heads_of(k.data()),
                                      heads_of(v.data()), heads_of(one.o.data()), lse, 1);
      attention_backward<Backend::cpu>(groups, heads_of(q.data()), heads_of(k.data()),
                                       heads_of(v.data()), heads_of(std::as_const(one.o).data()),
                                       heads_of(d_o.data()), lse, heads_of(one.dq.data()),
                                       heads_of(one.dk.data()), heads_of(one.dv.data()), 1);

      for (const auto& [ulysses, ring, by_subsequence] : {std::tuple{1, 1, false},
                                                          {2, 1, false},
                                                          {3, 1, false},
                                                          {5, 1, false},
                                                          {1, 2, false},
                                                          {1, 5, false},
                                                          {2, 2, false},
                                                          {3, 3, false},
                                                          {4, 1, true},
                                                          {3, 1, true}}) {
        const bool apart = by_subsequence && kind != full;
        const int ssp = apart ? static_cast<int>(numbers.layout(Phase::token).subsequences()) : 1;
        if (apart && ulysses > 3 && sequence.grid.h > 9) continue;  // as many units
        SCOPED_TRACE(testing::Message()
                     << to_string(sequence.grid) << " kind " << static_cast<int>(kind) << " ssp "
                     << ssp << " ulysses " << ulysses << " ring " << ring);
        const int ranks = ssp * ulysses * ring;
        const Sharding hidden =
            apart ? subsequence_sharding(sequence, numbers,
                                         kind == token ? Phase::token : Phase::group, ssp, ulysses)
                  : flat_sharding(sequence, numbers, ranks);
        AttentionOutcome many{Array(q.size()), Array(q.size()), Array(q.size()), Array(q.size())};
        std::mutex mutex;
        run_in_process(ranks, [&](Communicator& communicator) {
          const Shard& shard = hidden[at(communicator.rank())];
          const auto at_one = [&](std::int64_t row) {
            return numbers.sample(row) * tokens + *numbers.token(row);
          };
          const auto own = [&](const Array& whole) {
            Array part(at(shard.elements()), 9.0f);  // padding says anything
            for (std::int64_t i = 0; i < std::ssize(shard.rows); ++i)
              if (numbers.token(shard.rows[at(i)]))
                std::copy_n(whole.begin() + at_one(shard.rows[at(i)]) * dim, dim,
                            part.begin() + i * dim);
            return part;
          };
          const StepContext context{Wire{4}, 0, 1};
          SharedAttention attention(
              std::make_shared<AttentionPlan>(numbers, kind, hidden, sequence.heads,
                                              sequence.head_dim, ulysses, ring, communicator));
          Array o(at(shard.elements()), NAN), dq = o, dk = o, dv = o;
          attention.forward(context, own(q), own(k), own(v), o);
          attention.backward(context, own(d_o), dq, dk, dv);
          const std::scoped_lock lock(mutex);
          for (const auto& [part, whole] :
               {std::pair{&o, &many.o}, {&dq, &many.dq}, {&dk, &many.dk}, {&dv, &many.dv}})
            for (std::int64_t i = 0; i < std::ssize(shard.rows); ++i)
              if (numbers.token(shard.rows[at(i)]))
                std::copy_n(part->begin() + i * dim, dim,
                            whole->begin() + at_one(shard.rows[at(i)]) * dim);
              else
                for (std::int64_t c = 0; c < dim; ++c) EXPECT_EQ((*part)[at(i * dim + c)], 0);
        });
        for (const auto& [ours, reference] : {std::pair{&many.o, &one.o},
                                              {&many.dq, &one.dq},
                                              {&many.dk, &one.dk},
                                              {&many.dv, &one.dv}})
          if (ring == 1)
            EXPECT_EQ(*ours, *reference);
          else
            EXPECT_LT(relative_l2(*ours, *reference), 2e-6);
      }
    }
  }
}

}  // namespace
}  // namespace ospsim
