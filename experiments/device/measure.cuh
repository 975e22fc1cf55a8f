#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "experiments/device/comparisons.hpp"
#include "experiments/device/record.hpp"
#include "experiments/device/sizes.hpp"
#include "experiments/median.hpp"
#include "kernels_ref/block/cuda_executor.cuh"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {

/// The milliseconds of each repetition of what `start` puts on the stream.
template <class Start>
std::vector<double> timed_ms(CudaExecutor& on, int repetitions, const Start& start) {
  std::vector<CudaEvent> starts(index(repetitions)), stops(index(repetitions));
  for (std::size_t r = 0; r < starts.size(); ++r) {
    starts[r].record(on.stream());
    start();
    stops[r].record(on.stream());
  }
  std::vector<double> ms;
  for (std::size_t r = 0; r < starts.size(); ++r) ms.push_back(stops[r].ms_since(starts[r]));
  return ms;
}
/// Runs it once, and until `ms` are over.
template <class Start>
void run_for(CudaExecutor& on, double ms, const Start& start) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  do {
    start();
    on.wait();
  } while (std::chrono::duration<double, std::milli>(Clock::now() - begin).count() < ms);
}
/// The same warmed up.
template <class Start>
std::vector<double> measure_ms(CudaExecutor& on, const RecordSizes& sizes, int repetitions,
                               const Start& start) {
  run_for(on, sizes.warm_up_ms, start);
  return timed_ms(on, repetitions, start);
}
template <class Start>
std::vector<double> measure_ms(CudaExecutor& on, const RecordSizes& sizes, const Start& start) {
  return measure_ms(on, sizes, sizes.kernel_repetitions, start);
}

/// Fills device memory with bytes 0xff: NaNs, in every floating-point type here.
template <class T>
void poison(CudaExecutor& on, DeviceBuffer<T>& to) {
  check_cuda(cudaMemsetAsync(to.data(), 0xff, to.size() * sizeof(T), on.stream()));
}

template <class T>
std::vector<T> download(CudaExecutor& on, const T* from, std::int64_t size) {
  on.wait();
  std::vector<T> to(index(size));
  check_cuda(cudaMemcpy(to.data(), from, to.size() * sizeof(T), cudaMemcpyDeviceToHost));
  return to;
}

/// `size` numbers in double precision.
inline std::vector<double> download_bf16(CudaExecutor& on, const Bfloat16* from,
                                         std::int64_t size) {
  const auto bits = download(on, from, size);
  std::vector<double> to(bits.size());
  for (std::size_t i = 0; i < bits.size(); ++i) to[i] = to_float(bits[i]);
  return to;
}

/// How many numbers of a tensor are NaN or Inf; of a tensor that was poisoned: or not written.
std::int64_t not_finite(CudaExecutor& on, const Bfloat16* x, std::int64_t size);

/// Runs a kernel of comparisons.hpp.
template <class Kernel>
DeviceAmax compare(CudaExecutor& on, Kernel kernel) {
  const auto found = on.array<DeviceAmax>(1);
  kernel.found = found.data();
  launch(on.stream(), kernel);
  return download(on, found.data(), 1)[0];
}
/// The largest error that it finds; beyond all tolerance where a number is none.
template <class Kernel>
double largest_error(CudaExecutor& on, const Kernel& kernel) {
  const DeviceAmax found = compare(on, kernel);
  return found.not_finite > 0 ? std::numeric_limits<double>::max()
                              : std::bit_cast<float>(found.largest);
}
/// How many differ.
template <class Kernel>
double differences(CudaExecutor& on, const Kernel& kernel) {
  return static_cast<double>(compare(on, kernel).not_finite);
}

inline constexpr double half_ulp = 0x1p-8;  ///< the largest relative error of rounding to bf16

/// A tensor of about normal numbers.
inline DeviceBuffer<Bfloat16> normal_array(CudaExecutor& on, std::int64_t size,
                                           std::uint64_t seed) {
  auto x = on.array<Bfloat16>(size);
  on.launch(Work::norm, FillNormal{x.data(), size, 1, 0, seed});
  return x;
}

/// The same numbers as e4m3, without a scale.
DeviceBuffer<std::uint8_t> e4m3_codes(CudaExecutor& on, const DeviceBuffer<Bfloat16>& x);

/// Different numbers below `limit`, drawn at random.
inline std::vector<std::int64_t> some_of(std::int64_t limit, std::int64_t count) {
  std::mt19937_64 random(1);
  std::vector<std::int64_t> all(index(limit)), some;
  for (std::int64_t i = 0; i < limit; ++i) all[index(i)] = i;
  std::sample(all.begin(), all.end(), std::back_inserter(some), count, random);
  return some;
}

/// The larger error; a NaN is larger than all.
inline double larger(double a, double b) {
  return std::isnan(a) || a >= b ? a : b;
}

/// |a - b| / |b| in the Euclidean norm.
inline double relative_l2(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / norm);
}

/// Times a row that a library or a device may refuse: then a row says so, and the part goes on. A
/// kernel that breaks takes the device with it, and the part ends.
template <class Time>
void attempt(CudaExecutor& on, Recorder& recorder, const std::string& name, const Time& time) {
  try {
    time();
  } catch (const UnavailableError& error) {
    recorder.row({.name = name, .check = {.method = std::string("refused: ") + error.what()}});
    try {
      on.wait();
    } catch (const UnavailableError& lost) {
      throw std::runtime_error(name + ": the device is lost: " + lost.what());
    }
  }
}

/// The best of all repetitions: nothing of the run can be faster. Without cuBLASLt none of
/// products.
Ceilings measure_ceilings(CudaExecutor& on, const RecordSizes& sizes);

// The parts of a run. Each says what it is in its file.
void record_memory(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_codecs(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_attention(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_linear(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_forward(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_choices(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_ranks(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_in_place(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_in_place_pairs(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);
void record_in_place_forward(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes);

}  // namespace ospsim
