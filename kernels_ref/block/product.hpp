#pragma once

#include <cstdint>

#include "kernels_ref/block/linear.hpp"

namespace ospsim {

/// A linear layer on a device, y = x W^T + b, float32 sums: x [rows, in], W [out, in] and b [out]
/// (or null), y [rows, out], contiguous and 16-byte aligned, y and b bf16.
struct Product {
  enum class Operands : std::uint8_t { bf16, e4m3 };  ///< of x and W, both

  LinearShape shape;
  bool bias = true;
  bool gelu = false;  ///< y = gelu(x W^T + b), the tanh form
  Operands operands = Operands::bf16;

  friend constexpr bool operator==(const Product& a, const Product& b) {
    return a.shape.rows == b.shape.rows && a.shape.in == b.shape.in && a.shape.out == b.shape.out &&
           a.bias == b.bias && a.gelu == b.gelu && a.operands == b.operands;
  }
  /// Of operands and results as they lie in memory.
  Cost cost() const {
    const int operand_bytes = operands == Operands::e4m3 ? 1 : 2;
    const auto rows = static_cast<double>(shape.rows), in = static_cast<double>(shape.in),
               out = static_cast<double>(shape.out);
    return {.flops = 2 * rows * in * out,
            .bytes = operand_bytes * (rows * in + in * out) + 2 * rows * out};
  }
};

}  // namespace ospsim
