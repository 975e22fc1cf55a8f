// Queries of like keys are one group of attention. A sample of queries under a mask that is no
// partition makes hundreds of groups of a query or two, and bringing the keys to the kernel costs
// more than the products; hence groups of overlapping keys are merged (attend_merged).
//
// CPU seconds per head of 80,640 tokens and 128 channels, 1,024 queries, cpu back end, AVX-512
// (one run each, on a shared machine, hence no wall clock):
//                                                    radial   local     sliding   one phase of
//                                                    B = 128  21x24x40  6x8x8     sparsity 4
//   version 1   a group for each set of keys         2.85     1.40      0.17      0.12
//   version 2   up to 32 groups merged, their keys   1.31     0.61      0.25      0.12
//               and values copied for each
//   version 3   keys copied once per thread, only    0.89     0.47      0.27      0.12
//               the groups' channels rewritten
// Making a synthetic head and full attention with its entropy take 2.0 together. Eight patterns on
// 40 synthetic heads: 194 CPU seconds, and 115 more for two layers of one head.

#include "analysis/tensor_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <thread>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

using Rows = std::vector<std::int64_t>;

// ---- Who attends to whom -----------------------------------------------------------------------

/// Queries (places in the list of queries) that attend to keys (tokens), some of them each to its
/// own share of the keys.
struct Batch {
  Rows queries, keys;
  std::int64_t groups = 1;
  std::vector<std::int64_t> group_of;    ///< [queries]
  std::vector<std::uint64_t> attending;  ///< [keys], bit g: group g attends to the key

  std::int64_t pairs() const { return std::ssize(queries) * std::ssize(keys); }
};

/// Bringing a key to the kernel costs what computing about this many queries with it does.
constexpr std::int64_t queries_per_packing = 30;
constexpr std::int64_t max_merged_groups = 32;
constexpr std::int64_t max_merged_queries = 384;

std::int64_t cost(std::int64_t queries, std::int64_t keys) {
  return (queries + queries_per_packing) * keys;
}

Batch merged(const Batch& a, const Batch& b) {
  Batch both;
  both.groups = a.groups + b.groups;
  both.queries = a.queries;
  both.queries.insert(both.queries.end(), b.queries.begin(), b.queries.end());
  both.group_of = a.group_of;
  for (const auto group : b.group_of) both.group_of.push_back(a.groups + group);
  both.keys.reserve(a.keys.size() + b.keys.size());
  both.attending.reserve(a.keys.size() + b.keys.size());
  for (std::size_t i = 0, j = 0; i < a.keys.size() || j < b.keys.size();) {
    const bool of_a = j == b.keys.size() || (i < a.keys.size() && a.keys[i] <= b.keys[j]);
    const bool of_b = i == a.keys.size() || (j < b.keys.size() && b.keys[j] <= a.keys[i]);
    both.keys.push_back(of_a ? a.keys[i] : b.keys[j]);
    both.attending.push_back((of_a ? a.attending[i] : 0) | (of_b ? b.attending[j] << a.groups : 0));
    i += of_a;
    j += of_b;
  }
  return both;
}

/// Along one axis: which blocks of queries have the same keys, and the coordinates they attend to.
struct AxisKeys {
  std::vector<std::int64_t> class_of;  ///< [blocks]: the first block with the same keys
  std::vector<Rows> coordinates;       ///< [blocks]
};

AxisKeys keys_of(const AxisMask& axis) {
  AxisKeys keys;
  std::map<Rows, std::int64_t> first;
  for (std::int64_t block = 0; block < axis.blocks; ++block) {
    const auto allowed = std::span(axis.allowed).subspan(index(block * axis.blocks));
    Rows coordinates;
    for (std::int64_t c = 0; c < axis.extent(); ++c)
      if (allowed[index(axis.block_of[index(c)])] != 0) coordinates.push_back(c);
    keys.class_of.push_back(first.try_emplace(coordinates, block).first->second);
    keys.coordinates.push_back(std::move(coordinates));
  }
  return keys;
}

