#include "analysis/tensor_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "analysis/masked_attention.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

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
  std::int64_t two_layer_work(const std::vector<AttentionBatch>& first,
                              const std::vector<AttentionBatch>& second) const {
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
    check_logits(head);
    sampled_q_.resize(index(n_ * head_dim_));
    for (std::int64_t i = 0; i < n_; ++i)
      std::copy_n(q() + queries_[index(i)] * head_dim_, head_dim_,
                  sampled_q_.begin() + i * head_dim_);
  }

  /// Beyond this, exponents of logits lose their fraction in float32.
  static constexpr double largest_logit = 1e5;

  void check_logits(std::int64_t head) const {
    const auto longest = [&](const T* rows) {
      double most = 0;
      for (std::int64_t i = 0; i < tokens_; ++i)
        most = std::max(most, squared_norm(rows + i * head_dim_, head_dim_));
      return std::sqrt(most);
    };
    const double bound = longest(q()) * longest(k()) / std::sqrt(static_cast<double>(head_dim_));
    if (!(bound <= largest_logit))
      throw InputError(
          fmt::format("head {}: logits of q and k may reach {:.3g}; {:.3g} is the most", head,
                      bound, largest_logit));
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

  void add_phase(const std::vector<AttentionBatch>& batches, Sums& sums) {
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
  Values two_layers(const std::vector<AttentionBatch>& first,
                    const std::vector<AttentionBatch>& second) {
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
    const std::vector<AttentionBatch> everything{
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
  std::vector<AttentionBatch> full_;
  std::vector<std::vector<std::vector<AttentionBatch>>> phases_;  ///< [patterns][phases]
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
