#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#endif

#include "kernels_ref/cuda/lane.hpp"
#include "kernels_ref/formats/wide_float.hpp"

/// bfloat16 numbers in kernels: kept in memory, computed with in float32.
namespace ospsim {

using Bf16Pack = Pack16<Bfloat16>;
inline constexpr int bf16_pack = static_cast<int>(pack_size<Bfloat16>);

struct Bf16Pair {
  Bfloat16 first, second;
};

/// to_bfloat16 of both, as one instruction on a device. NaNs may differ in their payload.
OSPSIM_HOST_DEVICE inline Bf16Pair to_bfloat16_pair(float first, float second) {
#if defined(__CUDA_ARCH__)
  const __nv_bfloat162 both = __floats2bfloat162_rn(first, second);
  return {{__bfloat16_as_ushort(both.x)}, {__bfloat16_as_ushort(both.y)}};
#else
  return {to_bfloat16(first), to_bfloat16(second)};
#endif
}

OSPSIM_HOST_DEVICE inline Bf16Pack to_bf16_pack(const float (&x)[bf16_pack]) {
  Bf16Pack pack;
  OSPSIM_UNROLL
  for (int i = 0; i < bf16_pack; i += 2) {
    const Bf16Pair pair = to_bfloat16_pair(x[i], x[i + 1]);
    pack.at[i] = pair.first;
    pack.at[i + 1] = pair.second;
  }
  return pack;
}

/// The bf16_pack float32 numbers that belong to one pack; 16-byte aligned.
OSPSIM_HOST_DEVICE inline void load_floats(const float* from, float (&to)[bf16_pack]) {
  OSPSIM_UNROLL
  for (int half = 0; half < 2; ++half) {
    const Pack16<float> four = load16(from + 4 * half);
    OSPSIM_UNROLL
    for (int i = 0; i < 4; ++i) to[4 * half + i] = four.at[i];
  }
}

}  // namespace ospsim
