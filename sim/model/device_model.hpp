#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <numeric>
#include <string>
#include <vector>

#include "kernels_ref/block/device_forward.hpp"
#include "kernels_ref/errors.hpp"
#include "sim/model/model.hpp"

/// A model's stack of blocks on one device, at its real size: random weights, random input. `On`
/// starts operations (block/device_forward.hpp) and has memory:
///     On::Array<T>                   owns device memory; data()
///     on.array<T>(size)              of zero bytes
///     on.upload(std::span<const T>)  an Array<T>
/// Patch, text and time embeddings and the head are left out, as they are in forward_flops.
namespace ospsim {

/// The weights of every block, normal numbers of deviation 1 / sqrt(in) in bf16, norm weights
/// around 1, modulation of deviation 0.3. The same for the same seed on every machine.
template <class On>
class DeviceModelWeights {
 public:
  DeviceModelWeights(On& on, const Model& model, std::uint64_t seed) : on_(on), seed_(seed) {
    const std::int64_t dim = model.dim(), ffn_dim = model.ffn_dim;
    for (std::int64_t layer = 0; layer < model.layers; ++layer)
      blocks_.push_back({attention(dim), attention(dim), vector(dim, 1, 0.1f), vector(dim, 0, 0.1f),
                         linear(dim, ffn_dim), linear(ffn_dim, dim), vector(6 * dim, 0, 0.3f)});
  }
  DeviceModelWeights(const DeviceModelWeights&) = delete;
  DeviceModelWeights& operator=(const DeviceModelWeights&) = delete;

  const DeviceBlockWeights& block(std::int64_t layer) const { return blocks_[index(layer)]; }

  /// Passes every matrix through HiF8, in place, each with its own scale.
  void quantize() {
    for (auto& matrix : matrices_)
      on_.quantize(Work::quantize, matrix.array.data(), matrix.array.data(), matrix.size);
  }

 private:
  DeviceLinear linear(std::int64_t in, std::int64_t out) {
    const float deviation = 1 / std::sqrt(static_cast<float>(in));
    return {filled(matrices_, in * out, deviation), filled(biases_, out, 0.1f)};
  }
  DeviceAttentionWeights attention(std::int64_t dim) {
    return {linear(dim, dim), linear(dim, dim),     linear(dim, dim),
            linear(dim, dim), vector(dim, 1, 0.1f), vector(dim, 1, 0.1f)};
  }
  struct Filled {
    typename On::template Array<Bfloat16> array;
    std::int64_t size;
  };
  const Bfloat16* filled(std::deque<Filled>& to, std::int64_t size, float deviation) {
    to.push_back({on_.template array<Bfloat16>(size), size});
    on_.launch(Work::norm, FillNormal{to.back().array.data(), size, deviation, 0, ++seed_});
    return to.back().array.data();
  }
  const float* vector(std::int64_t size, float mean, float deviation) {
    std::vector<float> values(index(size));
    ++seed_;
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = mean + deviation * FillNormal::number(seed_, i);
    vectors_.push_back(on_.upload(std::span<const float>(values)));
    return vectors_.back().data();
  }

  On& on_;
  std::uint64_t seed_;
  std::deque<Filled> matrices_, biases_;
  std::deque<typename On::template Array<float>> vectors_;
  std::deque<DeviceBlockWeights> blocks_;
};

/// How a model runs on a device.
struct DeviceModelOptions {
  PaddingRows padding = PaddingRows::kept;
  /// Rows stay in the order of the grid, without padding, and attention finds its sub-sequences
  /// there. On one device.
  bool in_place = false;
  ForwardChoices choices;
  /// Of how many ranks this is one, in the paper's split: Ulysses in full blocks; in sparse ones as
  /// much SSP as divides the sub-sequences, and Ulysses for the rest (section 4.2.3). What other
  /// ranks would send is not there: with more than one, times mean something and numbers do not.
  std::int64_t ranks = 1;
};

template <class On>
class DeviceModel {
 public:
  template <class T>
  using Array = typename On::template Array<T>;

