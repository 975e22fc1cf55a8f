#include "analysis/synthetic_attention.hpp"

#include <fmt/format.h>

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>
#include <stdexcept>
#include <tuple>

#include "analysis/distribution.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/rope.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Floats = std::vector<float>;

void check(const SyntheticAttention& p) {
  const auto require = [](bool holds, const char* what, auto value, const char* accepted) {
    if (!holds)
      throw InputError(fmt::format("synthetic attention: {} {} is not {}", what, value, accepted));
  };
  require(p.heads >= 1, "the number of heads", p.heads, "at least 1");
  require(p.head_dim >= 2 && p.head_dim % 2 == 0, "head_dim", p.head_dim, "even and at least 2");
  for (const double length : {p.length_t, p.length_y, p.length_x})
    require(length >= 0 && std::isfinite(length), "the correlation length", length, "0 or more");
  require(p.noise >= 0 && p.noise <= 1, "the share of noise", p.noise, "in 0..1");
  require(p.objects >= 0, "the number of objects", p.objects, "0 or more");
  require(p.object_size > 0 && p.object_size <= 1, "the size of objects", p.object_size,
          "above 0 and at most 1");
  require(p.speed >= 0 && std::isfinite(p.speed), "the speed", p.speed, "0 or more");
  require(p.sharpness >= 0 && std::isfinite(p.sharpness), "the sharpness", p.sharpness,
          "0 or more");
}

// ---- Random numbers ----------------------------------------------------------------------------

/// What is drawn from generators of its own.
enum class Draw : std::uint32_t {
  content,
  content_of_objects,
  noise_of_q,
  noise_of_k,
  values,
  values_of_objects,
  noise_of_v,
  objects
};

void draw(const char* distribution, const SyntheticAttention& parameters, std::int64_t head,
          Draw what, std::span<float> x, int threads) {
  std::seed_seq words{static_cast<std::uint32_t>(parameters.seed),
                      static_cast<std::uint32_t>(parameters.seed >> 32),
                      static_cast<std::uint32_t>(head), static_cast<std::uint32_t>(what)};
  std::array<std::uint32_t, 2> seed{};
  words.generate(seed.begin(), seed.end());
  sample(parse_distribution(distribution), seed[0] | std::uint64_t{seed[1]} << 32, 1, 0, x,
         threads);
}

// ---- Fields ------------------------------------------------------------------------------------

/// L with L L^T = exp(-(i - j)^2 / (2 length^2)), [extent, rank]: eigenvectors times the roots of
/// their eigenvalues, without those that float32 cannot tell from 0.
Matrix root_of_covariance(std::int64_t extent, double length) {
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Identity(extent, extent);
  if (length > 0)
    for (std::int64_t i = 0; i < extent; ++i)
      for (std::int64_t j = 0; j < extent; ++j) {
        const double distance = static_cast<double>(i - j) / length;
        covariance(i, j) = std::exp(-0.5 * distance * distance);
      }
  constexpr double negligible = 1e-9;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance);  // ascending
  const Eigen::Index rank = (solver.eigenvalues().array() > negligible).count();
  const Eigen::VectorXd roots = solver.eigenvalues().tail(rank).cwiseSqrt();
  return (solver.eigenvectors().rightCols(rank) * roots.asDiagonal()).cast<float>();
}

/// y[o, :, i] = root x[o, :, i] for x [outer, rank, inner], y [outer, extent, inner].
void multiply_axis(const Matrix& root, std::int64_t outer, std::int64_t inner,
                   std::span<const float> x, std::span<float> y, int threads) {
  constexpr std::int64_t piece = 1024;
  const std::int64_t pieces = (inner + piece - 1) / piece;
  parallel_for(outer * pieces, threads, [&](std::int64_t i) {
    const std::int64_t o = i / pieces, first = i % pieces * piece,
                       columns = std::min(piece, inner - first);
    using Stride = Eigen::OuterStride<>;
    const Eigen::Map<const Matrix, 0, Stride> from(x.data() + o * root.cols() * inner + first,
                                                   root.cols(), columns, Stride(inner));
    Eigen::Map<Matrix, 0, Stride> to(y.data() + o * root.rows() * inner + first, root.rows(),
                                     columns, Stride(inner));
    to.noalias() = root * from;
  });
}

