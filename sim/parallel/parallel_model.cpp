#include "sim/parallel/parallel_model.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels_ref/block/layers.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

constexpr std::array all_kinds{BlockKind::full, BlockKind::token, BlockKind::group};

bool is_sparse(BlockKind kind) {
  return kind != BlockKind::full;
}

/// The layers of one device, but for attention, which several ranks share.
class SharedLayers : public OneDeviceLayers<Backend::cpu> {
 public:
  SharedLayers(const DitBlockShape& shape, std::span<const TokenPosition> positions,
               const StepContext& context, std::shared_ptr<SharedAttention> attention)
      : OneDeviceLayers(shape, {}, positions, context.threads),
        context_(context),
        attention_(std::move(attention)) {}

 protected:
  void attend(AttentionActivations<float>& a) override {
    attention_->forward(context_, a.q, a.k, a.v, a.attended);
  }
  void attend_backward(const AttentionActivations<float>&, View d_attended, Array& dq, Array& dk,
                       Array& dv) override {
    attention_->backward(context_, d_attended, dq, dk, dv);
  }

 private:
  StepContext context_;
  std::shared_ptr<SharedAttention> attention_;
};

}  // namespace

ParallelPlan::ParallelPlan(const Parallelism& wanted, const Sequence& what,
                           std::int64_t ffn_columns, std::int64_t text_tokens)
    : parallelism(wanted),
      sequence(what),
      ffn_dim(ffn_columns),
      text_rows(text_tokens),
      numbers(what) {
  hidden[0] = flat_sharding(sequence, numbers, parallelism.ranks);
  for (const BlockKind kind : {BlockKind::token, BlockKind::group})
    hidden[index(static_cast<int>(kind))] =
        holds_subsequences()
            ? subsequence_sharding(sequence, numbers,
                                   kind == BlockKind::token ? Phase::token : Phase::group,
                                   parallelism.ssp, parallelism.ulysses)
            : hidden[0];
}

bool ParallelPlan::holds_subsequences() const {
  return parallelism.strategy == Strategy::ssp || parallelism.strategy == Strategy::gather ||
         parallelism.strategy == Strategy::ssp_ulysses;
}

ParallelModel::ParallelModel(const ParallelPlan& plan, Communicator& communicator, Wire wire,
                             int threads, bool computes)
    : plan_(plan),
      communicator_(communicator),
      wire_(wire),
      threads_(threads),
      computes_(computes) {
  if (plan_.holds_subsequences()) {
    std::vector<int> group(index(plan_.parallelism.ssp));
    for (int s = 0; s < plan_.parallelism.ssp; ++s)
      group[index(s)] =
          s * plan_.parallelism.ulysses + communicator_.rank() % plan_.parallelism.ulysses;
    phase_group_ = communicator_.subgroup(group);
  }
  if (!moves_only())
    for (const BlockKind kind : all_kinds)
      positions_[index(static_cast<int>(kind))] = positions_of(plan_.numbers, shard(kind).rows);
}

const Shard& ParallelModel::shard(BlockKind kind) const {
  return plan_.hidden_in(kind)[index(communicator_.rank())];
}

std::vector<float> ParallelModel::hand_over(BlockKind from, BlockKind to, int block,
                                            std::span<const float> x) {
  if (!hands_over(from, to)) return {x.begin(), x.end()};
  std::vector<float> y(communicator_.carries_payload() ? index(shard(to).elements()) : 0);
  hand_over(from, to, block, x, y);
  return y;
}

void ParallelModel::hand_over(BlockKind from, BlockKind to, int block, std::span<const float> x,
                              std::span<float> y) {
  const bool switches_phase = is_sparse(from) && is_sparse(to);
  StepName name{.label = switches_phase  ? "phase"
                         : is_sparse(to) ? "enter"
                                         : "leave",
                .block = block};
  if (plan_.parallelism.strategy == Strategy::gather ||
      (!switches_phase && plan_.parallelism.boundary == Boundary::all_gather)) {
    name.kind = Exchange::Kind::all_gather;
    gather_and_keep(from, to, name, x, y);
  } else {
    redistribution(from, to).run(switches_phase ? *phase_group_ : communicator_, name, wire_, x, y);
  }
}

