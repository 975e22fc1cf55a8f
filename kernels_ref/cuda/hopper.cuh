#pragma once

#include "kernels_ref/cuda/hopper.hpp"
#include "kernels_ref/cuda/launch.cuh"

namespace ospsim {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)

// "%0, ..., %9" with a prefix of tens, and as many operands of the array d.
#define OSPSIM_REG(t, i) "%" t #i
#define OSPSIM_REGS2(t) OSPSIM_REG(t, 0) "," OSPSIM_REG(t, 1)
#define OSPSIM_REGS4(t) OSPSIM_REGS2(t) "," OSPSIM_REG(t, 2) "," OSPSIM_REG(t, 3)
#define OSPSIM_REGS6(t) OSPSIM_REGS4(t) "," OSPSIM_REG(t, 4) "," OSPSIM_REG(t, 5)
#define OSPSIM_REGS8(t) OSPSIM_REGS6(t) "," OSPSIM_REG(t, 6) "," OSPSIM_REG(t, 7)
#define OSPSIM_REGS10(t) OSPSIM_REGS8(t) "," OSPSIM_REG(t, 8) "," OSPSIM_REG(t, 9)
#define OSPSIM_REGS30 OSPSIM_REGS10("") "," OSPSIM_REGS10("1") "," OSPSIM_REGS10("2")
#define OSPSIM_REGS50 OSPSIM_REGS30 "," OSPSIM_REGS10("3") "," OSPSIM_REGS10("4")
#define OSPSIM_REGS70 OSPSIM_REGS50 "," OSPSIM_REGS10("5") "," OSPSIM_REGS10("6")
#define OSPSIM_D8(i)                                                                          \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define OSPSIM_D32 OSPSIM_D8(0), OSPSIM_D8(8), OSPSIM_D8(16), OSPSIM_D8(24)
#define OSPSIM_D56 OSPSIM_D32, OSPSIM_D8(32), OSPSIM_D8(40), OSPSIM_D8(48)
#define OSPSIM_D64 OSPSIM_D56, OSPSIM_D8(56)
#define OSPSIM_D72 OSPSIM_D64, OSPSIM_D8(64)
#define OSPSIM_COMMA ,

// a, b and whether to accumulate are the operands that follow d. Both scaled by 1, not transposed.
#define OSPSIM_MMA_SS(n, registers, operands, a_at, b_at, accumulate_at)                    \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #accumulate_at                          \
               ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" registers \
               "}, %" #a_at ", %" #b_at ", p, 1, 1, 0, 0;\n}\n"                             \
               : operands                                                                   \
               : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)))

