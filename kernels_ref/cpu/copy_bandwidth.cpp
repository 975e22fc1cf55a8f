#include "kernels_ref/cpu/copy_bandwidth.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels_ref/parallel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels_ref/cpu/copy_bandwidth.cpp"
#include <hwy/aligned_allocator.h>
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

void copy_past_caches(const float* from, float* to, std::size_t n) {
  const hn::ScalableTag<float> d;
  for (std::size_t i = 0; i < n; i += hn::Lanes(d)) hn::Stream(hn::Load(d, from + i), d, to + i);
  hwy::FlushStream();
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ospsim {

HWY_EXPORT(copy_past_caches);

double copy_bytes_per_second(int threads) {
  constexpr std::size_t n = std::size_t{64} << 20;  // 256 MiB each way
  constexpr int runs = 7;
  const std::int64_t workers = thread_count(threads);
  const auto from = hwy::AllocateAligned<float>(n), to = hwy::AllocateAligned<float>(n);
  std::fill_n(from.get(), n, 1.0f);
  std::fill_n(to.get(), n, 0.0f);
  const std::size_t part = n / static_cast<std::size_t>(workers) / 64 * 64;
  const auto seconds = [&](const auto& copy) {
    const auto start = std::chrono::steady_clock::now();
    parallel_for(workers, threads, [&](std::int64_t i) {
      const std::size_t first = static_cast<std::size_t>(i) * part;
      copy(from.get() + first, to.get() + first, part);
    });
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> plain, streamed;
  for (int run = 0; run < runs; ++run) {
    plain.push_back(seconds([](const float* a, float* b, std::size_t count) {
      std::memcpy(b, a, count * sizeof(float));
    }));
    streamed.push_back(seconds([](const float* a, float* b, std::size_t count) {
      HWY_DYNAMIC_DISPATCH(copy_past_caches)(a, b, count);
    }));
  }
  double least = 0;
  for (auto* times : {&plain, &streamed}) {
    std::nth_element(times->begin(), times->begin() + runs / 2, times->end());
    const double median = (*times)[runs / 2];
    least = least == 0 ? median : std::min(least, median);
  }
  return 2.0 * sizeof(float) * static_cast<double>(part) * static_cast<double>(workers) / least;
}

}  // namespace ospsim
#endif
