#include "experiments/device/measure.cuh"
#include "experiments/device/parts.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {

const std::vector<DevicePart>& device_parts() {
  static const std::vector<DevicePart> parts{
      {"memory", "rearrangement, packing, norms, RoPE against copy bandwidth", record_memory},
      {"attention", "cuDNN, and the plain kernel", record_attention},
      {"linear", "a block's products in bf16 and e4m3", record_linear},
      {"forward", "Wan2.1 and OSP-Next as the paper arranges them, 720P and 768P", record_forward},
      {"choices", "OSP-Next arranged otherwise, step by step; HiF8", record_choices},
      {"ranks", "one rank's share of 2, 4 and 8", record_ranks},
      {"codecs", "8-bit codecs; all 2^32 float32 numbers against the host", record_codecs},
      // Last, each by itself: what could break or hang a device.
      {"in_place", "our own attention kernel, versions 1 to 3", record_in_place},
      {"in_place_pairs", "the same, version 4: blocks in pairs", record_in_place_pairs},
      {"in_place_forward", "OSP-Next with attention in place", record_in_place_forward}};
  return parts;
}

const DevicePart& find_device_part(const std::string& name) {
  std::string names;
  for (const auto& part : device_parts()) {
    if (part.name == name) return part;
    names += (names.empty() ? "" : ", ") + std::string(part.name);
  }
  throw InputError("part '" + name + "' is not one of " + names);
}

bool run_device_part(const DevicePart& part, const RecordSizes& sizes) {
  Recorder recorder(part.name, sizes.quick);
  CudaExecutor on;
  recorder.ceilings(measure_ceilings(on, sizes));
  part.run(on, recorder, sizes);
  return recorder.all_passed();
}

}  // namespace ospsim
