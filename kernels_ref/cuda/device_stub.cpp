#include "kernels_ref/cuda/device.hpp"

namespace ospsim {

CudaStatus cuda_status() {
  return {.reason = "not compiled with CUDA: no nvcc was found when this build was configured"};
}

}  // namespace ospsim
