#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels_ref/block/dit_block.hpp"
#include "kernels_ref/layout/layout.hpp"

namespace ospsim {

/// The shape of a video DiT and which of its blocks are sparse (paper section 4.1; "dual end": the
/// first and the last `full_blocks / 2` blocks attend fully, the ones between alternate between the
/// token phase and the group phase of `pattern`).
struct Model {
  std::string name;
  std::int64_t layers = 0, heads = 0, head_dim = 0, ffn_dim = 0, text_tokens = 0;
  std::int64_t full_blocks = 0;  ///< all of them in a dense model
  Pattern pattern;               ///< of the sparse blocks
  std::string source;

  std::int64_t dim() const { return heads * head_dim; }
  std::int64_t sparse_blocks() const { return layers - full_blocks; }
};

/// Of one video: 50 steps, each with and without the prompt (paper section 4.1).
inline constexpr int forwards_per_video = 100;

/// A model of `model_names()`. Throws InputError.
Model find_model(std::string_view name);
std::vector<std::string> model_names();

/// Whether the tokens of padding are computed: `valid` skips them in attention only
/// (variable-length attention, as the paper's GPU path), `padded` attends densely over the padded
/// grid (as its NPU path). Projections and FFN run on padded tokens either way, as the paper's code
/// does.
enum class PaddingWork { valid, padded };

enum class BlockKind { full, token, group };

/// The blocks of a model in order: full, token, group, token, ..., full.
std::vector<BlockKind> block_schedule(const Model& model);
/// Who attends to whom in a block.
Layout block_layout(const Model& model, const Grid& grid, BlockKind kind);

/// How often a sparse block computes the text's keys and values: once per sub-sequence, as the
/// paper's code does, or once.
enum class TextWork { per_subsequence, once };

/// The cost of one block's forward pass in bf16. A sparse block runs on the padded tokens.
DitBlockCost block_forward_cost(const Model& model, const Grid& grid, BlockKind kind,
                                PaddingWork padding, TextWork text = TextWork::per_subsequence);

/// Floating-point operations of the matrix products of one forward pass, over all blocks. Norms,
/// modulation, embeddings and the head are left out.
struct ForwardFlops {
  double self_attention = 0, all = 0;
};
ForwardFlops forward_flops(const Model& model, const Grid& grid, PaddingWork padding);

}  // namespace ospsim
