#pragma once

#include <cstdint>
#include <memory>

#include "kernels_ref/attention/inplace_plan.hpp"
#include "kernels_ref/backend.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/layout/layout.hpp"

struct CUstream_st;  // what a cudaStream_t points to

namespace ospsim {

/// Attention inside the sub-sequences of a layout, on a device, reading and writing tensors in the
/// order of the unpadded grid: no rearrangement, no padding. Forward only, bf16, head_dim 128,
/// softmax scale 1/sqrt(128). Devices of compute capability 9.0.
class InPlaceAttention {
 public:
  struct Options {
    int keys_per_tile = 0;  ///< one of InPlacePlan::tile_sizes; 0 chooses
    int version = 3;        ///< of the kernel, 1 to 4 (attention/inplace_kernel.hpp)
  };
  /// Device memory, 16-byte aligned. q, k, v, o [tokens, row_stride]; element (token, head, d) is
  /// data[token * row_stride + head * 128 + d], row_stride >= heads * 128 and a multiple of 8.
  /// `lse` [heads, tokens] receives the log-sum-exp of attention/attention.hpp, or is null. o
  /// overlaps nothing else.
  struct Tensors {
    const Bfloat16 *q = nullptr, *k = nullptr, *v = nullptr;
    Bfloat16* o = nullptr;
    float* lse = nullptr;
    std::int64_t row_stride = 0;
    friend bool operator==(const Tensors&, const Tensors&) = default;
  };

  /// Plans, and puts the plan on the current device. Throws InputError for layouts that
  /// plan_in_place refuses and sizes above, UnavailableError without a device of capability 9.0.
  InPlaceAttention(const Layout& layout, std::int64_t heads, Options options);
  InPlaceAttention(const Layout& layout, std::int64_t heads)
      : InPlaceAttention(layout, heads, Options{}) {}
  ~InPlaceAttention();
  InPlaceAttention(InPlaceAttention&&) noexcept;
  InPlaceAttention& operator=(InPlaceAttention&&) noexcept;

  /// Says which tensors `execute` works on. Waits for the device; no execution may be under way.
  /// Throws InputError.
  void prepare(const Tensors& tensors);
  /// Starts the work on a stream and does not wait. Allocates nothing and copies nothing, so a
  /// graph can capture it. Throws UnavailableError.
  void execute(CUstream_st* stream) const;

  const InPlacePlan& plan() const;
  /// FLOP of the pairs that attend, padding of tiles left out; q, k, v, o moved once.
  Cost cost() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ospsim
