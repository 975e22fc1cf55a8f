#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/parallel/communicator.hpp"

namespace ospsim {

/// How elements travel: as float32 (4 bytes) or rounded to bf16 (2 bytes). Without payload any size
/// can be counted; with payload any other is a std::logic_error.
struct Wire {
  int bytes_per_element = 4;
};

/// Every rank sends its array to every other; returns all arrays in the order of the ranks.
/// `elements` are their lengths. Without payload the arrays are empty.
std::vector<float> all_gather(Communicator& communicator, const StepName& name, Wire wire,
                              std::span<const std::int64_t> elements, std::span<const float> in);

/// `in` is cut into parts of `elements`, one for each rank; returns the sum over ranks, in their
/// order, of this rank's parts.
std::vector<float> reduce_scatter(Communicator& communicator, const StepName& name, Wire wire,
                                  std::span<const std::int64_t> elements,
                                  std::span<const float> in);

/// Sends `in`, which stands for `sent_elements`, to the next rank of the ring and returns what the
/// one before sends, `received_elements`.
std::vector<float> shift(Communicator& communicator, const StepName& name, Wire wire,
                         std::int64_t sent_elements, std::int64_t received_elements,
                         std::span<const float> in);

}  // namespace ospsim
