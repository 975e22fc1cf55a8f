#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "kernels_ref/attention/batched.hpp"
#include "kernels_ref/block/block_kernels.hpp"
#include "kernels_ref/block/product.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/rearrange_kernels.hpp"
#include "kernels_ref/layout/row_order.hpp"

/// The forward pass of a stack of DiT blocks on a device, in bf16, as a sequence of operations that
/// are started and not waited for. What starts them is a parameter, `On`:
///     on.launch(Work, kernel)                         a kernel of cuda/lane.hpp
///     on.linear(Work, Product, x, weight, bias, y)    a product
///     on.attention(Work, BatchedAttention, q, k, v, o)
///     on.attention_in_place(Work, layout, heads, head_dim, q, k, v, o)   rows are the grid's
///     tokens on.quantize(Work, from, to, elements)           to = from through HiF8 and back
/// A CUDA stream does (block/cuda_executor.cuh), and so do the tests, on the host: what is checked
/// there is the order of the operations, their shapes and every address, which is all there is to
/// it.
namespace ospsim {

/// What an operation is part of; times are told apart by it.
enum class Work : std::uint8_t {
  rearrange,
  norm,
  projection,  ///< q, k, v and o of self-attention
  self_attention,
  text,             ///< the text's keys and values
  cross_attention,  ///< its q and o, and the attention itself
  feed_forward,
  quantize,
};
inline constexpr int work_kinds = 8;
const char* to_string(Work work);

struct DeviceLinear {
  const Bfloat16* weight = nullptr;  ///< [out, in]
  const Bfloat16* bias = nullptr;    ///< [out]
};

struct DeviceAttentionWeights {
  DeviceLinear q, k, v, o;
  const float *q_norm = nullptr, *k_norm = nullptr;  ///< [dim]
};

/// The weights of one block where they lie on the device, every vector of float 16-byte aligned.
struct DeviceBlockWeights {
  DeviceAttentionWeights self_attention, cross_attention;
  const float *cross_norm_weight = nullptr, *cross_norm_bias = nullptr;  ///< [dim]
  DeviceLinear ffn_up, ffn_down;
  /// [6, dim]: shift, scale, gate of self-attention, then of the FFN; the block's table and the
  /// time embedding already added.
  const float* modulation = nullptr;
};

/// The rows of one kind of block on one device.
struct DeviceSequence {
  std::int64_t rows = 0;  ///< of norms and linear layers
  /// Self-attention sees `ulysses` times these rows with a `ulysses`-th of the heads: what a rank
  /// holds between Ulysses' exchanges. 1 on one device.
  std::int64_t ulysses = 1;
  std::vector<EqualRun> runs;          ///< of self-attention, over rows * ulysses rows
  std::vector<std::int64_t> run_rows;  ///< where each run begins
  /// With rows in the order of the grid: the sub-sequences that self-attention stays in, where they
  /// lie. Instead of runs.
  std::optional<Layout> in_place;
  // On the device:
  const DevicePosition* positions = nullptr;  ///< [rows]
  AxisTurns axes[3] = {};
  /// [rows * ulysses] each, for pieces of a row's heads: what packs q, k and v for Ulysses'
  /// exchange, and what unpacks o after it. Null where ulysses is 1.
  const std::int32_t *split_heads = nullptr, *merge_heads = nullptr;

