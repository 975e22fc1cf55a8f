#pragma once

#include <utility>
#include <vector>

#include "kernels_ref/block/dit_block.hpp"
#include "sim/model/device_model.hpp"

/// What a DeviceModel's result is held against: the same blocks in double precision by the naive
/// back end, in the order of the grid. For small models.
namespace ospsim {

/// The weights of a block. read(from, size) fetches numbers from the device as doubles, bf16 and
/// float32.
template <class Read>
DitBlockWeights<double> naive_weights(const Model& model, const DeviceBlockWeights& from,
                                      const Read& read) {
  const std::int64_t dim = model.dim(), ffn_dim = model.ffn_dim;
  const auto linear = [&](const DeviceLinear& w, std::int64_t in, std::int64_t out) {
    return LinearWeights<double>{read(w.weight, in * out), read(w.bias, out)};
  };
  const auto attention = [&](const DeviceAttentionWeights& w) {
    return AttentionWeights<double>{linear(w.q, dim, dim), linear(w.k, dim, dim),
                                    linear(w.v, dim, dim), linear(w.o, dim, dim),
                                    read(w.q_norm, dim),   read(w.k_norm, dim)};
  };
  return {attention(from.self_attention),    attention(from.cross_attention),
          read(from.cross_norm_weight, dim), read(from.cross_norm_bias, dim),
          linear(from.ffn_up, dim, ffn_dim), linear(from.ffn_down, ffn_dim, dim)};
}

/// The forward pass over x [tokens, dim] and text [text_tokens, dim].
template <class On, class Read>
std::vector<double> naive_forward(const Model& model, const Grid& grid,
                                  const DeviceModelWeights<On>& weights, std::vector<double> x,
                                  const std::vector<double>& text, const Read& read) {
  const DitBlockShape shape{grid.tokens(), model.text_tokens, model.dim(), model.heads,
                            model.ffn_dim};
  const auto positions = positions_in_place(grid);
  const auto schedule = block_schedule(model);
  for (std::int64_t layer = 0; layer < model.layers; ++layer) {
    const DeviceBlockWeights& block = weights.block(layer);
    const auto modulation = read(block.modulation, 6 * model.dim());
    const auto groups = groups_in_place(block_layout(model, grid, schedule[index(layer)]));
    std::vector<double> y(x.size());
    DitBlockActivations<double> activations;
    dit_block_forward<Backend::naive>(shape, naive_weights(model, block, read),
                                      {x, text, modulation, groups, positions}, y, activations);
    x = std::move(y);
  }
  return x;
}

}  // namespace ospsim