/// Queries of the same keys form one group. Neighbouring groups of few queries are merged where
/// their keys overlap so much that this is cheaper.
std::vector<Batch> batches_of(const Mask& mask, const Rows& queries) {
  std::vector<AxisKeys> axes;
  for (const AxisMask& axis : mask.axes) axes.push_back(keys_of(axis));

  std::map<Rows, Rows> groups;
  for (std::int64_t i = 0; i < std::ssize(queries); ++i) {
    Rows classes;
    for (std::size_t a = 0; a < axes.size(); ++a) {
      const AxisMask& axis = mask.axes[a];
      const std::int64_t at = queries[index(i)] / axis.token_stride % axis.extent();
      classes.push_back(axes[a].class_of[index(axis.block_of[index(at)])]);
    }
    groups[classes].push_back(i);
  }

  std::vector<Batch> batches;
  for (auto& [classes, rows] : groups) {
    Batch next;
    next.queries = std::move(rows);
    next.keys = {0};
    for (std::size_t a = 0; a < axes.size(); ++a) {
      Rows longer;
      for (const auto token : next.keys)
        for (const auto c : axes[a].coordinates[index(classes[a])])
          longer.push_back(token + c * mask.axes[a].token_stride);
      next.keys = std::move(longer);
    }
    next.group_of.assign(next.queries.size(), 0);
    next.attending.assign(next.keys.size(), 1);
    if (!batches.empty()) {
      Batch& last = batches.back();
      const auto count = std::ssize(last.queries) + std::ssize(next.queries);
      if (last.groups < max_merged_groups && count <= max_merged_queries) {
        Batch both = merged(last, next);
        if (cost(count, std::ssize(both.keys)) <=
            cost(std::ssize(last.queries), std::ssize(last.keys)) +
                cost(std::ssize(next.queries), std::ssize(next.keys))) {
          last = std::move(both);
          continue;
        }
      }
    }
    batches.push_back(std::move(next));
  }
  return batches;
}

std::int64_t pairs_of(const std::vector<Batch>& batches) {
  std::int64_t pairs = 0;
  for (const Batch& batch : batches) pairs += batch.pairs();
  return pairs;
}

// ---- Attention ---------------------------------------------------------------------------------

template <class T>
HeadTensor<T> one_head(T* data, std::int64_t rows, std::int64_t head_dim) {
  return heads_first(data, 1, rows, head_dim);
}

/// Rows with room for a channel per merged group, which are 0.
template <class T>
std::vector<T> widened(HeadTensor<const T> x) {
  const std::int64_t wide = x.head_dim + max_merged_groups;
  std::vector<T> y(index(x.rows * wide));
  for (std::int64_t i = 0; i < x.rows; ++i)
    std::copy_n(x.row(0, i), x.head_dim, y.begin() + i * wide);
  return y;
}

/// Attention takes groups, not masks, so each group of the batch has a channel of its own, in which
/// its queries are very negative and keys it does not attend to are 1: their logits fall so far
/// that their exponentials are 0, while those of the others do not change. `k` and `v` are widened.
template <Backend B>
void attend_merged(const Batch& batch, HeadTensor<const Real<B>> q, HeadTensor<Real<B>> k,
                   HeadTensor<const Real<B>> v, HeadTensor<Real<B>> o, std::span<Real<B>> lse) {
  using T = Real<B>;
  constexpr T far = -1e7;
  const std::int64_t queries = std::ssize(batch.queries), head_dim = q.head_dim, wide = k.head_dim;
  // Attention divides by the root of the wider head_dim.
  const auto scale =
      static_cast<T>(std::sqrt(static_cast<double>(wide) / static_cast<double>(head_dim)));
  AttentionGroup group{Rows(index(queries)), batch.keys};
  std::iota(group.queries.begin(), group.queries.end(), 0);
  std::vector<T> wide_q(index(queries * wide)), wide_o(wide_q.size()), group_lse(index(queries));
  for (std::int64_t i = 0; i < queries; ++i) {
    T* const to = wide_q.data() + i * wide;
    const T* const from = q.row(0, batch.queries[index(i)]);
    for (std::int64_t d = 0; d < head_dim; ++d) to[d] = scale * from[d];
    to[head_dim + batch.group_of[index(i)]] = far;
  }
  for (std::size_t j = 0; j < batch.keys.size(); ++j) {
    T* const channels = k.row(0, batch.keys[j]) + head_dim;
    for (std::int64_t g = 0; g < batch.groups; ++g)
      channels[g] = static_cast<T>(~batch.attending[j] >> g & 1);
  }
  attention_forward<B>(std::span(&group, 1), one_head<const T>(wide_q.data(), queries, wide), k, v,
                       one_head(wide_o.data(), queries, wide), group_lse, 1);
  for (std::int64_t i = 0; i < queries; ++i) {
    const std::int64_t row = batch.queries[index(i)];
    std::copy_n(wide_o.data() + i * wide, head_dim, o.row(0, row));
    if (!lse.empty()) lse[index(row)] = group_lse[index(i)];
  }
}

