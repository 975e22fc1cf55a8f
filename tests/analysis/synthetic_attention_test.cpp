#include "analysis/synthetic_attention.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

using Floats = std::vector<float>;

struct Head {
  Floats q, k, v;
  friend bool operator==(const Head&, const Head&) = default;
};
Head head_of(const SyntheticAttention& parameters, std::int64_t head, int threads = 1) {
  const std::size_t size = index(parameters.grid.tokens() * parameters.head_dim);
  Head all{Floats(size), Floats(size), Floats(size)};
  fill_synthetic_head(parameters, head, all.q, all.k, all.v, threads);
  return all;
}

struct At {
  std::int64_t t, y, x;
};
At at(std::int64_t token, const Grid& grid) {
  return {token / (grid.h * grid.w), token / grid.w % grid.h, token % grid.w};
}

double correlation(const SyntheticAttention& p, At a, At b) {
  const auto along = [](std::int64_t distance, double length) {
    if (length == 0) return distance == 0 ? 1.0 : 0.0;
    const double d = static_cast<double>(distance) / length;
    return std::exp(-d * d / 2);
  };
  return along(a.t - b.t, p.length_t) * along(a.y - b.y, p.length_y) * along(a.x - b.x, p.length_x);
}

// ---- Fields ------------------------------------------------------------------------------------

TEST(SyntheticAttention, ValuesHaveTheCovarianceStated) {
  const Grid grid{3, 4, 5};
  const std::int64_t tokens = grid.tokens();
  for (const auto& [t, y, x] : {std::array{1.5, 2.0, 0.7}, {0.0, 5.0, 3.0}, {2.0, 0.0, 40.0}}) {
    const SyntheticAttention p{.grid = grid,
                               .heads = 64,
                               .head_dim = 64,
                               .length_t = t,
                               .length_y = y,
                               .length_x = x,
                               .noise = 0.3,
                               .objects = 0};
    std::vector<double> products(index(tokens * tokens));
    for (std::int64_t head = 0; head < p.heads; ++head) {
      const Floats v = head_of(p, head).v;
      for (std::int64_t i = 0; i < tokens; ++i)
        for (std::int64_t j = 0; j <= i; ++j)
          products[index(i * tokens + j)] += std::inner_product(
              v.begin() + i * 64, v.begin() + (i + 1) * 64, v.begin() + j * 64, 0.0);
    }
    // The product of two normal numbers of unit variance and covariance c has variance 1 + c^2.
    // 1,830 pairs of tokens: one in 10,000 runs has any beyond 5.5 standard deviations.
    const auto samples = static_cast<double>(p.heads * p.head_dim);
    for (std::int64_t i = 0; i < tokens; ++i)
      for (std::int64_t j = 0; j <= i; ++j) {
        const double c = i == j ? 1 : 0.7 * correlation(p, at(i, grid), at(j, grid));
        EXPECT_NEAR(products[index(i * tokens + j)] / samples, c,
                    5.5 * std::sqrt((1 + c * c) / samples))
            << i << " " << j;
      }
  }
}

TEST(SyntheticAttention, WhiteFieldsAndLongOnes) {
  SyntheticAttention p{.grid = {2, 9, 40}, .head_dim = 4, .noise = 0, .objects = 0};
  p.length_t = p.length_y = p.length_x = 1e6;
  const Head same = head_of(p, 0);
  for (std::size_t i = 4; i < same.v.size(); ++i) EXPECT_NEAR(same.v[i], same.v[i % 4], 1e-3);
  p.length_t = p.length_y = p.length_x = 0;
  const Head white = head_of(p, 0);
  const auto size = static_cast<double>(white.v.size());
  const double square = std::inner_product(white.v.begin(), white.v.end(), white.v.begin(), 0.0),
               neighbour =
                   std::inner_product(white.v.begin() + 4, white.v.end(), white.v.begin(), 0.0);
  EXPECT_NEAR(square / size, 1, 5 * std::sqrt(2 / size));
  EXPECT_NEAR(neighbour / size, 0, 5 / std::sqrt(size));
}

