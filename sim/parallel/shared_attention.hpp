#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "sim/parallel/redistribution.hpp"

namespace ospsim {

/// How one rank takes part in the exchanges of a block.
struct StepContext {
  Wire wire;
  int block = 0;
  int threads = 1;
  bool computes =
      true;  ///< false: what is exchanged is not attended to, for timing exchanges alone
};

/// Who exchanges what with whom for the attention of one kind of block, as one rank sees it.
struct AttentionPlan {
  std::unique_ptr<Communicator> ulysses, ring;
  Range own_heads;
  std::int64_t head_dim = 0;
  std::optional<Redistribution> to_heads, from_heads;  ///< with more than one ulysses rank
  std::vector<std::int64_t> rows_at;                   ///< gathered rows of each ring rank
  std::vector<std::vector<AttentionGroup>> groups;     ///< own queries, keys of each ring rank

  /// `hidden` is the sharding of the hidden state over all ranks, `communicator` that of all
  /// ranks; `ulysses_ranks` and `ring_ranks` are numbered as Parallelism says.
  AttentionPlan(const RowNumbers& numbers, BlockKind kind, const Sharding& hidden,
                std::int64_t heads, std::int64_t head_width, int ulysses_ranks, int ring_ranks,
                Communicator& communicator);

  /// Whether this rank exchanges nothing.
  bool is_alone() const { return !to_heads && ring->size() == 1; }
  /// Elements of K, and of V, that a ring rank starts with.
  std::int64_t elements_of(int ring_rank) const;
};

/// Attention over rows that several ranks hold. Ulysses ranks swap rows for heads before and swap
/// back after; ring ranks then pass their keys and values round, and each query's partial results
/// are joined through their log-sum-exp. Either group may be this rank alone. Only the summation
/// over ring steps differs from what one rank computes.
class SharedAttention {
 public:
  explicit SharedAttention(std::shared_ptr<AttentionPlan> plan) : plan_(std::move(plan)) {}

  /// q, k, v, o [own rows, heads * head_dim]; all empty without payload. Keeps what `backward`
  /// needs.
  void forward(const StepContext& context, std::span<const float> q, std::span<const float> k,
               std::span<const float> v, std::span<float> o);
  void backward(const StepContext& context, std::span<const float> d_o, std::span<float> dq,
                std::span<float> dk, std::span<float> dv);

 private:
  using Array = std::vector<float>;

  void to_heads(const StepContext& context, const char* label, std::span<const float> x,
                std::span<float> y);
  void from_heads(const StepContext& context, const char* label, std::span<const float> x,
                  std::span<float> y);
  void attend_ring(const StepContext& context);
  void join(Array& partial, const Array& partial_lse);
  HeadTensor<const float> heads_of(const float* data, std::int64_t rows) const;
  HeadTensor<float> heads_of(float* data, std::int64_t rows) const;
  void record_attention(const StepContext& context, int ring_rank, bool backward);

  std::shared_ptr<AttentionPlan> plan_;
  Array q_, kv_, o_, lse_;  ///< own heads of gathered rows; kv_ is K, then V
};

}  // namespace ospsim