  std::int64_t subsequences() const {
    return runs.back().first_subsequence + runs.back().subsequences;
  }
};

/// Rows, runs and ulysses; positions and axes are device memory and the caller's. Throws InputError
/// unless `ulysses` divides what every sub-sequence occupies.
DeviceSequence device_sequence(const RowOrder& order, std::int64_t ulysses = 1);
/// Pieces of rows by rank, then row (as an all-to-all sends them), from rows whose pieces lie side
/// by side; and the inverse. [rows * ulysses].
std::vector<std::int32_t> split_heads_map(std::int64_t rows, std::int64_t ulysses);
std::vector<std::int32_t> merge_heads_map(std::int64_t rows, std::int64_t ulysses);
/// [rows]; padding stands at the origin.
std::vector<DevicePosition> device_positions(const RowOrder& order, const Grid& grid);

struct DeviceBlock {
  const DeviceBlockWeights* weights = nullptr;
  const DeviceSequence* sequence = nullptr;
  /// For each row the row of the block before it (of the input, for the first), -1 for padding;
  /// null where the order stays.
  const std::int32_t* source = nullptr;
};

struct DeviceForwardShape {
  std::int64_t dim = 0, heads = 0, ffn_dim = 0, text_rows = 0;
  std::int64_t head_dim() const { return dim / heads; }
};

/// What a forward pass does otherwise than the paper's code.
struct ForwardChoices {
  /// The text's keys and values once, instead of once for every sub-sequence.
  bool text_once = false;
  /// Rows move to the next block's order where the residual is added and normed, not in a pass of
  /// their own.
  bool rearrange_with_norm = false;
  /// The inputs of every linear layer and of self- and cross-attention pass through HiF8, each
  /// tensor with its own scale (paper section 3.5); what several layers read does so once.
  bool hif8 = false;
};

/// Device memory that a pass works in. [rows, ..] counts the rows of the longest sequence.
struct ForwardBuffers {
  Bfloat16* x = nullptr;        ///< [rows, dim], in and out
  Bfloat16* other_x = nullptr;  ///< [rows, dim]
  Bfloat16* normed = nullptr;   ///< [rows, dim]
  Bfloat16 *q = nullptr, *k = nullptr, *v = nullptr,
           *o = nullptr;                          ///< [rows, dim]; o starts as
                                                  ///< zeros: padding is not written
  Bfloat16* layer = nullptr;                      ///< [rows, dim], what a layer adds
  Bfloat16* hidden = nullptr;                     ///< [rows, ffn_dim]
  const Bfloat16* text = nullptr;                 ///< [subsequences * text_rows, dim], repeated
  Bfloat16 *text_k = nullptr, *text_v = nullptr;  ///< the same
  Bfloat16* text_quantized = nullptr;             ///< the same; with hif8 only
};

/// Runs `blocks` over buffers.x and returns where the result lies, x or other_x, in the order of
/// the last block's rows.
template <class On>
class DeviceForward {
 public:
  DeviceForward(On& on, const DeviceForwardShape& shape, ForwardChoices choices,
                const ForwardBuffers& buffers)
      : on_(on), shape_(shape), choices_(choices), b_(buffers) {}

  Bfloat16* run(const std::vector<DeviceBlock>& blocks) {
    pending_gate_ = nullptr;
    pending_ = false;
    for (const auto& block : blocks) {
      begin(block);
      self_attention(block);
      cross_attention(block);
      feed_forward(block);
    }
    if (pending_) finish(blocks.back().sequence->rows);
    return b_.x;
  }

 private:
  /// The next norm, of the sum of x and what the last layer made.
  ResidualNorm residual_norm(std::int64_t rows, const float* scale, const float* shift) const {
    return {.rows = rows,
            .dim = static_cast<std::int32_t>(shape_.dim),
            .x = b_.x,
            .residual = pending_ ? b_.layer : nullptr,
            .gate = pending_gate_,
            .sum = pending_ ? b_.x : nullptr,
            .normed = b_.normed,
            .scale = scale,
            .shift = shift};
  }
  void norm(std::int64_t rows, const float* scale, const float* shift, float scale_offset) {
    ResidualNorm kernel = residual_norm(rows, scale, shift);
    kernel.scale_offset = scale_offset;
    on_.launch(Work::norm, kernel);
    pending_ = false;
    pending_gate_ = nullptr;
  }
  /// Adds what is pending to x, without a norm.
  void finish(std::int64_t rows) {
    ResidualNorm kernel = residual_norm(rows, nullptr, nullptr);
    kernel.normed = nullptr;
    on_.launch(Work::norm, kernel);
    pending_ = false;
    pending_gate_ = nullptr;
  }
  const float* modulation(const DeviceBlock& block, int which) const {
    return block.weights->modulation + which * shape_.dim;
  }

