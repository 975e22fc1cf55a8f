#include "analysis/distribution.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

using Kind = Distribution::Kind;
constexpr double infinity = std::numeric_limits<double>::infinity();

struct Parameter {
  const char* name;
  double otherwise, least, most;
  bool whole = false;
};
struct Family {
  Kind kind;
  std::string_view name;
  std::vector<Parameter> parameters;
};

const std::vector<Family>& families() {
  constexpr double tiny = 1e-30, huge = 1e30;
  static const std::vector<Family> all{
      {Kind::normal,
       "normal",
       {{"the mean", 0, -huge, huge}, {"the standard deviation", 1, tiny, huge}}},
      {Kind::laplace, "laplace", {{"the mean", 0, -huge, huge}, {"the scale", 1, tiny, huge}}},
      {Kind::student_t,
       "student-t",
       {{"the degrees of freedom", 4, 0.1, 1e6}, {"the scale", 1, tiny, huge}}},
      {Kind::uniform,
       "uniform",
       {{"the lower end", -1, -huge, huge}, {"the upper end", 1, -huge, huge}}},
      {Kind::binade, "binade", {{"the exponent", 0, -126, 126, true}}},
      {Kind::lognormal,
       "lognormal",
       {{"the mean", 0, -80, 80}, {"the standard deviation", 1, 0, 40}}},
      {Kind::outliers,
       "outliers",
       {{"the standard deviation", 1, tiny, huge},
        {"columns to an outlier", 128, 1, 1e9, true},
        {"the factor", 30, 0, 1e6}}}};
  return all;
}

const Family& family_of(Kind kind) {
  return *std::find_if(families().begin(), families().end(),
                       [&](const Family& family) { return family.kind == kind; });
}

double number_of(std::string_view text, std::string_view whole) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    throw InputError(fmt::format("'{}' in '{}' is not a number", text, whole));
  return value;
}

/// The numbers of one piece, which has a generator of its own.
constexpr std::int64_t piece = 8192;

void sample_piece(const Distribution& distribution, std::uint64_t seed, std::int64_t columns,
                  std::int64_t first, std::span<double> x) {
  std::seed_seq words{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                      static_cast<std::uint32_t>(first / piece),
                      static_cast<std::uint32_t>(first / piece >> 32)};
  std::mt19937_64 random(words);
  std::normal_distribution<double> normal;
  const auto& p = distribution.parameters;
  const auto draw = [&](auto&& one) {
    for (double& value : x) value = one();
  };
  const auto sign = [&] { return (random() >> 63) != 0 ? -1.0 : 1.0; };
  std::uniform_real_distribution<double> uniform;
  switch (distribution.kind) {
    case Kind::normal:
      return draw([&] { return p[0] + p[1] * normal(random); });
    case Kind::laplace: {
      std::exponential_distribution<double> exponential;
      return draw([&] { return p[0] + p[1] * sign() * exponential(random); });
    }
    case Kind::student_t: {
      std::student_t_distribution<double> student(p[0]);
      return draw([&] { return p[1] * student(random); });
    }
    case Kind::uniform:
      return draw([&] { return p[0] + (p[1] - p[0]) * uniform(random); });
    case Kind::binade:
      return draw([&] { return sign() * std::ldexp(1 + uniform(random), static_cast<int>(p[0])); });
    case Kind::lognormal:
      return draw([&] { return sign() * std::exp(p[0] + p[1] * normal(random)); });
    case Kind::outliers: {
      const auto every = static_cast<std::int64_t>(p[1]);
      std::int64_t index = first;
      return draw([&] {
        const bool outlier = index++ % columns % every == 0;
        return p[0] * (outlier ? p[2] : 1) * normal(random);
      });
    }
  }
}

/// Of a standard normal: Phi(to) - Phi(from) without cancellation in the tails.
double normal_probability(double from, double to) {
  const double root = std::numbers::sqrt2;
  if (from > 0) return 0.5 * (std::erfc(from / root) - std::erfc(to / root));
  return 0.5 * (std::erfc(-to / root) - std::erfc(-from / root));
}
double normal_density(double z) {
  return std::isinf(z) ? 0 : std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi);
}

/// Of what is mean + scale * z, from the moments of z.
Moments moved(const Moments& z, double mean, double scale) {
  return {z.probability, mean * z.probability + scale * z.mean,
          mean * mean * z.probability + 2 * mean * scale * z.mean + scale * scale * z.square};
}

Moments normal_moments(double from, double to) {
  const double probability = normal_probability(from, to);
  const double at_from = normal_density(from), at_to = normal_density(to);
  const double edge = (std::isinf(from) ? 0 : from * at_from) - (std::isinf(to) ? 0 : to * at_to);
  return {probability, at_from - at_to, probability + edge};
}