const Redistribution& ParallelModel::redistribution(BlockKind from, BlockKind to) {
  const auto known = hand_overs_.find({from, to});
  if (known != hand_overs_.end()) return known->second;
  Sharding before = plan_.hidden_in(from), after = plan_.hidden_in(to);
  int rank = communicator_.rank();
  if (is_sparse(from) && is_sparse(to)) {
    const int ulysses = plan_.parallelism.ulysses;
    for (Sharding* all : {&before, &after}) {
      for (int s = 0; s < plan_.parallelism.ssp; ++s)
        std::swap((*all)[index(s)], (*all)[index(s * ulysses + rank % ulysses)]);
      all->resize(index(plan_.parallelism.ssp));
    }
    rank = phase_group_->rank();
  }
  return hand_overs_.emplace(std::pair(from, to), Redistribution(before, after, rank))
      .first->second;
}

void ParallelModel::gather_and_keep(BlockKind from, BlockKind to, const StepName& name,
                                    std::span<const float> x, std::span<float> y) {
  const auto& before = plan_.hidden_in(from);
  std::vector<std::int64_t> elements;
  for (const Shard& shard : before) elements.push_back(shard.elements());
  const auto all = all_gather(communicator_, name, wire_, elements, x);
  if (!communicator_.carries_payload()) return;

  const std::int64_t dim = plan_.sequence.dim();
  const auto rows = all_rows(before);
  std::vector<std::int64_t> gathered_at(
      index(plan_.numbers.batch() * plan_.numbers.padded_tokens()), -1);
  for (std::size_t i = 0; i < rows.size(); ++i)
    gathered_at[index(rows[i])] = static_cast<std::int64_t>(i);
  auto out = y.begin();
  for (const std::int64_t row : shard(to).rows) {
    if (gathered_at[index(row)] >= 0)
      std::copy_n(all.begin() + gathered_at[index(row)] * dim, dim, out);
    else
      std::fill_n(out, dim, 0.0f);
    out += dim;
  }
}

ParallelModel::BlockState& ParallelModel::state_of(BlockKind kind, int block) {
  if (std::ssize(blocks_) <= block) blocks_.resize(index(block) + 1);
  BlockState& state = blocks_[index(block)];
  if (state.attention || state.megatron) return state;
  const Parallelism& p = plan_.parallelism;
  if (p.strategy == Strategy::megatron_sp) {
    auto& megatron = megatron_plans_[index(static_cast<int>(kind))];
    if (!megatron)
      megatron = std::make_shared<MegatronPlan>(plan_.numbers, kind, plan_.hidden_in(kind));
    state.megatron = std::make_shared<MegatronLayers>(
        megatron, plan_.shape(std::ssize(shard(kind).rows)), communicator_, context(block));
    return state;
  }
  auto& attention = attention_plans_[index(static_cast<int>(kind))];
  if (!attention) {
    // Full blocks of the strategies that hold sub-sequences run ulysses over everyone.
    const bool everyone = plan_.holds_subsequences() && !is_sparse(kind);
    attention = std::make_shared<AttentionPlan>(
        plan_.numbers, kind, plan_.hidden_in(kind), plan_.sequence.heads, plan_.sequence.head_dim,
        everyone ? p.ranks : p.ulysses, everyone ? 1 : p.ring, communicator_);
  }
  state.attention = std::make_shared<SharedAttention>(attention);
  return state;
}

