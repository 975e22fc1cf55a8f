#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experiments/store/tensor_contents.hpp"

namespace ospsim {

/// The floating-point tensors of a .npy, .safetensors, .safetensors.index.json or HDF5 file. They
/// are read in pieces, so that the file may be larger than the memory.
class TensorFile {
 public:
  /// By extension, else by content. Throws InputError in one line that names the file, if it is
  /// none of these, damaged, or has no tensor that can be read.
  static TensorFile open(const std::string& path);

  /// In file order: by position in a .safetensors file, as listed in an index, by name in HDF5.
  const std::vector<TensorInfo>& tensors() const { return contents_.tensors; }
  const std::vector<SkippedTensor>& skipped() const { return contents_.skipped; }

  /// Throws InputError, with the reason if the tensor was skipped.
  std::size_t index_of(const std::string& name) const;

  /// Elements [first, first + values.size()) of tensor i in row-major order, widened to float32:
  /// exactly, except that float64 is rounded. Throws InputError if they cannot be read.
  void read(std::size_t i, std::int64_t first, std::span<float> values) const;

 private:
  TensorFile(std::string path, TensorContents contents);

  std::string path_;
  TensorContents contents_;
};

struct TensorArgument {
  std::string path;
  std::optional<std::string> name;
};
/// "FILE" or "FILE:name". Both may contain colons: the longest FILE that exists is meant.
TensorArgument parse_tensor_argument(const std::string& text);

}  // namespace ospsim
