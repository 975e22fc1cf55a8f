#pragma once

#include <cstdint>

#include "sim/model/model.hpp"

namespace ospsim {

/// How large what is timed is: as large as the paper's videos, or just large enough to see whether
/// everything works on a machine.
struct RecordSizes {
  Grid padded;    ///< its height is no multiple of 4: 720P
  Grid unpadded;  ///< 768P
  std::int64_t layers, full_blocks, heads, ffn_dim, text_tokens;
  std::int64_t copy_bytes, product_size, codec_elements;
  std::int64_t codec_period;    ///< the elements repeat: so many are compared with the host's
  std::int64_t float_patterns;  ///< of the 2^32, evenly spread chunks of them
  int kernel_repetitions, forward_repetitions;
  /// How long what is timed runs before, since clocks rise and fall with the load; and how long a
  /// product runs before its sustained rate is taken.
  double warm_up_ms, sustained_ms;
  bool quick;  ///< says only whether everything works

  static constexpr std::int64_t head_dim = 128;
  std::int64_t dim() const { return heads * head_dim; }
  /// "wan2.1-14b" or "osp-next-14b" at these sizes.
  Model model(const char* name) const;
};

RecordSizes paper_sizes();
RecordSizes quick_sizes();

}  // namespace ospsim
