// Rates of the cpu back end beside the FMA peak of the same cores in the same run: each row is a
// fraction of it (design section 7). Results are checked against naive in this process before
// anything is timed.
//
//   kernels_benchmark --benchmark_repetitions=7 --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <functional>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/cpu/fma_peak.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"
#include "tests/kernels_ref/attention_support.hpp"

namespace ospsim {
namespace {

constexpr int all_cores = 0;

void report(benchmark::State& state, double flops) {
  // Measured once; the state of the machine is that of this run.
  static const double peak = fma_peak_flops_per_second(all_cores);
  using benchmark::Counter;
  state.counters["FLOP/s"] = Counter(flops, Counter::kIsIterationInvariantRate);
  state.counters["of_peak"] = Counter(flops / peak, Counter::kIsIterationInvariantRate);
  state.counters["peak_FLOP/s"] = Counter(peak);
}

/// One head of state.range(0) tokens and state.range(1) channels, full attention.
struct OneHead {
  std::int64_t tokens, head_dim;
  std::vector<float> q, k, v, d_o, o, lse, dq, dk, dv;
  std::vector<AttentionGroup> groups;

  explicit OneHead(const benchmark::State& state)
      : tokens(state.range(0)), head_dim(state.range(1)) {
    const std::int64_t n = tokens * head_dim;
    q = converted<float>(normal(n, 1));
    k = converted<float>(normal(n, 2));
    v = converted<float>(normal(n, 3));
    d_o = converted<float>(normal(n, 4));
    o = dq = dk = dv = std::vector<float>(q.size());
    lse.resize(static_cast<std::size_t>(tokens));
    groups = group_of_all(tokens, tokens);
  }
  HeadTensor<float> view(std::vector<float>& data) const {
    return heads_first(data.data(), 1, tokens, head_dim);
  }
  void forward() {
    attention_forward<Backend::cpu>(groups, view(q), view(k), view(v), view(o), lse, all_cores);
  }
  void backward() {
    attention_backward<Backend::cpu>(groups, view(q), view(k), view(v), view(o), view(d_o), lse,
                                     view(dq), view(dk), view(dv), all_cores);
  }
};

void attention_forward_cpu(benchmark::State& state) {
  OneHead head(state);
  for (auto _ : state) head.forward();
  const Count pairs = attended_pairs(head.groups);
  report(state, attention_forward_cost(pairs, 1, head.tokens, head.tokens, head.head_dim, 4).flops);
}

void attention_backward_cpu(benchmark::State& state) {
  OneHead head(state);
  head.forward();
  for (auto _ : state) head.backward();
  const Count pairs = attended_pairs(head.groups);
  report(state,
         attention_backward_cost(pairs, 1, head.tokens, head.tokens, head.head_dim, 4).flops);
}

void linear_forward_cpu(benchmark::State& state) {
  const LinearShape shape{state.range(0), state.range(1), state.range(2)};
  const auto x = converted<float>(normal(shape.rows * shape.in, 1));
  const auto weight = converted<float>(normal(shape.in * shape.out, 2));
  std::vector<float> y(static_cast<std::size_t>(shape.rows * shape.out));
  for (auto _ : state) linear_forward<Backend::cpu>(shape, x, weight, {}, y, all_cores);
  report(state, linear_forward_cost(shape, 4).flops);
}

void linear_backward_cpu(benchmark::State& state) {
  const LinearShape shape{state.range(0), state.range(1), state.range(2)};
  const auto x = converted<float>(normal(shape.rows * shape.in, 1));
  const auto weight = converted<float>(normal(shape.in * shape.out, 2));
  const auto dy = converted<float>(normal(shape.rows * shape.out, 3));
  std::vector<float> dx(x.size()), dweight(weight.size()),
      dbias(static_cast<std::size_t>(shape.out));
  for (auto _ : state)
    linear_backward<Backend::cpu>(shape, x, weight, dy, dx, dweight, dbias, all_cores);
  report(state, linear_backward_cost(shape, 4).flops);
}

BENCHMARK(attention_forward_cpu)
    ->ArgNames({"tokens", "head_dim"})
    ->ArgsProduct({{1024, 4096, 16384}, {64, 128}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(attention_backward_cpu)
    ->ArgNames({"tokens", "head_dim"})
    ->ArgsProduct({{1024, 4096}, {64, 128}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(linear_forward_cpu)
    ->ArgNames({"rows", "in", "out"})
    ->Args({2048, 1536, 1536})
    ->Args({2048, 5120, 5120})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(linear_backward_cpu)
    ->ArgNames({"rows", "in", "out"})
    ->Args({2048, 1536, 1536})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

bool results_are_right() {
  const Inputs inputs = random_inputs({1, 1024, 1024, 128});
  const auto groups = group_of_all(1024, 1024);
  const double error = worst_error(run_attention<Backend::cpu>(groups, inputs),
                                   run_attention<Backend::naive>(groups, inputs));
  fmt::print(stderr, "attention, 1024 tokens x 128 channels, against naive: relative L2 {:.1e}\n",
             error);

  const LinearShape shape{500, 300, 400};
  const auto x = normal(shape.rows * shape.in, 1), weight = normal(shape.in * shape.out, 2);
  std::vector<double> exact(static_cast<std::size_t>(shape.rows * shape.out));
  std::vector<float> fast(exact.size());
  linear_forward<Backend::naive>(shape, x, weight, {}, exact);
  linear_forward<Backend::cpu>(shape, converted<float>(x), converted<float>(weight), {}, fast);
  const double linear_error = relative_l2(fast, exact);
  fmt::print(stderr, "linear, 500 x 300 x 400, against naive: relative L2 {:.1e}\n", linear_error);
  return error < 2e-6 && linear_error < 2e-6;
}

}  // namespace
}  // namespace ospsim

int main(int argc, char** argv) {
  if (!ospsim::results_are_right()) {
    fmt::print(stderr, "the results are wrong; nothing is timed\n");
    return EXIT_FAILURE;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return EXIT_FAILURE;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
