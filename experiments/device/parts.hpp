#pragma once

#include <string>
#include <vector>

namespace ospsim {

class CudaExecutor;
class Recorder;
struct RecordSizes;

/// A part of the record that can be run and brought home on its own, within a few minutes.
struct DevicePart {
  const char *name, *summary;
  void (*run)(CudaExecutor&, Recorder&, const RecordSizes&);
};
const std::vector<DevicePart>& device_parts();
/// Throws InputError.
const DevicePart& find_device_part(const std::string& name);

/// Measures the ceilings, then the part; writes to stdout. Whether all checks passed.
bool run_device_part(const DevicePart& part, const RecordSizes& sizes);

}  // namespace ospsim
