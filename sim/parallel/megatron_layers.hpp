#pragma once

#include <memory>
#include <vector>

#include "kernels_ref/block/dit_block.hpp"
#include "sim/parallel/redistribution.hpp"
#include "sim/parallel/shared_attention.hpp"

namespace ospsim {

/// What all blocks of a kind share: the rows of all ranks, in the order of the ranks.
struct MegatronPlan {
  std::vector<std::int64_t> rows_at;  ///< by rank
  std::int64_t all_rows = 0;
  std::vector<AttentionGroup> groups;
  std::vector<TokenPosition> positions;

  MegatronPlan(const RowNumbers& numbers, BlockKind kind, const Sharding& hidden);
};

/// Self-attention and FFN of a block as Megatron-LM's sequence parallelism runs them (arXiv
/// 2205.05198): the rows are all-gathered, each rank computes its heads (its columns of the FFN)
/// for all of them, and the partial outputs are reduce-scattered back to rows. Cross-attention,
/// norms and modulation stay on each rank's own rows.
///
/// Wan2.1 normalises q and k over all heads together, so the ranks also add up sums of squares: two
/// float32 a row, a reduce-scatter and an all-gather labelled "norm", in either direction.
///
/// `weights` are whole; a rank reads its rows and columns of them and writes the gradients of
/// those, and zeros elsewhere.
class MegatronLayers : public DitBlockLayers<float> {
 public:
  MegatronLayers(std::shared_ptr<const MegatronPlan> plan, const DitBlockShape& shape,
                 Communicator& communicator, StepContext context);

  std::vector<float> self_attention(const AttentionWeights<float>& weights,
                                    std::span<const float> x) override;
  std::vector<float> self_attention_backward(const AttentionWeights<float>& weights,
                                             std::span<const float> dy,
                                             AttentionWeights<float>& gradient) override;
  std::vector<float> feed_forward(const LinearWeights<float>& up, const LinearWeights<float>& down,
                                  std::span<const float> x) override;
  std::vector<float> feed_forward_backward(const LinearWeights<float>& up,
                                           const LinearWeights<float>& down,
                                           std::span<const float> dy,
                                           LinearWeights<float>& up_gradient,
                                           LinearWeights<float>& down_gradient) override;

 private:
  using Array = std::vector<float>;

  bool computes() const { return communicator_.carries_payload() && context_.computes; }
  Array gather(const char* label, std::span<const float> own);
  Array scatter_sum(const char* label, std::span<const float> partial);
  /// Sums over ranks of two numbers a row of all rows: [all rows, 2].
  Array sum_over_ranks(const Array& partial);
  /// 1 / sqrt(mean square + epsilon) of q (0) or k (1) in a row.
  float inverse_rms(std::int64_t row, int which) const;
  HeadTensor<float> heads_of(Array& x) const;
  void record(const char* label, Cost cost) {
    communicator_.record({label, context_.block, cost.flops, cost.bytes});
  }

  std::shared_ptr<const MegatronPlan> plan_;
  Communicator& communicator_;
  StepContext context_;
  DitBlockShape shape_;
  Range channels_, ffn_columns_;  ///< of this rank: its heads' channels, its FFN columns
  std::int64_t all_rows_ = 0;
  std::vector<std::int64_t> elements_, row_pairs_;  ///< by rank: its rows x dim, its rows x 2

  Array x_, q_linear_, k_linear_, q_, k_, v_, attended_, lse_, sums_of_squares_;
  Array ffn_x_, ffn_up_, ffn_gelu_;
};

}  // namespace ospsim
