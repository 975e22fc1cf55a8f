#include "analysis/tensor_error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

using Doubles = std::vector<double>;
constexpr Backend both_backends[] = {Backend::naive, Backend::cpu};

// ---- What is studied ---------------------------------------------------------------------------

/// Heads of normal numbers. `sharpness` multiplies q.
struct Tensors {
  std::int64_t tokens = 0, heads = 0, head_dim = 0;
  std::vector<float> q, k, v;  ///< [heads, tokens, head_dim]

  AttentionHeads source() const {
    return {heads, head_dim,
            [this](std::int64_t head, std::span<float> to_q, std::span<float> to_k,
                   std::span<float> to_v) {
              const std::int64_t size = tokens * head_dim;
              std::copy_n(q.begin() + head * size, size, to_q.begin());
              std::copy_n(k.begin() + head * size, size, to_k.begin());
              std::copy_n(v.begin() + head * size, size, to_v.begin());
            }};
  }
};

Tensors tensors(const Grid& grid, std::int64_t heads, std::int64_t head_dim, std::uint64_t seed,
                double sharpness = 1.5) {
  Tensors all{grid.tokens(), heads, head_dim, {}, {}, {}};
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  for (auto* x : {&all.q, &all.k, &all.v})
    for (std::int64_t i = 0; i < heads * grid.tokens() * head_dim; ++i)
      x->push_back(static_cast<float>(normal(random) * (x == &all.q ? sharpness : 1)));
  return all;
}

/// One axis from who attends to whom, coordinate by coordinate: a block each.
template <class Attends>
AxisMask axis_of(std::int64_t extent, std::int64_t stride, Attends attends) {
  AxisMask axis{.token_stride = stride, .block_of = {}, .blocks = extent, .allowed = {}};
  for (std::int64_t query = 0; query < extent; ++query) {
    axis.block_of.push_back(static_cast<std::int32_t>(query));
    for (std::int64_t key = 0; key < extent; ++key)
      axis.allowed.push_back(attends(query, key) ? 1 : 0);
  }
  return axis;
}

bool to_all(std::int64_t, std::int64_t) {
  return true;
}
bool of_like_parity(std::int64_t a, std::int64_t b) {
  return a % 2 == b % 2;
}
bool of_like_half(std::int64_t a, std::int64_t b) {
  return a / 2 % 2 == b / 2 % 2;
}
bool near(std::int64_t a, std::int64_t b) {
  return std::abs(a - b) <= 1;
}

template <class T, class Y, class X>
Mask video_mask(const Grid& g, T t, Y y, X x) {
  return {g, {axis_of(g.t, g.h * g.w, t), axis_of(g.h, g.w, y), axis_of(g.w, 1, x)}};
}
template <class I>
Mask flat_mask(const Grid& g, I i) {
  return {g, {axis_of(g.tokens(), 1, i)}};
}
/// Random blocks and a random relation of them, in which every block attends to itself.
AxisMask random_axis(std::int64_t extent, std::int64_t stride, std::mt19937_64& random) {
  AxisMask axis{.token_stride = stride, .block_of = {}, .blocks = 0, .allowed = {}};
  axis.blocks = std::uniform_int_distribution<std::int64_t>(1, extent)(random);
  for (std::int64_t c = 0; c < extent; ++c)
    axis.block_of.push_back(static_cast<std::int32_t>(
        c < axis.blocks ? c
                        : std::uniform_int_distribution<std::int64_t>(0, axis.blocks - 1)(random)));
  std::shuffle(axis.block_of.begin(), axis.block_of.end(), random);
  for (std::int64_t i = 0; i < axis.blocks * axis.blocks; ++i)
    axis.allowed.push_back(i % (axis.blocks + 1) == 0 || random() % 3 == 0);
  return axis;
}
Mask random_mask(const Grid& g, std::mt19937_64& random) {
  switch (random() % 3) {
    case 0:
      return {g, {random_axis(g.tokens(), 1, random)}};
    case 1:
      return {g, {random_axis(g.t, g.h * g.w, random), random_axis(g.h * g.w, 1, random)}};
    default:
      return {g,
              {random_axis(g.t, g.h * g.w, random), random_axis(g.h, g.w, random),
               random_axis(g.w, 1, random)}};
  }
}

