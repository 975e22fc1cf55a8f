#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "experiments/store/hdf5_file.hpp"
#include "kernels_ref/layout/grid.hpp"

namespace ospsim {

enum class Precision { f32, bf16 };
/// "f32" or "bf16". Throws InputError.
Precision parse_precision(const std::string& text);

/// An HDF5 file with the datasets q, k and v, each [heads, tokens, head_dim] of any float type,
/// tokens in (t, y, x) order. It is read head by head, so that it may be larger than the memory.
class AttentionInput {
 public:
  /// Throws InputError if the file is not that, for this grid.
  AttentionInput(const std::string& path, const Grid& grid);

  std::int64_t heads() const { return heads_; }
  std::int64_t head_dim() const { return head_dim_; }

  /// Fills `into` [tokens, head_dim] from head `head` of `tensor`; T is float or double. Throws
  /// InputError that names the element if one is not finite in `precision`.
  template <class T>
  void read(const std::string& tensor, std::int64_t head, Precision precision,
            std::span<T> into) const;

 private:
  std::string path_;
  Hdf5File file_;
  std::int64_t heads_ = 0, head_dim_ = 0;
};

}  // namespace ospsim
