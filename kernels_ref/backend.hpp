#pragma once

#include <string_view>
#include <type_traits>

namespace ospsim {

/// The implementations of every operation in this room. Each operation is declared once, as a
/// template over Backend, and specialised in one source file per back end:
///   naive  double precision, obvious, single-threaded: the oracle
///   cpu    float32, threaded, SIMD chosen at run time
///   cuda   on a device; where it is not compiled it links and throws UnavailableError
enum class Backend { naive, cpu, cuda };

template <Backend B>
using Real = std::conditional_t<B == Backend::naive, double, float>;

/// "naive", "cpu" or "cuda". Throws InputError.
Backend parse_backend(std::string_view text);

/// What an operation costs in exact counts: floating-point operations (a multiply-add is two) and
/// the bytes it must move at least, each operand once.
struct Cost {
  double flops = 0, bytes = 0;
  friend constexpr Cost operator+(Cost a, Cost b) { return {a.flops + b.flops, a.bytes + b.bytes}; }
};

}  // namespace ospsim
