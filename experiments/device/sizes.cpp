#include "experiments/device/sizes.hpp"

namespace ospsim {

Model RecordSizes::model(const char* name) const {
  Model model = find_model(name);
  const bool dense = model.full_blocks == model.layers;
  model.layers = layers;
  model.full_blocks = dense ? layers : full_blocks;
  model.heads = heads;
  model.head_dim = head_dim;
  model.ffn_dim = ffn_dim;
  model.text_tokens = text_tokens;
  return model;
}

RecordSizes paper_sizes() {
  const Model model = find_model("osp-next-14b");
  return {.padded = {21, 45, 80},
          .unpadded = {21, 48, 80},
          .layers = model.layers,
          .full_blocks = model.full_blocks,
          .heads = model.heads,
          .ffn_dim = model.ffn_dim,
          .text_tokens = model.text_tokens,
          .copy_bytes = std::int64_t{2} << 30,
          .product_size = 8192,
          .codec_elements = std::int64_t{80640} * 5120,
          .codec_period = std::int64_t{1} << 22,
          .float_patterns = std::int64_t{1} << 32,
          .kernel_repetitions = 11,
          .forward_repetitions = 3,
          .warm_up_ms = 50,
          .sustained_ms = 1000,
          .quick = false};
}

RecordSizes quick_sizes() {
  return {.padded = {2, 5, 8},
          .unpadded = {2, 8, 8},
          .layers = 4,
          .full_blocks = 2,
          .heads = 8,
          .ffn_dim = 512,
          .text_tokens = 24,
          .copy_bytes = 1 << 22,
          .product_size = 256,
          .codec_elements = 12345,
          .codec_period = 4096,
          .float_patterns = 1 << 20,
          .kernel_repetitions = 2,
          .forward_repetitions = 1,
          .warm_up_ms = 0,
          .sustained_ms = 0,
          .quick = true};
}

}  // namespace ospsim
