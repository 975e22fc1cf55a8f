#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "kernels_ref/block/product.hpp"
#include "kernels_ref/formats/wide_float.hpp"

namespace ospsim {

/// Products by cuBLASLt, which is opened when the first Matmul is made. The first algorithm that
/// its heuristics name is used. Not for use by two threads at once.
class Matmul {
 public:
  /// Throws UnavailableError where the library or a device is missing.
  Matmul();
  ~Matmul();

  /// Starts the product on the stream. The pointers are to device memory; x and weight hold what
  /// `product.operands` says, each e4m3 operand as it is, without a scale. The first time chooses
  /// the algorithm, before any capture. Throws UnavailableError where cuBLASLt has none.
  void run(cudaStream_t stream, const Product& product, const void* x, const void* weight,
           const Bfloat16* bias, Bfloat16* y);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace ospsim