std::vector<MaskedPattern> some_patterns(const Grid& g) {
  return {{"parity, halves",
           {video_mask(g, to_all, of_like_parity, of_like_parity),
            video_mask(g, to_all, of_like_half, of_like_half)}},
          {"neighbours", {video_mask(g, near, near, near)}},
          {"band",
           {flat_mask(g, [](auto a, auto b) { return std::abs(a - b) < 7; }),
            flat_mask(g, [](auto a, auto b) { return b <= a; })}},
          {"itself", {flat_mask(g, [](auto a, auto b) { return a == b; })}}};
}

// ---- The oracle: every pair of tokens, in double -----------------------------------------------

using Matrix = std::vector<Doubles>;
using Allowed = std::vector<std::vector<bool>>;

Allowed pairs_of(const Mask& mask) {
  const std::int64_t tokens = mask.grid.tokens();
  Allowed allowed(index(tokens), std::vector<bool>(index(tokens), true));
  for (std::int64_t i = 0; i < tokens; ++i)
    for (std::int64_t j = 0; j < tokens; ++j)
      for (const AxisMask& axis : mask.axes) {
        const auto block = [&](std::int64_t token) {
          return std::int64_t{axis.block_of[index(token / axis.token_stride % axis.extent())]};
        };
        if (axis.allowed[index(block(i) * axis.blocks + block(j))] == 0)
          allowed[index(i)][index(j)] = false;
      }
  return allowed;
}

Matrix head_of(const std::vector<float>& x, const Tensors& of, std::int64_t head) {
  Matrix rows;
  for (std::int64_t i = 0; i < of.tokens; ++i) {
    const auto row = x.begin() + (head * of.tokens + i) * of.head_dim;
    rows.emplace_back(row, row + of.head_dim);
  }
  return rows;
}

/// Rows of softmax of full attention.
Matrix probabilities(const Matrix& q, const Matrix& k) {
  Matrix p;
  for (const Doubles& query : q) {
    Doubles& row = p.emplace_back();
    for (const Doubles& key : k)
      row.push_back(std::exp(std::inner_product(query.begin(), query.end(), key.begin(), 0.0) /
                             std::sqrt(static_cast<double>(query.size()))));
    const double sum = std::accumulate(row.begin(), row.end(), 0.0);
    for (double& value : row) value /= sum;
  }
  return p;
}

double kept(const Doubles& p, const std::vector<bool>& allowed) {
  double sum = 0;
  for (std::size_t j = 0; j < p.size(); ++j) sum += allowed[j] ? p[j] : 0;
  return sum;
}

Matrix masked_output(const Matrix& p, const Allowed& allowed, const Matrix& v) {
  Matrix o;
  for (std::size_t i = 0; i < p.size(); ++i) {
    Doubles& row = o.emplace_back(v[0].size());
    const double sum = kept(p[i], allowed[i]);
    for (std::size_t j = 0; j < p.size(); ++j)
      if (allowed[i][j])
        for (std::size_t d = 0; d < row.size(); ++d) row[d] += p[i][j] / sum * v[j][d];
  }
  return o;
}

Matrix plus(Matrix a, const Matrix& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t d = 0; d < a[i].size(); ++d) a[i][d] += b[i][d];
  return a;
}

double distance_2(const Matrix& a, const Matrix& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t d = 0; d < a[i].size(); ++d) sum += (a[i][d] - b[i][d]) * (a[i][d] - b[i][d]);
  return sum;
}
double norm_2(const Matrix& a) {
  return distance_2(a, Matrix(a.size(), Doubles(a[0].size())));
}

struct Expected {
  double effective_tokens = 0;
  Doubles head_effective_tokens;
  std::vector<PatternError> patterns;
};

