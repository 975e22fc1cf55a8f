#pragma once

#include <array>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels_ref/block/dit_block.hpp"
#include "sim/parallel/megatron_layers.hpp"
#include "sim/parallel/shared_attention.hpp"

namespace ospsim {

/// Everything about a parallel run that all ranks know alike. Build it once; ranks share it.
struct ParallelPlan {
  Parallelism parallelism;
  Sequence sequence;
  std::int64_t ffn_dim = 0, text_rows = 0;

  RowNumbers numbers;
  /// Who holds the hidden state in a block of each BlockKind.
  std::array<Sharding, 3> hidden;

  ParallelPlan(const Parallelism& parallelism, const Sequence& sequence, std::int64_t ffn_dim,
               std::int64_t text_rows);

  const Sharding& hidden_in(BlockKind kind) const { return hidden[static_cast<std::size_t>(kind)]; }
  /// Whether ranks hold whole sub-sequences in sparse blocks, so that the hidden state changes
  /// hands between blocks.
  bool holds_subsequences() const;
  DitBlockShape shape(std::int64_t rows) const {
    return {rows, text_rows, sequence.dim(), sequence.heads, ffn_dim};
  }
};

/// One rank's share of a stack of DiT blocks. Every rank holds all weights and the whole text; the
/// gradients of both are partial, and their sum over ranks is the gradient.
class ParallelModel {
 public:
  /// `plan` and `communicator` (of all ranks) are named, not copied. `computes` false moves the
  /// hidden state and everything that attention exchanges, but computes nothing: for timing.
  ParallelModel(const ParallelPlan& plan, Communicator& communicator, Wire wire, int threads,
                bool computes = true);

  /// This rank's rows in a block of a kind.
  const Shard& shard(BlockKind kind) const;

  /// Hands the hidden state from one kind of block to another: nothing where the sharding
  /// stays, the phase switch between sparse blocks, the boundary between full and sparse ones. x
  /// [elements of shard(from)], empty without payload; returns shard(to).
  std::vector<float> hand_over(BlockKind from, BlockKind to, int block, std::span<const float> x);

  /// The exchanges of one block alone, on whatever the buffers hold: x of shard(from) is handed
  /// over into y of shard(kind), then attention exchanges. For timing; `computes` must be false.
  void move(BlockKind from, BlockKind kind, int block, std::span<const float> x,
            std::span<float> y);

  /// Inputs of one block besides the hidden state; empty without payload.
  struct Conditioning {
    const DitBlockWeights<float>* weights = nullptr;
    std::span<const float> text;        ///< [text_rows, dim]
    std::span<const float> modulation;  ///< [6, dim]
  };

  /// Runs block number `block` of kind `kind`, whose input lies in shard(kind).
  std::vector<float> forward(BlockKind kind, int block, const Conditioning& conditioning,
                             std::span<const float> x);
  /// From the gradient of the output of that block to all gradients.
  DitBlockGradients<float> backward(BlockKind kind, int block, const Conditioning& conditioning,
                                    std::span<const float> dy);
  /// Drops what block number `block` keeps for its backward pass.
  void forget(int block);

 private:
  struct BlockState {
    std::vector<float> x;
    DitBlockActivations<float> activations;
    std::shared_ptr<SharedAttention> attention;
    std::shared_ptr<MegatronLayers> megatron;
  };

  BlockState& state_of(BlockKind kind, int block);
  StepContext context(int block) const { return {wire_, block, threads_, computes_}; }
  bool moves_only() const { return !communicator_.carries_payload() || !computes_; }
  bool hands_over(BlockKind from, BlockKind to) const {
    return from != to && plan_.holds_subsequences();
  }
  void hand_over(BlockKind from, BlockKind to, int block, std::span<const float> x,
                 std::span<float> y);
  const Redistribution& redistribution(BlockKind from, BlockKind to);
  void gather_and_keep(BlockKind from, BlockKind to, const StepName& name, std::span<const float> x,
                       std::span<float> y);
  void record_token_work(BlockKind kind, int block, bool before_attention);

  const ParallelPlan& plan_;
  Communicator& communicator_;
  Wire wire_;
  int threads_;
  bool computes_;
  std::unique_ptr<Communicator> phase_group_;  ///< ranks that differ in their sub-sequences only
  std::array<std::vector<TokenPosition>, 3> positions_;
  /// By BlockKind, made when first needed.
  std::array<std::shared_ptr<AttentionPlan>, 3> attention_plans_;
  std::array<std::shared_ptr<const MegatronPlan>, 3> megatron_plans_;
  std::map<std::pair<BlockKind, BlockKind>, Redistribution> hand_overs_;
  std::vector<BlockState> blocks_;
};

}  // namespace ospsim