TEST(SyntheticAttention, QueriesAndKeysAreLikeContentTurnedByRope) {
  // 14 channels are 7 pairs: 3 of t, 2 of y and 2 of x, of frequency 10000^(-j/n).
  const Grid grid{2, 3, 4};
  constexpr std::int64_t head_dim = 14, pairs = 7;
  const SyntheticAttention p{.grid = grid,
                             .heads = 1500,
                             .head_dim = head_dim,
                             .length_t = 3,
                             .length_y = 2,
                             .length_x = 2.5,
                             .noise = 0.25,
                             .objects = 0,
                             .sharpness = 2};
  const auto angle = [](std::int64_t pair, At a, At b) {
    const auto turn = [](std::int64_t distance, std::int64_t j, double n) {
      return static_cast<double>(distance) * std::pow(10000.0, -static_cast<double>(j) / n);
    };
    if (pair < 3) return turn(a.t - b.t, pair, 3);
    return pair < 5 ? turn(a.y - b.y, pair - 3, 2) : turn(a.x - b.x, pair - 5, 2);
  };
  const std::int64_t tokens = grid.tokens();
  // As complex numbers: the sum over heads of q_i conj(k_j), per pair of channels.
  std::vector<double> real(index(tokens * tokens * pairs)), imaginary(real);
  double q_2 = 0, k_2 = 0;
  for (std::int64_t head = 0; head < p.heads; ++head) {
    const Head all = head_of(p, head);
    for (std::int64_t i = 0; i < tokens; ++i)
      for (std::int64_t j = 0; j < tokens; ++j)
        for (std::int64_t pair = 0; pair < pairs; ++pair) {
          const auto a = index(i * head_dim + 2 * pair), b = index(j * head_dim + 2 * pair);
          const double qr = all.q[a], qi = all.q[a + 1], kr = all.k[b], ki = all.k[b + 1];
          real[index((i * tokens + j) * pairs + pair)] += qr * kr + qi * ki;
          imaginary[index((i * tokens + j) * pairs + pair)] += qi * kr - qr * ki;
        }
    q_2 += std::inner_product(all.q.begin(), all.q.end(), all.q.begin(), 0.0);
    k_2 += std::inner_product(all.k.begin(), all.k.end(), all.k.begin(), 0.0);
  }
  const auto heads = static_cast<double>(p.heads);
  // Two products of numbers of variance 4 and 1, each of variance at most 4 * (1 + 1). 8,064
  // numbers: 5.5 standard deviations.
  const double bound = 5.5 * std::sqrt(2 * 8 / heads);
  for (std::int64_t i = 0; i < tokens; ++i)
    for (std::int64_t j = 0; j < tokens; ++j)
      for (std::int64_t pair = 0; pair < pairs; ++pair) {
        const double alike = 2 * 2 * 0.75 * correlation(p, at(i, grid), at(j, grid)),
                     turned = angle(pair, at(i, grid), at(j, grid));
        const std::size_t n = index((i * tokens + j) * pairs + pair);
        EXPECT_NEAR(real[n] / heads, alike * std::cos(turned), bound)
            << i << " " << j << " " << pair;
        EXPECT_NEAR(imaginary[n] / heads, alike * std::sin(turned), bound)
            << i << " " << j << " " << pair;
      }
  // Smooth content correlates the squares of tokens and no others, so at most 24 alike each.
  const double elements = heads * static_cast<double>(tokens * head_dim);
  EXPECT_NEAR(k_2 / elements, 1, 5 * std::sqrt(2 * 24 / elements));
  EXPECT_NEAR(q_2 / elements, 4, 4 * 5 * std::sqrt(2 * 24 / elements));
}

TEST(SyntheticAttention, WithoutNoiseQueriesAreKeysTimesSharpness) {
  const Head all =
      head_of({.grid = {2, 5, 6}, .head_dim = 8, .noise = 0, .objects = 2, .sharpness = 4}, 3);
  for (std::size_t i = 0; i < all.q.size(); ++i) EXPECT_EQ(all.q[i], 4 * all.k[i]);
  EXPECT_NE(all.k, all.v);
}

// ---- Objects -----------------------------------------------------------------------------------

TEST(MovingObject, BoxesAndEllipsesMoveWithTheirVelocity) {
  for (const bool ellipse : {false, true}) {
    const MovingObject object{.ellipse = ellipse,
                              .y = 4,
                              .x = 9.5,
                              .velocity_y = 1,
                              .velocity_x = -2,
                              .half_height = 2,
                              .half_width = 3.5};
    for (std::int64_t t = 0; t < 4; ++t)
      for (std::int64_t y = -8; y < 16; ++y)
        for (std::int64_t x = -8; x < 24; ++x) {
          const double dy = static_cast<double>(y - 4 - t),
                       dx = static_cast<double>(x + 2 * t) - 9.5;
          const bool in_box = dy >= -2 && dy <= 2 && dx >= -3.5 && dx <= 3.5;
          const bool inside = ellipse ? dy * dy * 3.5 * 3.5 + dx * dx * 4 <= 49 : in_box;
          EXPECT_EQ(object.covers(t, y, x), inside) << ellipse << " " << t << " " << y << " " << x;
        }
  }
}