Expected by_hand(const Tensors& of, std::span<const MaskedPattern> patterns,
                 std::int64_t two_layer_heads) {
  const auto heads = static_cast<double>(of.heads), tokens = static_cast<double>(of.tokens);
  Expected all;
  std::vector<Matrix> q, k, v, p, o;
  double output_2 = 0;
  const Allowed everything(index(of.tokens), std::vector<bool>(index(of.tokens), true));
  for (std::int64_t head = 0; head < of.heads; ++head) {
    v.push_back(head_of(of.v, of, head));
    p.push_back(probabilities(head_of(of.q, of, head), head_of(of.k, of, head)));
    o.push_back(masked_output(p.back(), everything, v.back()));
    output_2 += norm_2(o.back());
    double sum = 0;
    for (const Doubles& row : p.back()) {
      double entropy = 0;
      for (const double x : row) entropy -= x * std::log(x);
      sum += std::exp(entropy);
    }
    all.head_effective_tokens.push_back(sum / tokens);
    all.effective_tokens += sum / tokens / heads;
  }
  for (const MaskedPattern& pattern : patterns) {
    PatternError& error = all.patterns.emplace_back();
    const auto phases = static_cast<double>(pattern.phases.size());
    error.head_recall.resize(v.size());
    error.head_output_error.resize(v.size());
    for (const Mask& mask : pattern.phases) {
      const Allowed allowed = pairs_of(mask);
      TensorPhaseError& phase = error.phases.emplace_back();
      double error_2 = 0;
      for (std::size_t head = 0; head < v.size(); ++head) {
        double recall = 0;
        for (std::size_t i = 0; i < allowed.size(); ++i)
          recall += kept(p[head][i], allowed[i]) / tokens;
        const double head_2 = distance_2(masked_output(p[head], allowed, v[head]), o[head]);
        phase.head_recall.push_back(recall);
        phase.head_output_error.push_back(std::sqrt(head_2 / norm_2(o[head])));
        phase.recall.value += recall / heads;
        error_2 += head_2;
        error.head_recall[head] += recall / phases;
        error.head_output_error[head] += head_2 / norm_2(o[head]) / phases;
      }
      phase.output_error.value = std::sqrt(error_2 / output_2);
      error.recall.value += phase.recall.value / phases;
      error.output_error.value += error_2 / output_2 / phases;
    }
    error.output_error.value = std::sqrt(error.output_error.value);
    for (double& x : error.head_output_error) x = std::sqrt(x);

    if (two_layer_heads == 0) continue;
    double error_2 = 0, update_2 = 0, final_2 = 0;
    const Allowed first = pairs_of(pattern.phases.front()),
                  second = pairs_of(pattern.phases.back());
    for (std::size_t head = 0; head < index(two_layer_heads); ++head) {
      const auto layers = [&](const Allowed& one, const Allowed& two) {
        const Matrix h1 = plus(v[head], masked_output(p[head], one, v[head]));
        return plus(h1, masked_output(p[head], two, h1));
      };
      const Matrix h2_full = layers(everything, everything), h2 = layers(first, second);
      error_2 += distance_2(h2, h2_full);
      update_2 += distance_2(h2_full, v[head]);
      final_2 += norm_2(h2_full);
    }
    error.two_layers =
        TwoLayerError{{std::sqrt(error_2 / update_2), 0}, {std::sqrt(error_2 / final_2), 0}};
  }
  return all;
}

/// Everything a study says, in one row.
Doubles values_of(double effective_tokens, const Doubles& head_effective_tokens,
                  const std::vector<PatternError>& patterns) {
  Doubles all{effective_tokens};
  const auto append = [&](const Doubles& x) { all.insert(all.end(), x.begin(), x.end()); };
  append(head_effective_tokens);
  for (const PatternError& pattern : patterns) {
    for (const TensorPhaseError& phase : pattern.phases) {
      append({phase.recall.value, phase.output_error.value});
      append(phase.head_recall);
      append(phase.head_output_error);
    }
    append({pattern.recall.value, pattern.output_error.value});
    append(pattern.head_recall);
    append(pattern.head_output_error);
    if (pattern.two_layers)
      append({pattern.two_layers->of_update.value, pattern.two_layers->of_output.value});
  }
  return all;
}
Doubles values_of(const TensorErrors& errors) {
  return values_of(errors.effective_tokens.value, errors.head_effective_tokens, errors.patterns);
}

std::vector<Estimate> estimates_of(const TensorErrors& errors) {
  std::vector<Estimate> all{errors.effective_tokens};
  for (const PatternError& pattern : errors.patterns) {
    for (const TensorPhaseError& phase : pattern.phases)
      all.insert(all.end(), {phase.recall, phase.output_error});
    all.insert(all.end(), {pattern.recall, pattern.output_error});
    if (pattern.two_layers)
      all.insert(all.end(), {pattern.two_layers->of_update, pattern.two_layers->of_output});
  }
  return all;
}