/// What a rank computes on its own rows around attention. The text's keys and values are computed
/// once per sub-sequence and sample that the rank holds, as the paper's code does.
void ParallelModel::record_token_work(BlockKind kind, int block, bool before_attention) {
  const auto rows = std::ssize(shard(kind).rows);
  const std::int64_t held =
      is_sparse(kind) && plan_.holds_subsequences()
          ? plan_.numbers.layout(Phase::token).subsequences() / plan_.parallelism.ssp
          : 1;
  const DitBlockCost cost = dit_block_forward_cost(
      plan_.shape(rows), 0, held * plan_.sequence.batch, wire_.bytes_per_element);
  const bool layers_apart = plan_.parallelism.strategy == Strategy::megatron_sp;
  if (before_attention) {
    if (!layers_apart)
      communicator_.record(
          {"q, k, v", block, 0.75 * cost.projections.flops, 0.75 * cost.projections.bytes});
    return;
  }
  Cost rest = cost.cross_attention + cost.elementwise;
  if (!layers_apart) {
    rest = rest + cost.feed_forward;
    rest = rest + Cost{0.25 * cost.projections.flops, 0.25 * cost.projections.bytes};
  }
  communicator_.record({layers_apart ? "cross-attention, norms" : "o, cross-attention, FFN, norms",
                        block, rest.flops, rest.bytes});
}

std::vector<float> ParallelModel::forward(BlockKind kind, int block,
                                          const Conditioning& conditioning,
                                          std::span<const float> x) {
  BlockState& state = state_of(kind, block);
  const auto rows = std::ssize(shard(kind).rows);
  record_token_work(kind, block, true);
  std::vector<float> y(x.size());
  if (moves_only()) {
    move(kind, kind, block, x, y);
  } else {
    const auto& positions = positions_[index(static_cast<int>(kind))];
    DitBlockInputs<float> inputs{x, conditioning.text, conditioning.modulation, {}, positions};
    inputs.layers = state.megatron;
    if (!state.megatron)
      inputs.layers = std::make_shared<SharedLayers>(plan_.shape(rows), positions, context(block),
                                                     state.attention);
    state.x.assign(x.begin(), x.end());
    dit_block_forward<Backend::cpu>(plan_.shape(rows), *conditioning.weights, inputs, y,
                                    state.activations, threads_);
  }
  record_token_work(kind, block, false);
  return y;
}

void ParallelModel::move(BlockKind from, BlockKind kind, int block, std::span<const float> x,
                         std::span<float> y) {
  const bool arrives = hands_over(from, kind);
  if (arrives) hand_over(from, kind, block, x, y);
  const std::span<const float> input = arrives ? y : x;
  BlockState& state = state_of(kind, block);
  if (state.megatron) {
    state.megatron->self_attention({}, input);
    state.megatron->feed_forward({}, {}, input);
  } else {
    state.x.resize(input.size());
    state.attention->forward(context(block), input, input, input, state.x);
  }
}

void ParallelModel::forget(int block) {
  if (block < std::ssize(blocks_)) blocks_[index(block)] = {};
}

DitBlockGradients<float> ParallelModel::backward(BlockKind kind, int block,
                                                 const Conditioning& conditioning,
                                                 std::span<const float> dy) {
  BlockState& state = state_of(kind, block);
  if (moves_only()) {
    DitBlockGradients<float> gradients;
    gradients.x.resize(dy.size());
    if (state.megatron) {
      AttentionWeights<float> attention;
      LinearWeights<float> up, down;
      state.megatron->feed_forward_backward({}, {}, dy, up, down);
      state.megatron->self_attention_backward({}, dy, attention);
    } else {
      std::vector<float> dk(dy.size()), dv(dy.size());
      state.attention->backward(context(block), dy, gradients.x, dk, dv);
    }
    return gradients;
  }
  const DitBlockInputs<float> inputs{state.x,
                                     conditioning.text,
                                     conditioning.modulation,
                                     {},
                                     positions_[index(static_cast<int>(kind))]};
  return dit_block_backward<Backend::cpu>(plan_.shape(std::ssize(shard(kind).rows)),
                                          *conditioning.weights, inputs, state.activations, dy,
                                          threads_);
}

}  // namespace ospsim
