#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "analysis/quantization_study.hpp"
#include "experiments/store/result_store.hpp"

namespace ospsim {

struct NamedTensor {
  std::string name;
  TensorSource source;
};

/// What quantising costs the operations that tensors are used in, against float32 and beside bf16:
/// each matrix [out, in] as the weight of a linear layer of 256 standard normal rows, with standard
/// normal gradients of its output; q, k, v [heads, tokens, head_dim], if they are there, in
/// attention. Forward by the quantisation, gradients by the same, for hif8 with the paper's
/// backward target 224. One row per operation and quantisation, relative L2 errors. Tensors of more
/// than 2^26 elements, and attention of more than 2^28 pairs a call, are left out and named in
/// `skipped`.
struct Downstream {
  Json rows, skipped;
};
Downstream downstream_of(std::span<const NamedTensor> tensors,
                         std::span<const Quantization> quantizations, std::uint64_t seed,
                         int threads);

}  // namespace ospsim