  /// `weights` must live on. Throws InputError where the ranks do not divide what they share, for
  /// attention in place on more than one, and for models wider than block_kernels::max_dim.
  DeviceModel(On& on, const Model& model, const DeviceModelWeights<On>& weights, const Grid& grid,
              const DeviceModelOptions& options, std::uint64_t seed = 1)
      : on_(on),
        shape_{.dim = model.dim(),
               .heads = model.heads,
               .ffn_dim = model.ffn_dim,
               .text_rows = model.text_tokens},
        choices_(options.choices) {
    if (model.dim() > block_kernels::max_dim)
      throw InputError("devices take models of at most " + std::to_string(block_kernels::max_dim) +
                       " channels");
    if (options.in_place && options.ranks > 1)
      throw InputError("attention in place is for one rank");
    const RopeTables tables = rope_tables(grid, model.head_dim);
    for (const auto& turns : tables.turns)
      turns_.push_back(on_.upload(std::span<const Turn>(turns)));

    const BlockKind kinds[] = {BlockKind::full, BlockKind::token, BlockKind::group};
    std::vector<RowOrder> orders;
    for (const BlockKind kind : kinds) {
      const Layout layout = block_layout(model, grid, kind);
      const bool sparse_in_place = options.in_place && layout.subsequences() > 1;
      RowOrder order = sparse_in_place ? orders.front() : row_order(layout, options.padding);
      const std::int64_t ssp = std::gcd(options.ranks, order.subsequences());
      if (ssp > 1) order = part_of(order, 0, order.subsequences() / ssp);
      add_sequence(order, grid, options.ranks / ssp, tables);
      if (sparse_in_place) sequences_.back().in_place = layout;
      orders.push_back(std::move(order));
    }

    std::int64_t rows = 0, copies = 1;
    for (const auto& sequence : sequences_) {
      rows = std::max(rows, sequence.rows);
      copies = std::max(copies, sequence.subsequences());
    }
    std::size_t before = 0;
    const std::int32_t* maps[3][3] = {};
    const auto schedule = block_schedule(model);
    for (std::int64_t layer = 0; layer < model.layers; ++layer) {
      const auto kind = static_cast<std::size_t>(schedule[index(layer)]);
      const std::int32_t*& source = maps[before][kind];
      if (kind != before && !options.in_place && source == nullptr)
        source =
            keep(options.ranks == 1 ? row_map(orders[before], orders[kind])
                                    : some_map(sequences_[before].rows, sequences_[kind].rows));
      blocks_.push_back({&weights.block(layer), &sequences_[kind], source});
      before = kind;
    }
    allocate(rows, copies, seed);
  }
  DeviceModel(const DeviceModel&) = delete;
  DeviceModel& operator=(const DeviceModel&) = delete;

  /// Rows of a block; those of the first are the rows of the input and, as the last has as many, of
  /// the result.
  std::int64_t rows(std::int64_t layer = 0) const { return blocks_[index(layer)].sequence->rows; }
  Bfloat16* input() const { return buffers_.x; }
  const Bfloat16* text() const { return buffers_.text; }
  /// Draws the input again.
  void reset() { on_.launch(Work::norm, FillNormal{buffers_.x, rows() * shape_.dim, 1, 0, seed_}); }
  /// Blocks that do the same: one of them, and how many there are.
  struct Alike {
    std::int64_t layer = 0, count = 0;
  };
  std::vector<Alike> alike_blocks() const {
    std::vector<Alike> alike;
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      const auto same = [&](const Alike& one) {
        const DeviceBlock& other = blocks_[index(one.layer)];
        return other.sequence == blocks_[b].sequence && other.source == blocks_[b].source;
      };
      const auto found = std::find_if(alike.begin(), alike.end(), same);
      if (found != alike.end())
        ++found->count;
      else
        alike.push_back({static_cast<std::int64_t>(b), 1});
    }
    return alike;
  }
  /// Starts one block over input(), whatever lies there; returns where its result will lie.
  Bfloat16* block_forward(std::int64_t layer) {
    return DeviceForward<On>(on_, shape_, choices_, buffers_).run({blocks_[index(layer)]});
  }