/// Fills x [tokens, head_dim].
void draw_field(const SyntheticAttention& p, std::int64_t head, Draw what, std::span<float> x,
                int threads) {
  const Matrix t = root_of_covariance(p.grid.t, p.length_t),
               y = root_of_covariance(p.grid.h, p.length_y),
               w = root_of_covariance(p.grid.w, p.length_x);
  Floats white(index(t.cols() * y.cols() * w.cols() * p.head_dim)),
      rows(index(t.cols() * y.cols() * p.grid.w * p.head_dim)),
      frames(index(t.cols() * p.grid.frame_tokens() * p.head_dim));
  draw("normal", p, head, what, white, threads);
  multiply_axis(w, t.cols() * y.cols(), p.head_dim, white, rows, threads);
  multiply_axis(y, t.cols(), p.grid.w * p.head_dim, rows, frames, threads);
  multiply_axis(t, 1, p.grid.frame_tokens() * p.head_dim, frames, x, threads);
}

/// [tokens]: the object that is seen there, or -1.
std::vector<std::int64_t> object_of_tokens(const SyntheticAttention& parameters) {
  const auto objects = moving_objects(parameters);
  std::vector<std::int64_t> seen;
  for (const TokenPosition& at : positions_in_place(parameters.grid)) {
    std::int64_t object = std::ssize(objects) - 1;
    while (object >= 0 && !objects[index(object)].covers(at.t, at.y, at.x)) --object;
    seen.push_back(object);
  }
  return seen;
}

void place_objects(const SyntheticAttention& p, std::int64_t head, Draw what,
                   const std::vector<std::int64_t>& object_of, std::span<float> x) {
  Floats vectors(index(p.objects * p.head_dim));
  draw("normal", p, head, what, vectors, 1);
  for (std::int64_t token = 0; token < std::ssize(object_of); ++token)
    if (const std::int64_t object = object_of[index(token)]; object >= 0)
      std::copy_n(vectors.begin() + object * p.head_dim, p.head_dim,
                  x.begin() + token * p.head_dim);
}

/// noise = a * content + b * noise.
void mix(double a, std::span<const float> content, double b, std::span<float> noise, int threads) {
  const auto of_content = static_cast<float>(a), of_noise = static_cast<float>(b);
  parallel_ranges(std::ssize(noise), 1 << 16, threads, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i)
      noise[index(i)] = of_content * content[index(i)] + of_noise * noise[index(i)];
  });
}

}  // namespace

bool MovingObject::covers(std::int64_t t, std::int64_t row, std::int64_t column) const {
  const auto frame = static_cast<double>(t);
  const double dy = (static_cast<double>(row) - y - velocity_y * frame) / half_height,
               dx = (static_cast<double>(column) - x - velocity_x * frame) / half_width;
  return ellipse ? dy * dy + dx * dx <= 1 : std::abs(dy) <= 1 && std::abs(dx) <= 1;
}

std::vector<MovingObject> moving_objects(const SyntheticAttention& p) {
  check(p);
  Floats uniform(index(7 * p.objects));
  draw("uniform:0,1", p, 0, Draw::objects, uniform, 1);
  std::vector<MovingObject> objects;
  const double middle = static_cast<double>(p.grid.t - 1) / 2;
  for (std::size_t i = 0; i < uniform.size(); i += 7) {
    const auto between = [&](std::size_t which, double from, double to) {
      return from + (to - from) * static_cast<double>(uniform[i + which]);
    };
    const auto half_extent = [&](std::size_t which, std::int64_t frame) {
      return between(which, 1, std::max(1.0, p.object_size * static_cast<double>(frame))) / 2;
    };
    MovingObject object{.ellipse = uniform[i] < 0.5f,
                        .velocity_y = between(1, -p.speed, p.speed),
                        .velocity_x = between(2, -p.speed, p.speed),
                        .half_height = half_extent(3, p.grid.h),
                        .half_width = half_extent(4, p.grid.w)};
    object.y = between(5, -0.5, static_cast<double>(p.grid.h) - 0.5) - object.velocity_y * middle;
    object.x = between(6, -0.5, static_cast<double>(p.grid.w) - 0.5) - object.velocity_x * middle;
    objects.push_back(object);
  }
  return objects;
}

