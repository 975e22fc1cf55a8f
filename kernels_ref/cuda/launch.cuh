#pragma once

#include <cuda_runtime.h>

#include "kernels_ref/cuda/buffer.hpp"
#include "kernels_ref/cuda/lane.hpp"

namespace ospsim {

/// One thread of a kernel on a device (cuda/lane.hpp says what a kernel asks of it).
class DeviceLane {
 public:
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ std::int64_t block() const { return blockIdx.x; }
  __device__ std::int64_t blocks() const { return gridDim.x; }
  __device__ void sync() const { __syncthreads(); }

  template <class T>
  __device__ T* shared() const {
    extern __shared__ __align__(1024) unsigned char ospsim_shared[];
    return reinterpret_cast<T*>(ospsim_shared);
  }
  template <class T>
  __device__ T shuffle_xor(T value, int mask) const {
    return __shfl_xor_sync(0xffffffffu, value, mask);
  }
  __device__ void atomic_max(std::uint32_t* to, std::uint32_t value) const { atomicMax(to, value); }
  __device__ void atomic_add(unsigned long long* to, unsigned long long value) const {
    atomicAdd(to, value);
  }
};

template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads)
    run_kernel(const __grid_constant__ Kernel kernel) {
  DeviceLane lane;
  kernel(lane);
}

/// Starts a kernel on a stream; does not wait. A kernel of no blocks does nothing. Throws
/// UnavailableError.
template <class Kernel>
void launch(cudaStream_t stream, const Kernel& kernel) {
  constexpr std::size_t without_asking = 48 * 1024;
  if (kernel.blocks() == 0) return;
  if (kernel.shared_bytes() > without_asking)
    check_cuda(cudaFuncSetAttribute(run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(kernel.shared_bytes())));
  run_kernel<Kernel>
      <<<static_cast<unsigned>(kernel.blocks()), Kernel::threads, kernel.shared_bytes(), stream>>>(
          kernel);
  check_cuda(cudaGetLastError());
}

}  // namespace ospsim