void expect_as_by_hand(const Tensors& of, const Grid& grid, std::span<const MaskedPattern> patterns,
                       std::int64_t two_layer_heads) {
  const Expected expected = by_hand(of, patterns, two_layer_heads);
  const Doubles b =
      values_of(expected.effective_tokens, expected.head_effective_tokens, expected.patterns);
  for (const Backend backend : both_backends) {
    const TensorErrors errors =
        tensor_errors(grid, patterns, of.source(),
                      {.queries = 0, .two_layer_heads = two_layer_heads, .backend = backend}, {});
    const Doubles a = values_of(errors);
    ASSERT_EQ(a.size(), b.size());
    // exp of a float32 log-sum-exp: some units of 6e-8 times logits of up to about ten.
    const double tolerance = backend == Backend::naive ? 1e-12 : 2e-5;
    for (std::size_t i = 0; i < a.size(); ++i)
      EXPECT_NEAR(a[i], b[i], tolerance * std::max(1.0, b[i])) << i;
    for (const Estimate& estimate : estimates_of(errors)) EXPECT_EQ(estimate.standard_error, 0);
  }
}

// ---- Every token -------------------------------------------------------------------------------

TEST(TensorErrors, OfEveryTokenAreThoseOfAllPairs) {
  for (const Grid& grid : {Grid{3, 5, 4}, Grid{2, 4, 4}, Grid{1, 7, 3}, Grid{1, 1, 1}}) {
    SCOPED_TRACE(to_string(grid));
    const Tensors of = tensors(grid, 2, 6, 5);
    expect_as_by_hand(of, grid, some_patterns(grid), 2);
  }
}

TEST(TensorErrors, OfRandomMasksAreThoseOfAllPairs) {
  std::mt19937_64 random(17);
  for (std::uint64_t round = 0; round < 40; ++round) {
    SCOPED_TRACE(round);
    const auto extent = [&] { return static_cast<std::int64_t>(1 + random() % 5); };
    const Grid grid{extent(), extent(), extent()};
    std::vector<MaskedPattern> patterns;
    for (std::uint64_t i = 0; i < 3; ++i) {
      auto& pattern = patterns.emplace_back();
      for (std::uint64_t phase = 0; phase <= i % 2; ++phase)
        pattern.phases.push_back(random_mask(grid, random));
    }
    expect_as_by_hand(tensors(grid, 1 + static_cast<std::int64_t>(round % 3), 5, round), grid,
                      patterns, static_cast<std::int64_t>(round % 2));
  }
}

TEST(TensorErrors, OfLargeGroupsAreThoseOfAllPairs) {
  // More queries and keys than a tile of the cpu back end holds, more groups than are merged.
  const Grid grid{4, 11, 10};
  const std::vector<MaskedPattern> patterns{
      {"halves of time", {video_mask(grid, of_like_parity, to_all, to_all)}},
      {"long band",
       {flat_mask(grid, [](auto a, auto b) { return std::abs(a - b) < 150; }),
        video_mask(grid, to_all, near, near)}}};
  expect_as_by_hand(tensors(grid, 1, 8, 3), grid, patterns, 1);
}

TEST(TensorErrors, OfSharpAttentionAreThoseOfAllPairs) {
  // Logits of up to about a hundred: nothing of what a query does not attend to may leak in.
  const Grid grid{2, 5, 6};
  expect_as_by_hand(tensors(grid, 1, 8, 4, 12), grid, some_patterns(grid), 1);
}

TEST(TensorErrors, TwoLayersOfTheFirstHeadsOnly) {
  const Grid grid{2, 3, 4};
  const Tensors of = tensors(grid, 3, 4, 9);
  for (const std::int64_t heads : {0, 1, 2})
    expect_as_by_hand(of, grid, some_patterns(grid), heads);
  const auto study = [&](std::int64_t heads) {
    return tensor_errors(grid, some_patterns(grid), of.source(), {.two_layer_heads = heads});
  };
  EXPECT_FALSE(study(0).patterns[0].two_layers);
  EXPECT_EQ(study(0).two_layer_heads, 0);
  EXPECT_EQ(study(7).two_layer_heads, 3);
  EXPECT_EQ(values_of(study(7)), values_of(study(3)));
}