/// Of p(t) = exp(-t) over 0 <= from < to.
Moments exponential_moments(double from, double to) {
  const auto tail = [](double t) -> Moments {
    if (std::isinf(t)) return {};
    const double e = std::exp(-t);
    return {e, (t + 1) * e, (t * t + 2 * t + 2) * e};
  };
  const Moments a = tail(from), b = tail(to);
  return {a.probability - b.probability, a.mean - b.mean, a.square - b.square};
}

Moments laplace_moments(double from, double to) {
  Moments all{};
  if (to > 0) {
    const Moments m = exponential_moments(std::max(from, 0.0), to);
    all = all + Moments{0.5 * m.probability, 0.5 * m.mean, 0.5 * m.square};
  }
  if (from < 0) {
    const Moments m = exponential_moments(std::max(-to, 0.0), -from);
    all = all + Moments{0.5 * m.probability, -0.5 * m.mean, 0.5 * m.square};
  }
  return all;
}

Moments uniform_moments(double low, double high, double from, double to) {
  const double a = std::clamp(from, low, high), b = std::clamp(to, low, high),
               density = 1 / (high - low);
  return {(b - a) * density, (b - a) * (b + a) / 2 * density,
          (b - a) * (a * a + a * b + b * b) / 3 * density};
}

}  // namespace

Distribution parse_distribution(std::string_view text) {
  const std::string_view name = text.substr(0, text.find(':'));
  std::vector<std::string_view> accepted;
  for (const Family& family : families()) {
    accepted.push_back(family.name);
    if (family.name != name) continue;
    Distribution distribution{.kind = family.kind, .parameters = {}};
    std::string_view rest = name.size() == text.size() ? "" : text.substr(name.size() + 1);
    const bool given = name.size() != text.size();
    while (given && distribution.parameters.size() < family.parameters.size()) {
      const Parameter& parameter = family.parameters[distribution.parameters.size()];
      const std::string_view word = rest.substr(0, rest.find(','));
      const double value = number_of(word, text);
      if (value < parameter.least || value > parameter.most)
        throw InputError(fmt::format("{} of '{}' is not in {}..{}", parameter.name, text,
                                     parameter.least, parameter.most));
      if (parameter.whole && value != std::floor(value))
        throw InputError(fmt::format("{} of '{}' is not a whole number", parameter.name, text));
      distribution.parameters.push_back(value);
      if (word.size() == rest.size()) {
        rest = {};
        break;
      }
      rest.remove_prefix(word.size() + 1);
      if (distribution.parameters.size() == family.parameters.size())
        throw InputError(fmt::format("'{}' has more than the {} numbers of {}", text,
                                     family.parameters.size(), name));
    }
    for (std::size_t i = distribution.parameters.size(); i < family.parameters.size(); ++i)
      distribution.parameters.push_back(family.parameters[i].otherwise);
    if (family.kind == Kind::uniform && !(distribution.parameters[0] < distribution.parameters[1]))
      throw InputError(fmt::format("the lower end of '{}' is not below the upper one", text));
    return distribution;
  }
  throw InputError(
      fmt::format("distribution '{}' is not one of {}", name, fmt::join(accepted, ", ")));
}

std::string to_string(const Distribution& distribution) {
  return fmt::format("{}:{}", family_of(distribution.kind).name,
                     fmt::join(distribution.parameters, ","));
}

void sample(const Distribution& distribution, std::uint64_t seed, std::int64_t columns,
            std::int64_t first, std::span<float> x, int threads) {
  const std::int64_t last = first + static_cast<std::int64_t>(x.size());
  const std::int64_t first_piece = first / piece;
  parallel_for((last + piece - 1) / piece - first_piece, threads, [&](std::int64_t i) {
    double buffer[piece];
    const std::int64_t start = (first_piece + i) * piece, end = std::min(last, start + piece);
    sample_piece(distribution, seed, columns, start,
                 std::span(buffer, static_cast<std::size_t>(end - start)));
    for (std::int64_t at = std::max(start, first); at < end; ++at)
      x[static_cast<std::size_t>(at - first)] = static_cast<float>(buffer[at - start]);
  });
}

std::optional<Moments> partial_moments(const Distribution& distribution, double from, double to) {
  const auto& p = distribution.parameters;
  switch (distribution.kind) {
    case Kind::normal:
      return moved(normal_moments((from - p[0]) / p[1], (to - p[0]) / p[1]), p[0], p[1]);
    case Kind::laplace:
      return moved(laplace_moments((from - p[0]) / p[1], (to - p[0]) / p[1]), p[0], p[1]);
    case Kind::uniform:
      return uniform_moments(p[0], p[1], from, to);
    case Kind::binade: {
      const double low = std::exp2(p[0]), high = 2 * low;
      const Moments right = uniform_moments(low, high, from, to);
      const Moments left = uniform_moments(-high, -low, from, to);
      const Moments both = right + left;
      return Moments{both.probability / 2, both.mean / 2, both.square / 2};
    }
    case Kind::student_t:
    case Kind::lognormal:
    case Kind::outliers:
      break;
  }
  return std::nullopt;
}

}  // namespace ospsim