/// One thread of a kernel on a device of compute capability 9.0 (cuda/hopper.hpp says what each
/// function is).
class HopperLane : public DeviceLane {
 public:
  __device__ static std::uint32_t shared_address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
  }

  __device__ void barrier_init(CopyBarrier* b, int arrivals) const {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(b)), "r"(arrivals)
                 : "memory");
  }
  __device__ void barrier_init_fence() const {
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
    fence_async();
  }
  __device__ void barrier_arrive(CopyBarrier* b) const {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(b)) : "memory");
  }
  __device__ void barrier_expect(CopyBarrier* b, int bytes) const {
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(b)),
        "r"(bytes)
        : "memory");
  }
  __device__ void barrier_wait(CopyBarrier* b, unsigned parity) const {
    const std::uint32_t at = shared_address(b);
    std::uint32_t over = 0;
    do {
      asm volatile(
          "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
          "selp.b32 %0, 1, 0, p;\n}\n"
          : "=r"(over)
          : "r"(at), "r"(parity)
          : "memory");
    } while (over == 0);
  }

  __device__ void acquire_map(const TensorMap* map) const {
    asm volatile("fence.proxy.tensormap::generic.acquire.sys [%0], 128;\n" ::"l"(map) : "memory");
  }
  __device__ void load_tile(const TensorMap* map, void* to, CopyBarrier* b,
                            const std::int32_t (&at)[4]) const {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2];\n" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
  }

  __device__ int cluster_rank() const {
    int rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
    return rank;
  }
  __device__ void cluster_sync() const {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;\n" ::: "memory");
  }
  __device__ void cluster_meet() const {
    asm volatile("barrier.cluster.arrive.relaxed;\nbarrier.cluster.wait;\n" ::: "memory");
  }
  __device__ void load_tile_to_both(const TensorMap* map, void* to, CopyBarrier* b,
                                    const std::int32_t (&at)[4]) const {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        ".multicast::cluster [%0], [%1, {%3, %4, %5, %6}], [%2], %7;\n" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(b)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]),
        "h"(static_cast<std::uint16_t>(3))
        : "memory");
  }
  __device__ void barrier_arrive_at(CopyBarrier* b, int rank) const {
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}\n" ::"r"(shared_address(b)),
        "r"(rank)
        : "memory");
  }

  __device__ void mma_fence() const { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
  __device__ void mma_commit() const {
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
  }
  template <int Groups, class... Registers>
  __device__ void mma_wait(Registers&... registers) const {
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(Groups) : "memory");
    (pin(registers), ...);
  }
  template <int N, std::size_t Registers>
  __device__ void mma_ss(float (&d)[Registers], std::uint64_t a, std::uint64_t b,
                         bool accumulate) const {
    static_assert(Registers * 2 == N);
    static_assert(N == 64 || N == 112 || N == 128 || N == 144 || N == 160 || N == 176);
    if constexpr (N == 64)
      OSPSIM_MMA_SS(64, OSPSIM_REGS30 "," OSPSIM_REGS2("3"), OSPSIM_D32, 32, 33, 34);
    else if constexpr (N == 112)
      OSPSIM_MMA_SS(112, OSPSIM_REGS50 "," OSPSIM_REGS6("5"), OSPSIM_D56, 56, 57, 58);
    else if constexpr (N == 128)
      OSPSIM_MMA_SS(128, OSPSIM_REGS50 "," OSPSIM_REGS10("5") "," OSPSIM_REGS4("6"), OSPSIM_D64, 64,
                    65, 66);
    else if constexpr (N == 144)
      OSPSIM_MMA_SS(144, OSPSIM_REGS70 "," OSPSIM_REGS2("7"), OSPSIM_D72, 72, 73, 74);
    else if constexpr (N == 160)
      OSPSIM_MMA_SS(160, OSPSIM_REGS70 "," OSPSIM_REGS10("7"),
                    OSPSIM_D72 OSPSIM_COMMA OSPSIM_D8(72), 80, 81, 82);
    else
      OSPSIM_MMA_SS(176, OSPSIM_REGS70 "," OSPSIM_REGS10("7") "," OSPSIM_REGS8("8"),
                    OSPSIM_D72 OSPSIM_COMMA OSPSIM_D8(72) OSPSIM_COMMA OSPSIM_D8(80), 88, 89, 90);
  }
  /// b is transposed: MN-major.
  __device__ void mma_rs(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b,
                         bool accumulate) const {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" OSPSIM_REGS50 "," OSPSIM_REGS10(
            "5") "," OSPSIM_REGS4("6") "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}\n"
        : OSPSIM_D64
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
  }

  __device__ void stage16(void* to, const Pack<std::uint32_t, 4>& value) const {
    *static_cast<Pack<std::uint32_t, 4>*>(to) = value;
  }
  __device__ void fence_async() const {
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
  }

  __device__ void sync_warp() const { __syncwarp(); }
  __device__ void named_sync(int id, int threads) const {
    asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
  }
  __device__ void named_arrive(int id, int threads) const {
    asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
  }
  template <int N>
  __device__ void more_registers() const {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(N));
  }
  template <int N>
  __device__ void fewer_registers() const {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(N));
  }

  __device__ int warp_uniform(int value) const { return __shfl_sync(0xffffffffu, value, 0); }
  __device__ float exp2(float x) const {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
  }
  __device__ float log2(float x) const { return __log2f(x); }
  __device__ std::uint32_t pack_bf16(float low, float high) const {
    std::uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
  }

 private:
  // The compiler does not know that an mma still writes its registers; it may not move what reads
  // them to before the wait.
  template <int N>
  __device__ static void pin(float (&registers)[N]) {
    OSPSIM_UNROLL
    for (int i = 0; i < N; ++i) asm volatile("" : "+f"(registers[i])::"memory");
  }
  template <int N, int M>
  __device__ static void pin(std::uint32_t (&registers)[N][M]) {
    OSPSIM_UNROLL
    for (int i = 0; i < N * M; ++i) asm volatile("" : "+r"(registers[i / M][i % M])::"memory");
  }
};

#endif

/// Runs nothing where the code is not compiled for compute capability 9.0a.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads, 1)
    run_hopper_kernel(const __grid_constant__ Kernel kernel) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  HopperLane lane;
  kernel(lane);
#endif
}

/// Lets a kernel have its shared memory; once before it is launched. Throws UnavailableError.
template <class Kernel>
void prepare_hopper(const Kernel& kernel) {
  check_cuda(cudaFuncSetAttribute(run_hopper_kernel<Kernel>,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(kernel.shared_bytes())));
}

/// Starts a prepared kernel on a stream, in clusters of `cluster` blocks; does not wait. A kernel
/// of no blocks does nothing. Throws UnavailableError.
template <class Kernel>
void launch_hopper(cudaStream_t stream, const Kernel& kernel, int cluster = 1) {
  if (kernel.blocks() == 0) return;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(kernel.blocks()));
  config.blockDim = dim3(Kernel::threads);
  config.dynamicSmemBytes = kernel.shared_bytes();
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = cluster > 1 ? 1 : 0;
  check_cuda(cudaLaunchKernelEx(&config, run_hopper_kernel<Kernel>, kernel));
}

}  // namespace ospsim
