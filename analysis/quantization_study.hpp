#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "analysis/quantization_error.hpp"

namespace ospsim {

/// A tensor that is read in pieces, wherever it comes from.
struct TensorSource {
  std::vector<std::int64_t> shape;  ///< empty: a scalar
  /// Fills `values` with the elements from `first` on, in row-major order. Called from one thread.
  std::function<void(std::int64_t first, std::span<float> values)> read;
};

/// The matrix that scaling recipes see: rows of the last axis. A tensor of one axis counts as rows
/// of 1,024, each of them a step of delayed scaling.
struct MatrixView {
  std::int64_t elements = 0, rows = 0, columns = 0, steps = 1;
};
MatrixView matrix_view(std::span<const std::int64_t> shape);

struct StudiedQuantization {
  QuantizationError error;
  double bits_per_element = 0;
};
struct TensorStudy {
  TensorStatistics statistics;
  std::vector<StudiedQuantization> quantizations;  ///< in the order asked for
};

/// Quantises one tensor in every way asked for. It is read twice, in slabs of at most 2^20 elements
/// or 128 rows, whatever is more; `advance` hears of the elements read. A tensor of one axis has no
/// channels: with a scale per channel it gets one scale. The result does not depend on the number
/// of threads.
TensorStudy study_tensor(const TensorSource& source, std::span<const Quantization> quantizations,
                         const std::function<void(std::int64_t elements)>& advance,
                         int threads = 0);

}  // namespace ospsim
