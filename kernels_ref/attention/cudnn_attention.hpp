#pragma once

#include <memory>
#include <string>

#include "kernels_ref/attention/batched.hpp"
#include "kernels_ref/formats/wide_float.hpp"

struct CUstream_st;  // what a cudaStream_t points to

namespace ospsim {

/// BatchedAttention in bfloat16 by cuDNN's fused attention (softmax in float32), which is opened at
/// run time: cuDNN 9.13.1, or 9.15 where there are lengths; head_dim is a multiple of 8. A plan is
/// made for each shape and kept. Throws UnavailableError where cuDNN is absent or refuses, with its
/// own words.
///
/// Padding: it is nowhere promised what rows of o hold whose query is padding (NVIDIA's own tests
/// do not look at them). Hopper's kernel stores o in whole tiles: some of them are written, others
/// may keep what they held. Who needs them finite gives all query rows as valid, or clears o once.
/// A key length of 0 makes NaNs before cuDNN 9.25.
class CudnnAttention {
 public:
  /// On the CUDA device that is current.
  CudnnAttention();
  /// For a device that need not be there, in cuDNN's own description of it
  /// (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION). Prepares, but cannot execute.
  explicit CudnnAttention(const std::string& device_properties);
  CudnnAttention(CudnnAttention&&) noexcept;
  CudnnAttention& operator=(CudnnAttention&&) noexcept;
  ~CudnnAttention();

  /// Makes the plan of a shape and its workspace, unless they exist. Returns the name of cuDNN's
  /// kernel. The addresses of lengths do not matter here, only whether there are any.
  const std::string& prepare(const BatchedAttention& shape);

  /// Puts the work on a stream; does not wait. Prepares what is new; otherwise it neither allocates
  /// on the device nor waits for it, so that a CUDA graph can capture it. All pointers are to the
  /// device; addresses and strides are multiples of 16 bytes. Executions of one shape share a
  /// workspace: they must not overlap.
  void execute(CUstream_st* stream, const BatchedAttention& shape, const Bfloat16* q,
               const Bfloat16* k, const Bfloat16* v, Bfloat16* o);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ospsim