  /// x in the block's order, and its first norm.
  void begin(const DeviceBlock& block) {
    const std::int64_t rows = block.sequence->rows;
    const float *const shift = modulation(block, 0), *const scale = modulation(block, 1);
    if (block.source == nullptr) {
      norm(rows, scale, shift, 1);
      rows_before_ = rows;
      return;
    }
    if (choices_.rearrange_with_norm) {
      ResidualNorm kernel = residual_norm(rows, scale, shift);
      kernel.source = block.source;
      kernel.sum = b_.other_x;
      on_.launch(Work::norm, kernel);
      pending_ = false;
      pending_gate_ = nullptr;
      std::swap(b_.x, b_.other_x);
    } else {
      if (pending_) finish(rows_before_);
      const auto row_bytes = static_cast<std::int32_t>(shape_.dim * 2);
      on_.launch(Work::rearrange, GatherRows{reinterpret_cast<const unsigned char*>(b_.x),
                                             reinterpret_cast<unsigned char*>(b_.other_x),
                                             block.source, rows, row_bytes});
      std::swap(b_.x, b_.other_x);
      norm(rows, scale, shift, 1);
    }
    rows_before_ = rows;
  }

  void linear(Work work, std::int64_t rows, std::int64_t in, std::int64_t out, const Bfloat16* x,
              const DeviceLinear& weights, Bfloat16* y, bool gelu = false) {
    on_.linear(work,
               Product{.shape = {rows, in, out}, .bias = weights.bias != nullptr, .gelu = gelu}, x,
               weights.weight, weights.bias, y);
  }
  void quantize(Bfloat16* x, std::int64_t elements) {
    if (choices_.hif8) on_.quantize(Work::quantize, x, x, elements);
  }
  void move_heads(const DeviceSequence& sequence, const std::int32_t* source, Bfloat16*& tensor) {
    if (source == nullptr) return;
    const auto piece_bytes = static_cast<std::int32_t>(shape_.dim / sequence.ulysses * 2);
    on_.launch(Work::rearrange, GatherRows{reinterpret_cast<const unsigned char*>(tensor),
                                           reinterpret_cast<unsigned char*>(b_.layer), source,
                                           sequence.rows * sequence.ulysses, piece_bytes});
    std::swap(tensor, b_.layer);
  }
  void rms_norm(std::int64_t rows, Bfloat16* x, const float* weight,
                const DeviceSequence* rope = nullptr) {
    RmsNormRope kernel{.rows = rows,
                       .dim = static_cast<std::int32_t>(shape_.dim),
                       .head_dim = static_cast<std::int32_t>(shape_.head_dim()),
                       .x = x,
                       .weight = weight};
    if (rope != nullptr) {
      kernel.positions = rope->positions;
      for (int a = 0; a < 3; ++a) kernel.axes[a] = rope->axes[a];
    }
    on_.launch(Work::norm, kernel);
  }

  void self_attention(const DeviceBlock& block) {
    const auto& weights = block.weights->self_attention;
    const DeviceSequence& sequence = *block.sequence;
    const std::int64_t rows = sequence.rows, dim = shape_.dim;
    quantize(b_.normed, rows * dim);
    linear(Work::projection, rows, dim, dim, b_.normed, weights.q, b_.q);
    linear(Work::projection, rows, dim, dim, b_.normed, weights.k, b_.k);
    linear(Work::projection, rows, dim, dim, b_.normed, weights.v, b_.v);
    rms_norm(rows, b_.q, weights.q_norm, &sequence);
    rms_norm(rows, b_.k, weights.k_norm, &sequence);

    for (auto** tensor : {&b_.q, &b_.k, &b_.v}) {
      move_heads(sequence, sequence.split_heads, *tensor);
      quantize(*tensor, rows * dim);
    }
    if (sequence.in_place)
      on_.attention_in_place(Work::self_attention, *sequence.in_place, shape_.heads,
                             shape_.head_dim(), b_.q, b_.k, b_.v, b_.o);
    else
      attend_in_runs(sequence);
    move_heads(sequence, sequence.merge_heads, b_.o);
    quantize(b_.o, rows * dim);
    linear(Work::projection, rows, dim, dim, b_.o, weights.o, b_.layer);
    pending_ = true;
    pending_gate_ = modulation(block, 2);
  }

  void attend_in_runs(const DeviceSequence& sequence) {
    const std::int64_t row_stride = shape_.dim / sequence.ulysses;
    for (std::size_t r = 0; r < sequence.runs.size(); ++r) {
      const EqualRun& run = sequence.runs[r];
      const BatchStrides strides{run.spacing * row_stride, row_stride};
      const std::int64_t at = sequence.run_rows[r] * row_stride;
      on_.attention(Work::self_attention,
                    BatchedAttention{.batches = run.subsequences,
                                     .heads = shape_.heads / sequence.ulysses,
                                     .head_dim = shape_.head_dim(),
                                     .query_length = run.length,
                                     .key_length = run.length,
                                     .q = strides,
                                     .k = strides,
                                     .v = strides,
                                     .o = strides},
                    b_.q + at, b_.k + at, b_.v + at, b_.o + at);
    }
  }

