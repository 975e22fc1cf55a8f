#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "analysis/recall.hpp"
#include "kernels_ref/layout/layout.hpp"

/// Why a sparse phase errs. A class of tokens that repeats regularly is a sampling pattern:
/// attention restricted to it sees the values' spectrum and copies of it, moved by the frequencies
/// of the class. What lies at a copy's frequency and survives attention's own smoothing is the
/// error.
namespace ospsim {

/// One frequency of a class.
struct Alias {
  std::array<double, 3> frequency{};  ///< cycles per token along t, y, x, each in (-1/2, 1/2]
  double power = 0;                   ///< of the class's indicator there, relative to frequency 0
  double magnitude() const;
};

/// The frequencies other than 0 of the classes of a phase, padding left out of account; all classes
/// have the same. Nothing where a class does not repeat twice along an axis it is cut along
/// (tiles).
std::optional<std::vector<Alias>> aliases(const Layout& layout);

/// The lowest magnitude, in cycles per token, of those with at least a hundredth of the power at 0;
/// infinite if there are none.
double shortest_alias(std::span<const Alias> aliases);

/// The expected output error (recall.hpp) of a phase if every query's class held the same share of
/// its attention, far from the border: sqrt(sum over aliases of power * R(f) / R(0)), where R(f) =
/// sum over d of rho(d) exp(-|d|^2/4s^2) cos(2 pi f d). What `phase_error` tends to as attention
/// widens beyond the gaps of the class. `model.bandwidth` must be finite.
double alias_error(std::span<const Alias> aliases, const AttentionModel& model);

}  // namespace ospsim
