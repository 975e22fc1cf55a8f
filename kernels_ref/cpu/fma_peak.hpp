#pragma once

namespace ospsim {

/// The float32 FLOP per second of `threads` threads (0: all cores) that do nothing but multiply-add
/// in registers, with the widest vectors of this machine: the best of several short runs.
double fma_peak_flops_per_second(int threads);

}  // namespace ospsim