template <Backend B>
void attend(const std::vector<Batch>& batches, HeadTensor<const Real<B>> q,
            HeadTensor<const Real<B>> k, HeadTensor<const Real<B>> v, HeadTensor<Real<B>> o,
            std::span<Real<B>> lse, int threads) {
  using T = Real<B>;
  std::vector<AttentionGroup> groups;
  std::vector<const Batch*> of_several;
  for (const Batch& batch : batches) {
    if (batch.groups == 1)
      groups.push_back({batch.queries, batch.keys});
    else
      of_several.push_back(&batch);
  }
  attention_forward<B>(groups, q, k, v, o, lse, threads);
  if (of_several.empty()) return;

  const std::int64_t wide = k.head_dim + max_merged_groups;
  const std::vector<T> wide_v = widened(v);
  const auto cores = static_cast<std::int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  const std::int64_t workers = std::min(threads == 0 ? cores : threads, std::ssize(of_several));
  parallel_for(workers, threads, [&](std::int64_t worker) {
    std::vector<T> wide_k = widened(k);
    for (std::int64_t i = worker; i < std::ssize(of_several); i += workers)
      attend_merged<B>(*of_several[index(i)], q, one_head(wide_k.data(), k.rows, wide),
                       one_head(wide_v.data(), v.rows, wide), o, lse);
  });
}

// ---- Estimates ---------------------------------------------------------------------------------

/// Sum of a over sum of b, observation by observation.
struct Ratio {
  std::vector<double> a, b;
  explicit Ratio(std::size_t n) : a(n), b(n) {}
};

Estimate ratio(const Ratio& sums, std::int64_t population) {
  return ratio_estimate(sums.a, sums.b, population);
}

Estimate root_of_ratio(const Ratio& sums, std::int64_t population) {
  return root_estimate(ratio(sums, population));
}