void fill_synthetic_head(const SyntheticAttention& p, std::int64_t head, std::span<float> q,
                         std::span<float> k, std::span<float> v, int threads) {
  check(p);
  const std::size_t size = index(p.grid.tokens() * p.head_dim);
  for (const auto& tensor : {q, k, v})
    if (tensor.size() != size)
      throw std::invalid_argument(
          fmt::format("synthetic attention: a tensor has {} elements, expected {} tokens x {}",
                      tensor.size(), p.grid.tokens(), p.head_dim));
  const auto object_of = object_of_tokens(p);
  const auto positions = positions_in_place(p.grid);
  const double like = std::sqrt(1 - p.noise), unlike = std::sqrt(p.noise);

  Floats content(size);
  draw_field(p, head, Draw::content, content, threads);
  place_objects(p, head, Draw::content_of_objects, object_of, content);
  for (const auto& [tensor, noise, factor] :
       {std::tuple(q, Draw::noise_of_q, p.sharpness), std::tuple(k, Draw::noise_of_k, 1.0)}) {
    draw("normal", p, head, noise, tensor, threads);
    mix(factor * like, content, factor * unlike, tensor, threads);
    rope_3d_forward<Backend::cpu>({1, p.head_dim}, positions, tensor, tensor, threads);
  }
  draw_field(p, head, Draw::values, content, threads);
  place_objects(p, head, Draw::values_of_objects, object_of, content);
  draw("normal", p, head, Draw::noise_of_v, v, threads);
  mix(like, content, unlike, v, threads);
}

AttentionHeads synthetic_heads(const SyntheticAttention& parameters, int threads) {
  check(parameters);
  return {parameters.heads, parameters.head_dim,
          [parameters, threads](std::int64_t head, std::span<float> q, std::span<float> k,
                                std::span<float> v) {
            fill_synthetic_head(parameters, head, q, k, v, threads);
          }};
}

// ---- Sharpness ---------------------------------------------------------------------------------

namespace {

/// exp(entropy) of the softmax of sharpness * logits.
double effective_tokens_of(std::span<const float> logits, double sharpness) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0, weighted = 0;
  for (const float logit : logits) {
    const double x = sharpness * (logit - largest), p = std::exp(x);
    sum += p;
    weighted += p * x;
  }
  return std::exp(std::log(sum) - weighted / sum);
}

}  // namespace

Sharpness sharpness_for(const SyntheticAttention& parameters, double effective_tokens,
                        std::int64_t queries, int threads) {
  SyntheticAttention unscaled = parameters;
  unscaled.sharpness = 1;
  const std::int64_t tokens = unscaled.grid.tokens(), head_dim = unscaled.head_dim;
  if (!(effective_tokens < static_cast<double>(tokens)))
    throw InputError(fmt::format("{} effective tokens are not fewer than the grid's {}",
                                 effective_tokens, tokens));
  Floats q(index(tokens * head_dim)), k(q.size()), v(q.size());
  fill_synthetic_head(unscaled, 0, q, k, v, threads);
  const auto drawn = drawn_tokens(tokens, queries, unscaled.seed);
  Floats rows;
  for (const auto token : drawn) {
    const auto row = q.begin() + token * head_dim;
    rows.insert(rows.end(), row, row + head_dim);
  }
  const LinearShape shape{.rows = std::ssize(drawn), .in = head_dim, .out = tokens};
  Floats logits(index(shape.rows * shape.out));
  linear_forward<Backend::cpu>(shape, rows, k, {}, logits, threads);

  const double root = std::sqrt(static_cast<double>(head_dim));
  const auto reached = [&](double sharpness) {
    std::vector<double> of_query(drawn.size());
    parallel_for(shape.rows, threads, [&](std::int64_t i) {
      of_query[index(i)] = effective_tokens_of(
          std::span(logits).subspan(index(i * tokens), index(tokens)), sharpness / root);
    });
    return std::reduce(of_query.begin(), of_query.end()) / static_cast<double>(shape.rows);
  };

  // Bisection of log sharpness; the ends stand for attention to all alike and to one token alone.
  double low = 1e-4, high = 1e4;
  if (reached(high) > effective_tokens || reached(low) < effective_tokens)
    throw InputError(
        fmt::format("{} effective tokens cannot be reached: sharpness {} gives {}, {} {}",
                    effective_tokens, low, reached(low), high, reached(high)));
  while (high / low > 1 + 1e-4) {
    const double middle = std::sqrt(low * high);
    (reached(middle) > effective_tokens ? low : high) = middle;
  }
  return {high, reached(high)};
}

}  // namespace ospsim
