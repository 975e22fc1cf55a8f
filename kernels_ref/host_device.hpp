#pragma once

/// Marks what both the host and CUDA devices run, and loops that a device must unroll to keep their
/// arrays in registers.
#if defined(__CUDACC__)
#define OSPSIM_HOST_DEVICE __host__ __device__
#define OSPSIM_UNROLL _Pragma("unroll")
#else
#define OSPSIM_HOST_DEVICE
#define OSPSIM_UNROLL
#endif
