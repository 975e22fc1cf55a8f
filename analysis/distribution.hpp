#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ospsim {

/// What the elements of a made-up tensor are drawn from. In brackets, the parameters and what they
/// are where they are not given.
///   normal         mean [0], standard deviation [1]
///   laplace        mean [0], scale [1] (standard deviation scale * sqrt 2)
///   student-t      degrees of freedom [4], scale [1]
///   uniform        from [-1], to [1]
///   binade         exponent e [0]: uniform over 2^e <= |x| < 2^(e+1), either sign
///   lognormal      mean [0] and standard deviation [1] of log |x|, either sign
///   outliers       normal with standard deviation [1]; one column in n [128] is larger by a
///                  factor [30]: the outlier channels of transformer activations
struct Distribution {
  enum class Kind : std::uint8_t {
    normal,
    laplace,
    student_t,
    uniform,
    binade,
    lognormal,
    outliers
  };
  Kind kind = Kind::normal;
  std::vector<double> parameters;  ///< all of them
};

/// "normal:0,1", "normal:0" or "normal". Throws InputError.
Distribution parse_distribution(std::string_view text);
/// With all parameters.
std::string to_string(const Distribution& distribution);

/// Elements [first, first + x.size()) of a tensor in rows of `columns`, in float32. They depend on
/// the seed and their index alone. `threads` 0 means all cores.
void sample(const Distribution& distribution, std::uint64_t seed, std::int64_t columns,
            std::int64_t first, std::span<float> x, int threads = 0);

/// The integrals of p(t), t p(t) and t^2 p(t) over [from, to), which may be infinite; nothing where
/// there is no closed form (student-t, lognormal, outliers).
struct Moments {
  double probability = 0, mean = 0, square = 0;
  friend Moments operator+(const Moments& a, const Moments& b) {
    return {a.probability + b.probability, a.mean + b.mean, a.square + b.square};
  }
};
std::optional<Moments> partial_moments(const Distribution& distribution, double from, double to);

}  // namespace ospsim