  /// Starts a forward pass over input(); returns where its result will lie.
  Bfloat16* forward() { return DeviceForward<On>(on_, shape_, choices_, buffers_).run(blocks_); }

 private:
  static std::vector<std::int32_t> some_map(std::int64_t from, std::int64_t to) {
    std::vector<std::int32_t> map;
    for (std::int64_t row = 0; row < to; ++row)
      map.push_back(static_cast<std::int32_t>(row % from));
    return map;
  }
  const std::int32_t* keep(const std::vector<std::int32_t>& map) {
    maps_.push_back(on_.upload(std::span<const std::int32_t>(map)));
    return maps_.back().data();
  }
  void add_sequence(const RowOrder& order, const Grid& grid, std::int64_t ulysses,
                    const RopeTables& tables) {
    if (shape_.heads % ulysses != 0)
      throw InputError(std::to_string(shape_.heads) + " heads cannot be shared out evenly over " +
                       std::to_string(ulysses) + " ranks");
    DeviceSequence sequence = device_sequence(order, ulysses);
    positions_.push_back(
        on_.upload(std::span<const DevicePosition>(device_positions(order, grid))));
    sequence.positions = positions_.back().data();
    for (std::size_t a = 0; a < 3; ++a) sequence.axes[a] = {turns_[a].data(), tables.pairs[a]};
    if (ulysses > 1) {
      sequence.split_heads = keep(split_heads_map(sequence.rows, ulysses));
      sequence.merge_heads = keep(merge_heads_map(sequence.rows, ulysses));
    }
    sequences_.push_back(std::move(sequence));
  }
  void allocate(std::int64_t rows, std::int64_t copies, std::uint64_t seed) {
    const auto array = [&](std::int64_t size) {
      arrays_.push_back(on_.template array<Bfloat16>(size));
      return arrays_.back().data();
    };
    const std::int64_t wide = rows * shape_.dim, text = copies * shape_.text_rows * shape_.dim;
    Bfloat16 *const one_text = array(shape_.text_rows * shape_.dim), *const all_text = array(text);
    buffers_ = {.x = array(wide),
                .other_x = array(wide),
                .normed = array(wide),
                .q = array(wide),
                .k = array(wide),
                .v = array(wide),
                .o = array(wide),
                .layer = array(wide),
                .hidden = array(rows * shape_.ffn_dim),
                .text = all_text,
                .text_k = array(text),
                .text_v = array(text),
                .text_quantized = array(choices_.hif8 ? text : 0)};
    seed_ = seed;
    reset();
    on_.launch(Work::norm, FillNormal{one_text, shape_.text_rows * shape_.dim, 1, 0, seed + 1});
    const auto row_bytes = static_cast<std::int32_t>(shape_.dim * 2);
    on_.launch(Work::rearrange,
               GatherRows{reinterpret_cast<const unsigned char*>(one_text),
                          reinterpret_cast<unsigned char*>(all_text),
                          keep(some_map(shape_.text_rows, copies * shape_.text_rows)),
                          copies * shape_.text_rows, row_bytes});
  }

  On& on_;
  DeviceForwardShape shape_;
  ForwardChoices choices_;
  ForwardBuffers buffers_;
  std::uint64_t seed_ = 0;
  std::deque<DeviceSequence> sequences_;
  std::vector<DeviceBlock> blocks_;
  std::deque<Array<Turn>> turns_;
  std::deque<Array<std::int32_t>> maps_;
  std::deque<Array<DevicePosition>> positions_;
  std::deque<Array<Bfloat16>> arrays_;
};

}  // namespace ospsim
