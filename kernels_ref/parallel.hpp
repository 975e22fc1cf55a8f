#pragma once

#include <cstdint>
#include <functional>

namespace ospsim {

/// What a number of threads means: 0 is all cores. Throws std::invalid_argument for a negative one.
int thread_count(int threads);

/// Calls f(0) ... f(count - 1), each once, on thread_count(threads) threads that take the next
/// index when they are free. Results that depend only on the index therefore do not depend on the
/// number of threads. The first exception thrown by f stops the handing out of indices and reaches
/// the caller.
void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& f);

/// The same over ranges [first, last) of at most `size` that together are [0, count).
void parallel_ranges(std::int64_t count, std::int64_t size, int threads,
                     const std::function<void(std::int64_t, std::int64_t)>& f);

}  // namespace ospsim