template <class T>
double squared_distance(const T* a, const T* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

template <class T>
double squared_norm(const T* a, std::int64_t n) {
  return std::inner_product(a, a + n, a, 0.0, std::plus<>(), [](T x, T y) {
    return static_cast<double>(x) * static_cast<double>(y);
  });
}

/// What is kept of a phase, or of all phases of a pattern, while heads go by.
struct Sums {
  Ratio recall, error;
  std::vector<double> head_recall, head_output_error;

  explicit Sums(std::size_t n) : recall(n), error(n) {}
};

// ---- The study ---------------------------------------------------------------------------------

template <Backend B>
class Study {
 public:
  Study(const Grid& grid, std::span<const MaskedPattern> patterns, const AttentionHeads& source,
        const TensorErrorOptions& options, const std::function<void(double)>& advance)
      : patterns_(patterns),
        source_(source),
        options_(options),
        advance_(advance),
        tokens_(grid.tokens()),
        head_dim_(source.head_dim),
        queries_(drawn_tokens(tokens_, options.queries, options.seed)),
        n_(std::ssize(queries_)),
        two_layer_heads_(std::clamp<std::int64_t>(options.two_layer_heads, 0, source.heads)),
        full_(batches_of(full_mask(grid), queries_)) {
    work_ = 2 * n_ * tokens_;
    std::int64_t two_layers = two_layer_work(full_, full_);
    for (const MaskedPattern& pattern : patterns) {
      auto& phases = phases_.emplace_back();
      for (const Mask& mask : pattern.phases) {
        phases.push_back(batches_of(mask, queries_));
        work_ += pairs_of(phases.back());
      }
      two_layers += two_layer_work(phases.front(), phases.back());
    }
    work_ = work_ * source.heads + two_layers * two_layer_heads_;
  }

  TensorErrors run() {
    TensorErrors result{.tokens = tokens_,
                        .queries = n_,
                        .heads = source_.heads,
                        .two_layer_heads = two_layer_heads_};
    Ratio effective(index(n_));
    std::vector<std::vector<Sums>> sums;
    std::vector<std::array<Ratio, 2>> two_layers;
    for (const MaskedPattern& pattern : patterns_) {
      sums.emplace_back(pattern.phases.size(), Sums(index(n_)));
      two_layers.push_back({Ratio(index(n_)), Ratio(index(n_))});
    }
    for (std::int64_t head = 0; head < source_.heads; ++head) {
      load(head);
      result.head_effective_tokens.push_back(attend_fully(effective));
      for (std::size_t p = 0; p < patterns_.size(); ++p)
        for (std::size_t phase = 0; phase < phases_[p].size(); ++phase)
          add_phase(phases_[p][phase], sums[p][phase]);
      if (head < two_layer_heads_) add_two_layers(two_layers);
    }

    result.effective_tokens = ratio(effective, tokens_);
    for (std::size_t p = 0; p < patterns_.size(); ++p) {
      PatternError& pattern = result.patterns.emplace_back();
      pattern.name = patterns_[p].name;
      for (const Sums& phase : sums[p]) {
        TensorPhaseError& error = pattern.phases.emplace_back();
        summarise(phase, error);
      }
      summarise(over_phases(sums[p]), pattern);
      if (two_layer_heads_ > 0)
        pattern.two_layers = TwoLayerError{root_of_ratio(two_layers[p][0], tokens_),
                                           root_of_ratio(two_layers[p][1], tokens_)};
    }
    return result;
  }

 private:
  using T = Real<B>;
  using Values = std::vector<T>;

  static Mask full_mask(const Grid& grid) {
    AxisMask all;
    all.block_of.assign(index(grid.tokens()), 0);
    all.allowed = {1};
    return {grid, {all}};
  }

  const T* q() const { return qkv_.data(); }
  const T* k() const { return qkv_.data() + tokens_ * head_dim_; }
  const T* v() const { return qkv_.data() + 2 * tokens_ * head_dim_; }
  HeadTensor<const T> of_tokens(const T* data) const { return one_head(data, tokens_, head_dim_); }
  HeadTensor<const T> sampled_q() const {
    return one_head<const T>(sampled_q_.data(), n_, head_dim_);
  }
  const T* at(const Values& values, std::int64_t row) const {
    return values.data() + row * head_dim_;
  }

  /// About the pairs computed: the first layer is that of all tokens, of which `first` is a sample.
  std::int64_t two_layer_work(const std::vector<Batch>& first,
                              const std::vector<Batch>& second) const {
    return pairs_of(first) / n_ * tokens_ + pairs_of(second);
  }
  void worked(std::int64_t pairs) {
    done_ += pairs;
    if (advance_) advance_(static_cast<double>(done_) / static_cast<double>(work_));
  }

  void load(std::int64_t head) {
    const std::size_t size = index(tokens_ * head_dim_);
    std::vector<float> floats;
    qkv_.resize(3 * size);
    std::span<float> all;
    if constexpr (std::is_same_v<T, float>) {
      all = qkv_;
    } else {
      floats.resize(3 * size);
      all = floats;
    }
    source_.fill(head, all.first(size), all.subspan(size, size), all.last(size));
    std::copy(floats.begin(), floats.end(), qkv_.begin());
    sampled_q_.resize(index(n_ * head_dim_));
    for (std::int64_t i = 0; i < n_; ++i)
      std::copy_n(q() + queries_[index(i)] * head_dim_, head_dim_,
                  sampled_q_.begin() + i * head_dim_);
  }

  /// Full attention of the sampled queries; returns this head's mean number of effective tokens.
  double attend_fully(Ratio& effective) {
    // Two heads of the same q and k at once: the values of one are k, whose output gives the mean
    // logit, those of the other are v.
    Values q_twice(sampled_q_);
    q_twice.insert(q_twice.end(), sampled_q_.begin(), sampled_q_.end());
    Values o(q_twice.size()), lse(index(2 * n_));
    HeadTensor<const T> keys = of_tokens(k());
    keys.heads = 2;
    keys.head_stride = 0;
    const AttentionGroup all{full_[0].queries, full_[0].keys};
    attention_forward<B>(std::span(&all, 1), heads_first<const T>(q_twice.data(), 2, n_, head_dim_),
                         keys, heads_first(k(), 2, tokens_, head_dim_),
                         heads_first(o.data(), 2, n_, head_dim_), lse, options_.threads);
    const auto half = static_cast<std::ptrdiff_t>(sampled_q_.size());
    const Values mean_key(o.begin(), o.begin() + half);
    o_full_.assign(o.begin() + half, o.end());
    lse_full_.assign(lse.begin() + n_, lse.end());

    double sum = 0;
    const double root = std::sqrt(static_cast<double>(head_dim_));
    for (std::int64_t i = 0; i < n_; ++i) {
      const T* const query = at(sampled_q_, i);
      const double mean_logit =
          std::inner_product(query, query + head_dim_, at(mean_key, i), 0.0) / root;
      const double tokens = std::exp(static_cast<double>(lse_full_[index(i)]) - mean_logit);
      effective.a[index(i)] += tokens;
      effective.b[index(i)] += 1;
      sum += tokens;
    }
    worked(2 * n_ * tokens_);
    return sum / static_cast<double>(n_);
  }

  void add_phase(const std::vector<Batch>& batches, Sums& sums) {
    Values o(index(n_ * head_dim_)), lse(index(n_));
    attend<B>(batches, sampled_q(), of_tokens(k()), of_tokens(v()),
              one_head(o.data(), n_, head_dim_), lse, options_.threads);
    double recall = 0, error_2 = 0, norm_2 = 0;
    for (std::int64_t i = 0; i < n_; ++i) {
      const double mass =
          std::exp(static_cast<double>(lse[index(i)]) - static_cast<double>(lse_full_[index(i)]));
      const double error = squared_distance(at(o, i), at(o_full_, i), head_dim_);
      const double norm = squared_norm(at(o_full_, i), head_dim_);
      sums.recall.a[index(i)] += mass;
      sums.recall.b[index(i)] += 1;
      sums.error.a[index(i)] += error;
      sums.error.b[index(i)] += norm;
      recall += mass;
      error_2 += error;
      norm_2 += norm;
    }
    sums.head_recall.push_back(recall / static_cast<double>(n_));
    sums.head_output_error.push_back(error_2 == 0 ? 0 : std::sqrt(error_2 / norm_2));
    worked(pairs_of(batches));
  }

  /// h2 of the sampled queries.
  Values two_layers(const std::vector<Batch>& first, const std::vector<Batch>& second) {
    Values h1(index(tokens_ * head_dim_)), h2(index(n_ * head_dim_));
    attend<B>(first, of_tokens(q()), of_tokens(k()), of_tokens(v()),
              one_head(h1.data(), tokens_, head_dim_), {}, options_.threads);
    std::transform(h1.begin(), h1.end(), v(), h1.begin(), std::plus<>());
    attend<B>(second, sampled_q(), of_tokens(k()), of_tokens(h1.data()),
              one_head(h2.data(), n_, head_dim_), {}, options_.threads);
    for (std::int64_t i = 0; i < n_; ++i) {
      T* const row = h2.data() + i * head_dim_;
      std::transform(row, row + head_dim_, at(h1, queries_[index(i)]), row, std::plus<>());
    }
    return h2;
  }

  void add_two_layers(std::vector<std::array<Ratio, 2>>& sums) {
    Rows all(index(tokens_));
    std::iota(all.begin(), all.end(), 0);
    const std::vector<Batch> everything{
        {.queries = all, .keys = all, .group_of = {}, .attending = {}}};
    const Values full = two_layers(everything, full_);
    worked(two_layer_work(full_, full_));
    for (std::size_t p = 0; p < patterns_.size(); ++p) {
      const Values h2 = two_layers(batches_of(patterns_[p].phases.front(), all), phases_[p].back());
      worked(two_layer_work(phases_[p].front(), phases_[p].back()));
      auto& [update, output] = sums[p];
      for (std::int64_t i = 0; i < n_; ++i) {
        const T* const start = v() + queries_[index(i)] * head_dim_;
        const double error = squared_distance(at(h2, i), at(full, i), head_dim_);
        update.a[index(i)] += error;
        update.b[index(i)] += squared_distance(at(full, i), start, head_dim_);
        output.a[index(i)] += error;
        output.b[index(i)] += squared_norm(at(full, i), head_dim_);
      }
    }
  }

  static Sums over_phases(const std::vector<Sums>& phases) {
    Sums all(phases[0].recall.a.size());
    const auto count = static_cast<double>(phases.size());
    all.head_recall.resize(phases[0].head_recall.size());
    all.head_output_error.resize(all.head_recall.size());
    for (const Sums& phase : phases) {
      for (std::size_t i = 0; i < all.recall.a.size(); ++i) {
        all.recall.a[i] += phase.recall.a[i];
        all.recall.b[i] += phase.recall.b[i];
        all.error.a[i] += phase.error.a[i];
        all.error.b[i] += phase.error.b[i];
      }
      for (std::size_t h = 0; h < all.head_recall.size(); ++h) {
        all.head_recall[h] += phase.head_recall[h] / count;
        all.head_output_error[h] += phase.head_output_error[h] * phase.head_output_error[h] / count;
      }
    }
    for (double& error : all.head_output_error) error = std::sqrt(error);
    return all;
  }

  void summarise(const Sums& sums, auto& error) const {
    error.recall = ratio(sums.recall, tokens_);
    error.output_error = root_of_ratio(sums.error, tokens_);
    error.head_recall = sums.head_recall;
    error.head_output_error = sums.head_output_error;
  }

  std::span<const MaskedPattern> patterns_;
  const AttentionHeads& source_;
  const TensorErrorOptions& options_;
  const std::function<void(double)>& advance_;
  std::int64_t tokens_, head_dim_;
  Rows queries_;
  std::int64_t n_, two_layer_heads_;
  std::vector<Batch> full_;
  std::vector<std::vector<std::vector<Batch>>> phases_;  ///< [patterns][phases]
  std::int64_t work_ = 0, done_ = 0;

  Values qkv_, sampled_q_, o_full_, lse_full_;
};

void check(const Grid& grid, std::span<const MaskedPattern> patterns, const AttentionHeads& source,
           const TensorErrorOptions& options) {
  if (source.heads < 1 || source.head_dim < 1)
    throw InputError(fmt::format("q, k and v have {} heads of {} channels; at least one is needed",
                                 source.heads, source.head_dim));
  if (options.backend != Backend::cpu && options.backend != Backend::naive)
    throw InputError("errors on tensors are computed by the cpu or the naive back end");
  for (const MaskedPattern& pattern : patterns) {
    if (pattern.phases.empty() || pattern.phases.size() > 2)
      throw InputError(fmt::format("pattern '{}' has {} phases; it takes one or two", pattern.name,
                                   pattern.phases.size()));
    for (const Mask& mask : pattern.phases)
      if (!(mask.grid == grid))
        throw InputError(fmt::format("pattern '{}' is made for a grid of {}, not {}", pattern.name,
                                     to_string(mask.grid), to_string(grid)));
  }
}

}  // namespace

TensorErrors tensor_errors(const Grid& grid, std::span<const MaskedPattern> patterns,
                           const AttentionHeads& source, const TensorErrorOptions& options,
                           const std::function<void(double fraction)>& advance) {
  check(grid, patterns, source, options);
  return options.backend == Backend::naive
             ? Study<Backend::naive>(grid, patterns, source, options, advance).run()
             : Study<Backend::cpu>(grid, patterns, source, options, advance).run();
}

}  // namespace ospsim