TEST(TensorErrors, FullAttentionIsExact) {
  const Grid grid{3, 4, 5};
  const Tensors of = tensors(grid, 2, 6, 8);
  const std::vector<MaskedPattern> patterns{
      {"full", {video_mask(grid, to_all, to_all, to_all)}},
      {"full, flat", {flat_mask(grid, to_all), flat_mask(grid, to_all)}},
      {"ratio 1",
       {mask_of(Layout(parse_pattern("skiparse-2d", {1, 1, 1}), grid, Phase::token)),
        mask_of(Layout(parse_pattern("skiparse-2d", {1, 1, 1}), grid, Phase::group))}}};
  for (const Backend backend : both_backends)
    for (const std::int64_t queries : {0, 13}) {
      const TensorErrors errors =
          tensor_errors(grid, patterns, of.source(), {.queries = queries, .backend = backend});
      for (const PatternError& pattern : errors.patterns) {
        for (const TensorPhaseError& phase : pattern.phases) {
          EXPECT_EQ(phase.recall.value, 1);
          EXPECT_EQ(phase.recall.standard_error, 0);
          EXPECT_EQ(phase.output_error.value, 0);
          EXPECT_EQ(phase.output_error.standard_error, 0);
          EXPECT_EQ(phase.head_recall, (Doubles{1, 1}));
          EXPECT_EQ(phase.head_output_error, (Doubles{0, 0}));
        }
        EXPECT_EQ(pattern.recall.value, 1);
        EXPECT_EQ(pattern.output_error.value, 0);
        EXPECT_EQ(pattern.two_layers->of_update.value, 0);
        EXPECT_EQ(pattern.two_layers->of_output.value, 0);
      }
    }
}

TEST(TensorErrors, EffectiveTokensOfKnownRows) {
  const Grid grid{2, 3, 4};
  const auto effective = [&](const Tensors& of) {
    return tensor_errors(grid, {}, of.source(), {.backend = Backend::naive}).effective_tokens.value;
  };
  EXPECT_NEAR(effective(tensors(grid, 2, 6, 8, 0)), 24, 1e-12);
  // Each query is alike to its own key: 600 against 0.
  Tensors sharp = tensors(grid, 1, 24, 8);
  for (std::size_t i = 0; i < sharp.q.size(); ++i)
    sharp.k[i] = sharp.q[i] = i / 24 == i % 24 ? 60.0f : 0.0f;
  EXPECT_NEAR(effective(sharp), 1, 1e-12);
}

// ---- Sampled queries ---------------------------------------------------------------------------

TEST(DrawnTokens, AreDifferentAscendingAndAllAlikeLikely) {
  std::vector<int> drawn(30);
  constexpr int rounds = 3000;
  for (std::uint64_t seed = 0; seed < rounds; ++seed) {
    const auto tokens = drawn_tokens(30, 7, seed);
    ASSERT_EQ(tokens.size(), 7u);
    ASSERT_TRUE(std::adjacent_find(tokens.begin(), tokens.end(), std::greater_equal<>()) ==
                tokens.end());
    for (const auto token : tokens) ++drawn.at(index(token));
  }
  // Binomial: 5 standard deviations.
  const double share = 7. / 30, bound = 5 * std::sqrt(rounds * share * (1 - share));
  for (const int count : drawn) EXPECT_NEAR(count, rounds * share, bound);
  EXPECT_EQ(drawn_tokens(30, 7, 3), drawn_tokens(30, 7, 3));
  std::vector<std::int64_t> all(30);
  std::iota(all.begin(), all.end(), 0);
  for (const std::int64_t n : {0, 30, 31}) EXPECT_EQ(drawn_tokens(30, n, 1), all);
}

TEST(TensorErrors, StandardErrorsAreTheSpreadOverDraws) {
  const Grid grid{3, 10, 8};
  const Tensors of = tensors(grid, 2, 6, 21);
  const auto patterns = some_patterns(grid);
  const auto study = [&](std::int64_t queries, std::uint64_t seed) {
    return estimates_of(
        tensor_errors(grid, patterns, of.source(),
                      {.queries = queries, .seed = seed, .two_layer_heads = 1, .threads = 1}));
  };
  const auto exact = study(0, 1);
  constexpr int draws = 300;
  Doubles deviation(exact.size()), deviation_2(exact.size()), error_2(exact.size());
  int within_3 = 0;
  for (int draw = 0; draw < draws; ++draw) {
    const auto sampled = study(120, static_cast<std::uint64_t>(draw));
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double by = sampled[i].value - exact[i].value;
      deviation[i] += by / draws;
      deviation_2[i] += by * by / draws;
      error_2[i] += sampled[i].standard_error * sampled[i].standard_error / draws;
      within_3 += std::abs(by) <= 3 * sampled[i].standard_error ? 1 : 0;
    }
  }
  // The spread of 300 normal numbers is known to 4 %, their mean to 0.06 of it; the delta method
  // leaves out some more. Without the finite-population factor the ratio would be 1.41.
  for (std::size_t i = 0; i < exact.size(); ++i) {
    EXPECT_NEAR(std::sqrt(error_2[i] / deviation_2[i]), 1, 0.2) << i;
    EXPECT_NEAR(deviation[i] / std::sqrt(deviation_2[i]), 0, 0.3) << i;
  }
  EXPECT_GE(within_3, 0.98 * draws * static_cast<double>(exact.size()));
}

