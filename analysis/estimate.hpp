#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ospsim {

/// A mean or ratio over tokens, estimated from some of them. The standard error says how much the
/// draw of tokens makes it vary: to first order (delta method), with the finite-population factor
/// sqrt(1 - n/N). It is 0 where every token was taken and infinite where one of several was.
struct Estimate {
  double value = 0, standard_error = 0;
};

/// Of sum(a) / sum(b) over a population that the observations (a[i], b[i]) were drawn from without
/// replacement. Where all of a is 0, 0.
Estimate ratio_estimate(std::span<const double> a, std::span<const double> b,
                        std::int64_t population);
/// Of the root of what `square` estimates.
Estimate root_estimate(const Estimate& square);

/// `n` different tokens, ascending, each set alike likely; all of them if `n` is 0 or at least
/// `tokens`.
std::vector<std::int64_t> drawn_tokens(std::int64_t tokens, std::int64_t n, std::uint64_t seed);

}  // namespace ospsim
