#pragma once

#include <cstdint>

#include "kernels_ref/host_device.hpp"

namespace ospsim {

/// A number drawn uniformly from 0 .. 2^64 - 1, by seed and index: the output function of
/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), for each seed a bijection of the index.
OSPSIM_HOST_DEVICE constexpr std::uint64_t random_bits(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed * 0xd1342543de82ef95u + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

}  // namespace ospsim
