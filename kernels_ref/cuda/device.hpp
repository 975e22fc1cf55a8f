#pragma once

#include <string>

namespace ospsim {

/// Whether CUDA can be used here, and if not, why not.
struct CudaStatus {
  bool built = false;          ///< this build has the CUDA back end
  bool available = false;      ///< and this machine has a device and a driver it works with
  std::string reason;          ///< why it is not available, in one line; empty if it is
  std::string device_name;     ///< of device 0; empty if not available
  std::string driver_version;  ///< newest CUDA the driver supports, e.g. "13.0"; "none" without one
  std::string runtime_version;  ///< CUDA version this build was linked with; empty if not built
};

/// Asks the CUDA runtime. Never throws because of a missing device or driver.
CudaStatus cuda_status();

}  // namespace ospsim
