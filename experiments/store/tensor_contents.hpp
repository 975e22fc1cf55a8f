#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/store/element_type.hpp"
#include "experiments/store/mapped_file.hpp"

namespace ospsim {

struct TensorInfo {
  std::string name;
  std::string dtype;                ///< "F64", "F32", "F16" or "BF16", whatever the file calls it
  std::vector<std::int64_t> shape;  ///< empty for a scalar
  std::int64_t elements() const;
};

struct SkippedTensor {
  std::string name, reason;
};

/// What the reader of one format finds in a file; for TensorFile. readers[i] fills a span with the
/// elements of tensors[i] from the given one on.
struct TensorContents {
  using Reader = std::function<void(std::int64_t first, std::span<float> values)>;
  std::vector<TensorInfo> tensors;
  std::vector<Reader> readers;
  std::vector<SkippedTensor> skipped;

  void add(TensorInfo info, Reader reader);
  /// A tensor that lies in a mapped file from byte `begin` on.
  void add(TensorInfo info, ElementType type, std::shared_ptr<const MappedFile> file,
           std::size_t begin);
};

/// They throw InputError in one line that names the file. The tensor of a .npy file is named after
/// it, less the extension.
TensorContents npy_contents(const std::string& path);
TensorContents safetensors_contents(const std::string& path);
TensorContents safetensors_index_contents(const std::string& path);
TensorContents hdf5_contents(const std::string& path);

/// Nothing if that is no whole number of bytes, or more bits than 63 bits can count.
std::optional<std::int64_t> bytes_of(std::span<const std::int64_t> shape,
                                     std::int64_t bits_per_element);

/// Throws InputError if `text`, found in the file, would break the line it is printed in.
void require_printable(const std::string& path, std::string_view text);

}  // namespace ospsim