TEST(MovingObjects, AreSpreadOverTheirRanges) {
  const SyntheticAttention p{
      .grid = {9, 30, 50}, .objects = 4000, .object_size = 0.5, .speed = 1.5};
  const auto objects = moving_objects(p);
  ASSERT_EQ(objects.size(), 4000u);
  const auto expect_uniform = [&](double from, double to, auto value) {
    double sum = 0;
    for (const MovingObject& object : objects) {
      EXPECT_GE(value(object), from - 1e-9);
      EXPECT_LE(value(object), to + 1e-9);
      sum += value(object);
    }
    // Five standard deviations of a mean of 4,000.
    EXPECT_NEAR(sum / 4000, (from + to) / 2, 5 * (to - from) / std::sqrt(12. * 4000));
  };
  expect_uniform(-1.5, 1.5, [](const MovingObject& o) { return o.velocity_y; });
  expect_uniform(-1.5, 1.5, [](const MovingObject& o) { return o.velocity_x; });
  expect_uniform(1, 15, [](const MovingObject& o) { return 2 * o.half_height; });
  expect_uniform(1, 25, [](const MovingObject& o) { return 2 * o.half_width; });
  expect_uniform(-0.5, 29.5, [](const MovingObject& o) { return o.y + 4 * o.velocity_y; });
  expect_uniform(-0.5, 49.5, [](const MovingObject& o) { return o.x + 4 * o.velocity_x; });
  expect_uniform(0, 1, [](const MovingObject& o) { return o.ellipse ? 1.0 : 0.0; });
}

TEST(SyntheticAttention, ObjectsAreOfOneVectorWhereTheyAreSeen) {
  const Grid grid{4, 20, 24};
  const SyntheticAttention p{
      .grid = grid, .head_dim = 6, .noise = 0, .objects = 5, .object_size = 0.6, .seed = 3};
  const auto objects = moving_objects(p);
  std::vector<std::vector<std::int64_t>> seen(objects.size());
  std::vector<std::int64_t> background;
  std::size_t hidden = 0;
  for (std::int64_t token = 0; token < grid.tokens(); ++token) {
    const auto [t, y, x] = at(token, grid);
    std::vector<std::size_t> here;
    for (std::size_t i = 0; i < objects.size(); ++i)
      if (objects[i].covers(t, y, x)) here.push_back(i);
    hidden += here.size() > 1;
    (here.empty() ? background : seen[here.back()]).push_back(token);
  }
  ASSERT_GT(hidden, 0u);
  std::vector<Floats> vectors;
  for (const std::int64_t head : {0, 1}) {
    const Head all = head_of(p, head);
    const auto row = [](const Floats& x, std::int64_t token) {
      return Floats(x.begin() + token * 6, x.begin() + (token + 1) * 6);
    };
    // RoPE keeps the length of each pair of channels.
    const auto lengths = [&](std::int64_t token) {
      Floats of_pairs;
      for (std::size_t i = 0; i < 6; i += 2)
        of_pairs.push_back(std::hypot(row(all.k, token)[i], row(all.k, token)[i + 1]));
      return of_pairs;
    };
    for (const auto& tokens : seen) {
      ASSERT_GT(tokens.size(), 4u);
      vectors.push_back(row(all.v, tokens[0]));
      vectors.push_back(lengths(tokens[0]));
      const Floats values = row(all.v, tokens[0]);
      EXPECT_GT(std::abs(std::hypot(values[0], values[1]) - lengths(tokens[0])[0]), 1e-3);
      for (const auto token : tokens) {
        EXPECT_EQ(row(all.v, token), row(all.v, tokens[0]));
        for (std::size_t i = 0; i < 3; ++i)
          EXPECT_NEAR(lengths(token)[i], lengths(tokens[0])[i], 1e-5);
      }
    }
    for (std::size_t i = 0; i < 100; ++i) vectors.push_back(row(all.v, background[i]));
  }
  std::sort(vectors.begin(), vectors.end());
  EXPECT_EQ(std::adjacent_find(vectors.begin(), vectors.end()), vectors.end());
}

// ---- Sharpness ---------------------------------------------------------------------------------

/// Mean of exp(entropy) over all queries of head 0, in double.
double effective_tokens(const SyntheticAttention& p) {
  const Head all = head_of(p, 0);
  const std::int64_t tokens = p.grid.tokens(), dim = p.head_dim;
  double mean = 0;
  for (std::int64_t i = 0; i < tokens; ++i) {
    std::vector<double> row;
    for (std::int64_t j = 0; j < tokens; ++j)
      row.push_back(
          std::exp(std::inner_product(all.q.begin() + i * dim, all.q.begin() + (i + 1) * dim,
                                      all.k.begin() + j * dim, 0.0) /
                   std::sqrt(static_cast<double>(dim))));
    const double sum = std::accumulate(row.begin(), row.end(), 0.0);
    double entropy = 0;
    for (const double e : row) entropy -= e / sum * std::log(e / sum);
    mean += std::exp(entropy) / static_cast<double>(tokens);
  }
  return mean;
}

