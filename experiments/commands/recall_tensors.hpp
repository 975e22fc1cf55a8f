#pragma once

#include <span>
#include <vector>

#include "analysis/recall.hpp"
#include "analysis/tensor_error.hpp"
#include "experiments/cli/command.hpp"
#include "kernels_ref/layout/grid.hpp"

namespace ospsim {

/// --input, --synthetic and what the latter is made of.
std::vector<Option> tensor_options();
bool asks_for_tensors(const Request& request);

/// What patterns keep of full attention on the q, k and v that the request names. Throws InputError
/// that names the option.
TensorErrors tensor_errors(const Request& request, const Grid& grid,
                           std::span<const MaskedPattern> patterns, const QuerySample& sample);

}  // namespace ospsim
