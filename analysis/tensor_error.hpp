#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analysis/estimate.hpp"
#include "analysis/mask.hpp"
#include "kernels_ref/backend.hpp"

/// How far a sparse pattern is from full attention on real tensors: what of the softmax it keeps,
/// and the error of its output. Everything is summed in double over attention in the back end's
/// precision.
namespace ospsim {

/// q, k and v of a self-attention as attention sees them: normed, positions applied.
struct AttentionHeads {
  std::int64_t heads = 0, head_dim = 0;
  /// Writes one head of q, k and v, each [tokens, head_dim], contiguous, tokens in (t, y, x) order.
  /// May be called more than once for a head, from one thread.
  std::function<void(std::int64_t head, std::span<float> q, std::span<float> k, std::span<float> v)>
      fill;
};

struct TensorErrorOptions {
  /// Query tokens drawn without replacement, the same ones for all heads; 0 or at least the number
  /// of tokens: all of them, which is exact.
  std::int64_t queries = 1024;
  std::uint64_t seed = 1;  ///< of the draw
  /// The first so many heads go through two layers as well, for which the first layer is computed
  /// for every token; 0: none.
  std::int64_t two_layer_heads = 1;
  Backend backend = Backend::cpu;  ///< cpu or naive
  int threads = 0;                 ///< 0 means all cores; never changes a bit
};

/// One phase against full attention, o_full and o_phase being what a query gets. Standard errors
/// cover the draw of queries alone: heads and tensors are taken as given, and a token with all its
/// heads is one observation.
struct TensorPhaseError {
  Estimate recall;        ///< mean softmax mass of full attention inside the mask, 0..1
  Estimate output_error;  ///< sqrt(sum |o_phase - o_full|^2 / sum |o_full|^2)
  std::vector<double> head_recall, head_output_error;  ///< [heads]
};

/// Two attention layers with residuals and the same q and k: h1 = v + A_1(q, k, v) and h2 = h1 +
/// A_2(q, k, h1), where A_1 and A_2 are the token and the group phase (the same one twice for
/// patterns of one phase), against h2_full with full attention in both.
struct TwoLayerError {
  Estimate of_update;  ///< |h2 - h2_full| / |h2_full - v|: of what the two layers add
  Estimate of_output;  ///< |h2 - h2_full| / |h2_full|
};

struct PatternError {
  std::string name;
  std::vector<TensorPhaseError> phases;
  Estimate recall;        ///< mean over phases
  Estimate output_error;  ///< root mean square over phases
  std::vector<double> head_recall, head_output_error;
  std::optional<TwoLayerError> two_layers;
};

struct TensorErrors {
  std::int64_t tokens = 0, queries = 0, heads = 0, two_layer_heads = 0;
  /// Mean over queries and heads of exp(entropy of the query's row of full attention): 1 where each
  /// query attends to one token, `tokens` where to all alike.
  Estimate effective_tokens;
  std::vector<double> head_effective_tokens;  ///< [heads]
  std::vector<PatternError> patterns;         ///< in the order given
};

/// Sampled, so that the cost of one head is queries / tokens of full attention's and of each
/// phase's; two layers cost full attention of a head once and each token phase once. One head is in
/// memory at a time. `advance` hears of the fraction of the work done, 0..1, ascending.
///
/// Errors are 0 and recall is 1, exactly, for a mask that attends to all. Throws InputError where a
/// mask's grid is not `grid`, a pattern has no phase or more than two, there is no head, the back
/// end is neither cpu nor naive, or |q| |k| / sqrt(head_dim) may exceed 1e5.
TensorErrors tensor_errors(const Grid& grid, std::span<const MaskedPattern> patterns,
                           const AttentionHeads& source, const TensorErrorOptions& options,
                           const std::function<void(double fraction)>& advance = {});

}  // namespace ospsim