  void cross_attention(const DeviceBlock& block) {
    const auto& weights = block.weights->cross_attention;
    const std::int64_t rows = block.sequence->rows, dim = shape_.dim;
    norm(rows, block.weights->cross_norm_weight, block.weights->cross_norm_bias, 0);
    quantize(b_.normed, rows * dim);
    linear(Work::cross_attention, rows, dim, dim, b_.normed, weights.q, b_.q);
    rms_norm(rows, b_.q, weights.q_norm);
    quantize(b_.q, rows * dim);

    const std::int64_t copies = choices_.text_once ? 1 : block.sequence->subsequences();
    const std::int64_t text_rows = copies * shape_.text_rows;
    const Bfloat16* text = b_.text;
    if (choices_.hif8) {
      on_.quantize(Work::quantize, b_.text, b_.text_quantized, text_rows * dim);
      text = b_.text_quantized;
    }
    linear(Work::text, text_rows, dim, dim, text, weights.k, b_.text_k);
    linear(Work::text, text_rows, dim, dim, text, weights.v, b_.text_v);
    rms_norm(text_rows, b_.text_k, weights.k_norm);
    quantize(b_.text_k, text_rows * dim);
    quantize(b_.text_v, text_rows * dim);
    attend_to_text(*block.sequence, choices_.text_once);
    quantize(b_.k, rows * dim);
    linear(Work::cross_attention, rows, dim, dim, b_.k, weights.o, b_.layer);
    pending_ = true;
    pending_gate_ = nullptr;
  }

  /// From q to k, which nobody reads any more. Rows of padding attend too, as in the paper's code.
  void attend_to_text(const DeviceSequence& sequence, bool once) {
    const std::int64_t dim = shape_.dim, text = shape_.text_rows;
    const auto attend = [&](std::int64_t batches, std::int64_t queries, std::int64_t first_row,
                            std::int64_t first_copy) {
      const BatchStrides rows{queries * dim, dim}, keys{text * dim, dim};
      const std::int64_t key = first_copy * text * dim, at = first_row * dim;
      on_.attention(Work::cross_attention,
                    BatchedAttention{.batches = batches,
                                     .heads = shape_.heads,
                                     .head_dim = shape_.head_dim(),
                                     .query_length = queries,
                                     .key_length = text,
                                     .q = rows,
                                     .k = keys,
                                     .v = keys,
                                     .o = rows},
                    b_.q + at, b_.text_k + key, b_.text_v + key, b_.k + at);
    };
    if (once) return attend(1, sequence.rows, 0, 0);
    for (std::size_t r = 0; r < sequence.runs.size(); ++r) {
      const EqualRun& run = sequence.runs[r];
      attend(run.subsequences, run.spacing / sequence.ulysses,
             sequence.run_rows[r] / sequence.ulysses, run.first_subsequence);
    }
  }

  void feed_forward(const DeviceBlock& block) {
    const std::int64_t rows = block.sequence->rows, dim = shape_.dim;
    norm(rows, modulation(block, 4), modulation(block, 3), 1);
    quantize(b_.normed, rows * dim);
    linear(Work::feed_forward, rows, dim, shape_.ffn_dim, b_.normed, block.weights->ffn_up,
           b_.hidden, true);
    quantize(b_.hidden, rows * shape_.ffn_dim);
    linear(Work::feed_forward, rows, shape_.ffn_dim, dim, b_.hidden, block.weights->ffn_down,
           b_.layer);
    pending_ = true;
    pending_gate_ = modulation(block, 5);
  }

  On& on_;
  DeviceForwardShape shape_;
  ForwardChoices choices_;
  ForwardBuffers b_;
  bool pending_ = false;                 ///< whether `layer` is still to be added to x,
  const float* pending_gate_ = nullptr;  ///< and with which gate
  std::int64_t rows_before_ = 0;
};

}  // namespace ospsim
