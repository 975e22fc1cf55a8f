#pragma once

namespace ospsim {

/// Bytes per second, read plus written, that `threads` threads (0: all cores) copy between buffers
/// far larger than the caches: the faster of memcpy and a copy that writes around the caches, each
/// the median of several runs.
double copy_bytes_per_second(int threads);

}  // namespace ospsim
