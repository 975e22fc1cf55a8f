// Matrix products in blocks: a task owns one tile of the result and runs through the depth in
// steps, packing its blocks of both factors; the product of two packed blocks is that of attention.
//
// 2,048 rows, 1,536 in, 1,536 out, GFLOP/s forward / backward, on 2 vCPU AMD EPYC with AVX-512; FMA
// loop: 117 a core.
//   naive       straight loops in double, one thread                             2 /   4
//   version 1   packed blocks, SIMD products in registers, one thread  scalar   13 /  13
//                                                                      SSE4     34 /  34
//                                                                      AVX2     92 /  94
//                                                                      AVX-512  96 /  98
//   version 2   tiles spread over two threads                          AVX-512 184 / 184

#include <algorithm>

#include "kernels_ref/block/check.hpp"
#include "kernels_ref/block/column_sums.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/parallel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels_ref/block/linear_cpu.cpp"
#include <hwy/foreach_target.h>

#include "kernels_ref/cpu/tile-inl.h"

#ifndef OSPSIM_LINEAR_CPU_ONCE
#define OSPSIM_LINEAR_CPU_ONCE
namespace ospsim {
namespace {

// The blocks of one task fill a 1 MiB L2: 384 KiB + 256 KiB, and 384 KiB of results.
constexpr std::int64_t row_tile = 384, column_tile = 256, depth_tile = 256;

/// A matrix stored by rows, or its transpose: element (i, j) is data[i * stride + j] or
/// data[j * stride + i].
struct Factor {
  const float* data;
  std::int64_t stride;
  bool transposed;
};

/// c[rows][columns] = a[rows][depth] b[depth][columns] + start[columns], c contiguous.
struct Product {
  std::int64_t rows, columns, depth;
  Factor a, b;
  const float* start;  ///< null: zero
  float* c;
};

}  // namespace
}  // namespace ospsim
#endif

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {
namespace {

/// Copies a block of a factor to packed[row][ld].
void pack_block(const Factor& from, std::int64_t first_row, std::int64_t rows,
                std::int64_t first_column, std::int64_t columns, float* packed, std::int64_t ld) {
  if (from.transposed) {
    const auto column = [&](std::int64_t j) {
      return from.data + (first_column + j) * from.stride + first_row;
    };
    pack_columns(columns, rows, column, packed, ld);
  } else {
    const auto row = [&](std::int64_t i) {
      return from.data + (first_row + i) * from.stride + first_column;
    };
    pack_rows(rows, columns, row, packed, ld);
  }
}

void product_tile(const Product& product, std::int64_t first_row, std::int64_t first_column) {
  const std::int64_t rows = std::min(row_tile, product.rows - first_row);
  const std::int64_t columns = std::min(column_tile, product.columns - first_column);
  const std::int64_t padded_rows = round_up(rows, tile_rows);
  const std::int64_t padded_columns = round_up(columns, lanes());
  const std::int64_t step = std::min(depth_tile, product.depth);
  const auto a = zeroed(padded_rows * step), b = zeroed(step * padded_columns),
             c = zeroed(padded_rows * padded_columns);

  for (std::int64_t k = 0; k < product.depth; k += step) {
    const std::int64_t depth = std::min(step, product.depth - k);
    pack_block(product.a, first_row, rows, k, depth, a.get(), step);
    pack_block(product.b, k, depth, first_column, columns, b.get(), padded_columns);
    multiply<true>(padded_rows, padded_columns, depth, a.get(), step, b.get(), padded_columns,
                   c.get(), padded_columns);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const from = c.get() + i * padded_columns;
    float* const to = product.c + (first_row + i) * product.columns + first_column;
    for (std::int64_t j = 0; j < columns; ++j)
      to[j] = product.start ? from[j] + product.start[first_column + j] : from[j];
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ospsim {
namespace {

HWY_EXPORT(product_tile);

using In = std::span<const float>;
using Out = std::span<float>;

void multiply(const Product& product, int threads) {
  const std::int64_t row_tiles = (product.rows + row_tile - 1) / row_tile;
  const std::int64_t column_tiles = (product.columns + column_tile - 1) / column_tile;
  parallel_for(row_tiles * column_tiles, threads, [&](std::int64_t i) {
    HWY_DYNAMIC_DISPATCH(product_tile)
    (product, i / column_tiles * row_tile, i % column_tiles * column_tile);
  });
}

}  // namespace

template <>
void linear_forward<Backend::cpu>(LinearShape shape, In x, In weight, In bias, Out y, int threads) {
  check_linear_forward(shape, x, weight, bias, y);
  const auto& [rows, in, out] = shape;
  multiply({.rows = rows,
            .columns = out,
            .depth = in,
            .a = {x.data(), in, false},
            .b = {weight.data(), in, true},
            .start = bias.empty() ? nullptr : bias.data(),
            .c = y.data()},
           threads);
}

template <>
void linear_backward<Backend::cpu>(LinearShape shape, In x, In weight, In dy, Out dx, Out dweight,
                                   Out dbias, int threads) {
  check_linear_backward(shape, x, weight, dy, dx, dweight, dbias);
  const auto& [rows, in, out] = shape;
  if (!dx.empty())
    multiply({.rows = rows,
              .columns = in,
              .depth = out,
              .a = {dy.data(), out, false},
              .b = {weight.data(), in, false},
              .start = nullptr,
              .c = dx.data()},
             threads);
  if (!dweight.empty())
    multiply({.rows = out,
              .columns = in,
              .depth = rows,
              .a = {dy.data(), out, true},
              .b = {x.data(), in, false},
              .start = nullptr,
              .c = dweight.data()},
             threads);
  if (!dbias.empty())
    column_sums(rows, out, threads, dbias,
                [from = dy.data(), columns = shape.out](std::int64_t row, std::int64_t column) {
                  return from[row * columns + column];
                });
}

}  // namespace ospsim
#endif
