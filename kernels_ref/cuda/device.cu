#include <cuda_runtime_api.h>

#include "kernels_ref/cuda/device.hpp"

namespace ospsim {
namespace {

// CUDA codes 13.0 as 13000.
std::string version_text(int version) {
  if (version == 0) return "none";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

CudaStatus cuda_status() {
  CudaStatus status{.built = true};
  int driver = 0, runtime = 0, devices = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  status.driver_version = version_text(driver);
  status.runtime_version = version_text(runtime);

  cudaDeviceProp properties{};
  cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess && devices == 0) error = cudaErrorNoDevice;
  if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, 0);
  if (error != cudaSuccess) {
    status.reason = cudaGetErrorString(error);
    return status;
  }
  status.available = true;
  status.device_name = properties.name;
  return status;
}

}  // namespace ospsim