TEST(SharpnessFor, MeetsItsTarget) {
  SyntheticAttention p{.grid = {3, 8, 9}, .head_dim = 16};
  double last = 0;
  for (const double target : {180.0, 60.0, 12.0, 3.0}) {
    const Sharpness found = sharpness_for(p, target, 0);
    p.sharpness = found.sharpness;
    EXPECT_NEAR(found.effective_tokens, target, 0.001 * target);
    EXPECT_NEAR(effective_tokens(p), target, 0.001 * target);
    EXPECT_GT(found.sharpness, last);
    last = found.sharpness;
  }
}

TEST(SharpnessFor, SampledQueriesStandForAll) {
  SyntheticAttention p{.grid = {3, 12, 12}, .head_dim = 16};
  p.sharpness = sharpness_for(p, 40, 128).sharpness;
  const TensorErrors errors = tensor_errors(p.grid, {}, synthetic_heads(p),
                                            {.queries = 128, .seed = p.seed, .two_layer_heads = 0});
  // The queries of head 0 are the ones it was chosen with.
  EXPECT_NEAR(errors.head_effective_tokens[0], 40, 0.01);
  EXPECT_NEAR(effective_tokens(p), 40, 3 * std::sqrt(40.) * errors.effective_tokens.standard_error);
}

TEST(SharpnessFor, RefusesWhatCannotBe) {
  SyntheticAttention p{.grid = {2, 4, 4}, .head_dim = 8};
  EXPECT_THROW(sharpness_for(p, 32), InputError);
  EXPECT_THROW(sharpness_for(p, 0.5), InputError);
  EXPECT_THROW(sharpness_for(p, std::nan("")), InputError);
  EXPECT_NO_THROW(sharpness_for(p, 31.9));
}

// ---- As a source -------------------------------------------------------------------------------

TEST(SyntheticAttention, DependsOnSeedAndHeadAlone) {
  SyntheticAttention p{.grid = {5, 20, 30}, .head_dim = 16};
  const Head one = head_of(p, 2, 1);
  for (const int threads : {2, 5}) EXPECT_TRUE(head_of(p, 2, threads) == one);
  const auto all_differ = [](const Head& a, const Head& b) {
    return a.q != b.q && a.k != b.k && a.v != b.v;
  };
  EXPECT_TRUE(all_differ(head_of(p, 3), one));
  const AttentionHeads source = synthetic_heads(p, 2);
  EXPECT_EQ(source.heads, p.heads);
  EXPECT_EQ(source.head_dim, p.head_dim);
  Head from_source(one);
  source.fill(3, from_source.q, from_source.k, from_source.v);
  EXPECT_TRUE(from_source == head_of(p, 3));
  source.fill(2, from_source.q, from_source.k, from_source.v);
  EXPECT_TRUE(from_source == one);
  p.seed = 2;
  EXPECT_TRUE(all_differ(head_of(p, 2), one));
  p.seed = 1 + (std::uint64_t{1} << 40);
  EXPECT_TRUE(all_differ(head_of(p, 2), one));
}

TEST(SyntheticAttention, RefusesParametersOutOfRange) {
  const auto refuses = [](auto change) {
    SyntheticAttention p{.grid = {2, 3, 4}, .heads = 2, .head_dim = 8};
    EXPECT_NO_THROW(synthetic_heads(p));
    change(p);
    EXPECT_THROW(synthetic_heads(p), InputError);
    EXPECT_THROW(moving_objects(p), InputError);
  };
  refuses([](SyntheticAttention& p) { p.heads = 0; });
  refuses([](SyntheticAttention& p) { p.head_dim = 7; });
  refuses([](SyntheticAttention& p) { p.length_y = -1; });
  refuses([](SyntheticAttention& p) { p.length_x = std::nan(""); });
  refuses([](SyntheticAttention& p) { p.noise = 1.1; });
  refuses([](SyntheticAttention& p) { p.noise = -0.1; });
  refuses([](SyntheticAttention& p) { p.objects = -1; });
  refuses([](SyntheticAttention& p) { p.object_size = 0; });
  refuses([](SyntheticAttention& p) { p.object_size = 1.5; });
  refuses([](SyntheticAttention& p) { p.speed = -1; });
  refuses([](SyntheticAttention& p) { p.sharpness = -1; });
  Floats wrong(5), right(2 * 3 * 4 * 8);
  const SyntheticAttention p{.grid = {2, 3, 4}, .heads = 2, .head_dim = 8};
  EXPECT_THROW(fill_synthetic_head(p, 0, right, wrong, right), std::invalid_argument);
}

}  // namespace
}  // namespace ospsim