TEST(TensorErrors, OfOneQuery) {
  const Grid grid{2, 3, 4};
  const Tensors of = tensors(grid, 2, 4, 2);
  const TensorErrors errors =
      tensor_errors(grid, some_patterns(grid), of.source(), {.queries = 1, .seed = 5});
  EXPECT_EQ(errors.queries, 1);
  for (const Estimate& estimate : estimates_of(errors)) {
    EXPECT_GT(estimate.value, 0);
    EXPECT_TRUE(std::isinf(estimate.standard_error)) << "one query says nothing of the spread";
  }
}

// ---- How it is asked ---------------------------------------------------------------------------

TEST(TensorErrors, DoNotDependOnTheNumberOfThreads) {
  const Grid grid{3, 9, 8};
  const Tensors of = tensors(grid, 2, 6, 33);
  for (const std::int64_t queries : {0, 50}) {
    const auto study = [&](int threads) {
      return tensor_errors(grid, some_patterns(grid), of.source(),
                           {.queries = queries, .threads = threads});
    };
    const TensorErrors one = study(1);
    for (const int threads : {2, 5}) {
      const TensorErrors many = study(threads);
      EXPECT_EQ(values_of(many), values_of(one));
      for (std::size_t i = 0; i < estimates_of(one).size(); ++i)
        EXPECT_EQ(estimates_of(many)[i].standard_error, estimates_of(one)[i].standard_error);
    }
  }
}

TEST(TensorErrors, SayWhatWasStudiedAndHowFarItIs) {
  const Grid grid{2, 4, 5};
  const Tensors of = tensors(grid, 3, 4, 1);
  Doubles heard;
  const TensorErrors errors =
      tensor_errors(grid, some_patterns(grid), of.source(), {.queries = 9, .two_layer_heads = 2},
                    [&](double fraction) { heard.push_back(fraction); });
  EXPECT_EQ(errors.tokens, 40);
  EXPECT_EQ(errors.queries, 9);
  EXPECT_EQ(errors.heads, 3);
  EXPECT_EQ(errors.two_layer_heads, 2);
  EXPECT_EQ(errors.patterns[1].name, "neighbours");
  ASSERT_FALSE(heard.empty());
  EXPECT_TRUE(std::is_sorted(heard.begin(), heard.end()));
  EXPECT_GT(heard.front(), 0);
  EXPECT_EQ(heard.back(), 1);
}

TEST(TensorErrors, RefuseWhatDoesNotFit) {
  const Grid grid{2, 4, 5};
  const Tensors of = tensors(grid, 1, 4, 1);
  const Mask mask = video_mask(grid, to_all, near, near);
  const auto study = [&](const MaskedPattern& pattern, const AttentionHeads& source,
                         Backend backend = Backend::cpu) {
    return tensor_errors(grid, std::span(&pattern, 1), source, {.backend = backend});
  };
  EXPECT_NO_THROW(study({"a", {mask}}, of.source()));
  EXPECT_THROW(study({"a", {}}, of.source()), InputError);
  EXPECT_THROW(study({"a", {mask, mask, mask}}, of.source()), InputError);
  EXPECT_THROW(study({"a", {video_mask({2, 5, 4}, to_all, near, near)}}, of.source()), InputError);
  EXPECT_THROW(study({"a", {mask}}, {0, 4, of.source().fill}), InputError);
  EXPECT_THROW(study({"a", {mask}}, {1, 0, of.source().fill}), InputError);
  EXPECT_THROW(study({"a", {mask}}, of.source(), Backend::cuda), InputError);
}

}  // namespace
}  // namespace ospsim
