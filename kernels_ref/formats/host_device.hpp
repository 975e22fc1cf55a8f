#pragma once

/// Marks what both the host and CUDA devices run.
#if defined(__CUDACC__)
#define OSPSIM_HOST_DEVICE __host__ __device__
#else
#define OSPSIM_HOST_DEVICE
#endif
