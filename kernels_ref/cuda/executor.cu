#include "kernels_ref/cuda/executor.cuh"

namespace ospsim {

void CudaExecutor::quantize(Work work, const Bfloat16* from, Bfloat16* to, std::int64_t elements) {
  timed(work, [&] {
    check_cuda(cudaMemsetAsync(found_.data(), 0, sizeof(DeviceAmax), stream_));
    ospsim::launch(stream_, FindAmax<Bfloat16>{from, found_.data(), elements});
    const Codec codec{.overflow = Overflow::saturate};
    with_quantize(codec, from, to, elements,
                  TensorScale{.amax = found_.data(), .recipe = paper_forward()},
                  [&](const auto& kernel) { ospsim::launch(stream_, kernel); });
  });
}

}  // namespace ospsim
