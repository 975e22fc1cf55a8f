#pragma once

#include "kernels_ref/count.hpp"

namespace ospsim {

/// An exact ratio of counts, not reduced.
struct Fraction {
  Count numerator = 0, denominator = 1;
  constexpr double value() const {
    return static_cast<double>(numerator) / static_cast<double>(denominator);
  }
};

}  // namespace ospsim
