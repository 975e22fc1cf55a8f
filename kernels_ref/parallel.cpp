#include "kernels_ref/parallel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace ospsim {

int thread_count(int threads) {
  if (threads < 0)
    throw std::invalid_argument(fmt::format("{} threads; 0 means all cores", threads));
  return threads > 0 ? threads
                     : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& f) {
  threads = thread_count(threads);
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      for (std::int64_t i = next++; i < count; i = next++) f(i);
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::int64_t i = 1; i < std::min<std::int64_t>(threads, count); ++i)
      helpers.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

void parallel_ranges(std::int64_t count, std::int64_t size, int threads,
                     const std::function<void(std::int64_t, std::int64_t)>& f) {
  parallel_for((count + size - 1) / size, threads,
               [&](std::int64_t i) { f(i * size, std::min(count, (i + 1) * size)); });
}

}  // namespace ospsim
