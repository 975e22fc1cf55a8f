// SIMD building blocks of the cpu back end, compiled once per instruction set: include from a file
// that uses foreach_target.h, inside no namespace.

#if defined(OSPSIM_CPU_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OSPSIM_CPU_TILE_INL_H_
#undef OSPSIM_CPU_TILE_INL_H_
#else
#define OSPSIM_CPU_TILE_INL_H_
#endif

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

// A register block is tile_rows x panel_vectors accumulators; AVX-512 has 32 registers, others 16.
inline constexpr std::int64_t tile_rows = 6;
inline constexpr int panel_vectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;

inline std::int64_t lanes() {
  return static_cast<std::int64_t>(hn::Lanes(Floats()));
}

inline std::int64_t round_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

/// Aligned memory for `size` floats, zero.
inline hwy::AlignedFreeUniquePtr<float[]> zeroed(std::int64_t size) {
  auto memory =
      hwy::AllocateAligned<float>(static_cast<std::size_t>(std::max<std::int64_t>(size, 1)));
  std::fill_n(memory.get(), size, 0.0f);
  return memory;
}

/// packed[i][k] = source(i)[k] for i < rows, k < width.
template <class Source>
void pack_rows(std::int64_t rows, std::int64_t width, Source source, float* packed,
               std::int64_t ld) {
  for (std::int64_t i = 0; i < rows; ++i) std::copy_n(source(i), width, packed + i * ld);
}

/// packed[k][j] = source(j)[k] for j < columns, k < depth: rows become columns.
template <class Source>
void pack_columns(std::int64_t columns, std::int64_t depth, Source source, float* packed,
                  std::int64_t ld) {
  // Sixteen at a time fill whole cache lines.
  constexpr std::int64_t block = 16;
  const float* rows[block];
  for (std::int64_t first = 0; first < columns; first += block) {
    const std::int64_t count = std::min(block, columns - first);
    for (std::int64_t j = 0; j < count; ++j) rows[j] = source(first + j);
    for (std::int64_t k = 0; k < depth; ++k)
      for (std::int64_t j = 0; j < count; ++j) packed[k * ld + first + j] = rows[j][k];
  }
}

/// One register block: c[tile_rows][vectors] (+)= a[tile_rows][depth] b[depth][vectors].
template <bool accumulate, int vectors>
HWY_INLINE void multiply_block(std::int64_t depth, const float* HWY_RESTRICT a, std::int64_t lda,
                               const float* HWY_RESTRICT b, std::int64_t ldb, float* HWY_RESTRICT c,
                               std::int64_t ldc) {
  const Floats floats;
  Vector sum[tile_rows][std::size_t{vectors}];
  for (std::int64_t i = 0; i < tile_rows; ++i)
    for (int j = 0; j < vectors; ++j) sum[i][j] = hn::Zero(floats);
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector row[std::size_t{vectors}];
    for (int j = 0; j < vectors; ++j) row[j] = hn::Load(floats, b + k * ldb + j * lanes());
    for (std::int64_t i = 0; i < tile_rows; ++i) {
      const Vector factor = hn::Set(floats, a[i * lda + k]);
      for (int j = 0; j < vectors; ++j) sum[i][j] = hn::MulAdd(factor, row[j], sum[i][j]);
    }
  }
  for (std::int64_t i = 0; i < tile_rows; ++i)
    for (int j = 0; j < vectors; ++j) {
      float* const to = c + i * ldc + j * lanes();
      // The block's own sum is formed first: long sums round once per block, not once per product.
      if constexpr (accumulate) sum[i][j] = hn::Add(sum[i][j], hn::Load(floats, to));
      hn::Store(sum[i][j], floats, to);
    }
}

template <bool accumulate, int vectors>
HWY_NOINLINE void multiply_panel(std::int64_t rows, std::int64_t depth, const float* a,
                                 std::int64_t lda, const float* b, std::int64_t ldb, float* c,
                                 std::int64_t ldc) {
  for (std::int64_t i = 0; i < rows; i += tile_rows)
    multiply_block<accumulate, vectors>(depth, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
}

/// c[rows][columns] (+)= a[rows][depth] b[depth][columns], row-major. `rows` is a multiple of
/// tile_rows, `columns`, ldb and ldc of lanes(), and b and c are aligned to a vector.
template <bool accumulate>
void multiply(std::int64_t rows, std::int64_t columns, std::int64_t depth, const float* a,
              std::int64_t lda, const float* b, std::int64_t ldb, float* c, std::int64_t ldc) {
  const std::int64_t panel = panel_vectors * lanes();
  std::int64_t j = 0;
  for (; j + panel <= columns; j += panel)
    multiply_panel<accumulate, panel_vectors>(rows, depth, a, lda, b + j, ldb, c + j, ldc);
  const auto rest = [&](auto vectors) {
    multiply_panel<accumulate, decltype(vectors)::value>(rows, depth, a, lda, b + j, ldb, c + j,
                                                         ldc);
  };
  switch ((columns - j) / lanes()) {
    case 1:
      return rest(std::integral_constant<int, 1>());
    case 2:
      return rest(std::integral_constant<int, 2>());
    case 3:
      return rest(std::integral_constant<int, 3>());
    default:
      return;
  }
}

/// e^x for x <= 88 with a relative error of about 1e-7; 0 below -87. NaN stays NaN.
///
/// x = n ln 2 + r, |r| <= ln 2 / 2; e^r is a polynomial fitted for the least relative error (3e-9).
/// Adding 1.5 * 2^23 rounds to a whole number whose low bits are n, ready to be added to the
/// exponent.
HWY_INLINE Vector exp(Vector x) {
  const Floats floats;
  const hn::RebindToSigned<Floats> integers;
  const auto set = [&](float value) HWY_ATTR { return hn::Set(floats, value); };
  const Vector least = set(-87.0f);
  const Vector clamped = hn::Max(least, x);
  const Vector shift = set(12582912.0f);
  const Vector shifted = hn::MulAdd(clamped, set(1.44269504f), shift);
  const Vector n = hn::Sub(shifted, shift);
  // ln 2 in two parts, the first short enough for n times it to be exact.
  const Vector r =
      hn::NegMulAdd(n, set(-2.12194440e-4f), hn::NegMulAdd(n, set(0.693359375f), clamped));
  Vector p = hn::MulAdd(set(1.381446291e-03f), r, set(8.368781140e-03f));
  p = hn::MulAdd(p, r, set(4.166839432e-02f));
  p = hn::MulAdd(p, r, set(1.666652010e-01f));
  p = hn::MulAdd(p, r, set(4.999999341e-01f));
  p = hn::MulAdd(p, r, set(1.0f));
  p = hn::MulAdd(p, r, set(1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(integers, shifted));
  const Vector result = hn::BitCast(floats, hn::Add(hn::BitCast(integers, p), exponent));
  return hn::IfThenZeroElse(hn::Lt(x, least), result);
}

}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#endif  // OSPSIM_CPU_TILE_INL_H_
