#include "kernels_ref/cpu/fma_peak.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "kernels_ref/parallel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels_ref/cpu/fma_peak.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Runs `rounds` rounds of independent multiply-adds and returns the FLOP done. `sink` receives the
/// sums, so that they are needed.
double multiply_add(std::int64_t rounds, float* sink) {
  const hn::ScalableTag<float> floats;
  using Vector = hn::Vec<decltype(floats)>;
  // Enough to hide the latency of 4 to 5 cycles on two ports.
  constexpr std::size_t chains = 12;
  Vector sum[chains];
  for (auto& chain : sum) chain = hn::Set(floats, *sink);
  const Vector factor = hn::Set(floats, 0.999f), addend = hn::Set(floats, 0.001f);
  for (std::int64_t i = 0; i < rounds; ++i)
    for (std::size_t j = 0; j < chains; ++j) sum[j] = hn::MulAdd(sum[j], factor, addend);
  for (const auto& chain : sum) *sink += hn::GetLane(chain);
  return 2.0 * static_cast<double>(rounds) * chains * static_cast<double>(hn::Lanes(floats));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ospsim {

HWY_EXPORT(multiply_add);

double fma_peak_flops_per_second(int threads) {
  using Clock = std::chrono::steady_clock;
  constexpr int runs = 5;
  constexpr std::int64_t rounds = 10'000'000;
  const std::int64_t workers = thread_count(threads);
  double best = 0;
  for (int run = 0; run < runs; ++run) {
    std::atomic<double> flops = 0;
    const auto start = Clock::now();
    parallel_for(workers, threads, [&](std::int64_t) {
      float sink = 0.5f;
      flops += HWY_DYNAMIC_DISPATCH(multiply_add)(rounds, &sink);
    });
    const std::chrono::duration<double> seconds = Clock::now() - start;
    best = std::max(best, flops / seconds.count());
  }
  return best;
}

}  // namespace ospsim
#endif
