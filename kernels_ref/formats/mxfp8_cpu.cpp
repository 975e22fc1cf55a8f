// MXFP8 over whole tensors: float32 and bf16 on SIMD lanes, block by block.
//
// G elements/s encoded, one core of an AMD EPYC (Zen 4), 64 Mi numbers, float32 / bf16.
//   version 1  the largest word of a block by shuffles of whole vectors   AVX-512  2.3 / 2.6
//   version 2  by halving vectors, then one instruction for eight words   SSE4     1.5 / 2.1
//                                                                         AVX2     2.2 / 3.6
//                                                                         AVX-512  3.4 / 4.9

#include <algorithm>

#include "kernels_ref/formats/check.hpp"
#include "kernels_ref/formats/elements.hpp"
#include "kernels_ref/formats/parts.hpp"
#include "kernels_ref/parallel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels_ref/formats/mxfp8_cpu.cpp"
#include <hwy/foreach_target.h>

#include "kernels_ref/formats/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR
// A CPU without SIMD: nothing is done here, and all of it by the scalar codec.
std::size_t mx_encode_floats(const MxCodec&, const float*, std::uint8_t*, std::uint8_t*,
                             std::size_t) {
  return 0;
}
std::size_t mx_encode_bfloat16s(const MxCodec&, const Bfloat16*, std::uint8_t*, std::uint8_t*,
                                std::size_t) {
  return 0;
}
#else

/// What carries the exponent of an amax to that of its scale's rule when added to its bits as bf16.
std::uint16_t mx_carry(const MxCodec& codec) {
  switch (codec.rule) {
    case MxRule::ratio:
      return 0x1f;  // above 1.75, the significand of 448 and of 57344
    case MxRule::ceil:
      return 0x7f;
    case MxRule::even:
      return codec.element == Format::e4m3 ? 0x08 : 0x10;
    case MxRule::floor:
      break;
  }
  return 0;
}

/// The largest of the words.
std::uint16_t largest_of(WordVector v) {
#if HWY_TARGET <= HWY_AVX3
  const hn::Half<Words> d256;
  const hn::Half<decltype(d256)> d128;
  const auto half = hn::Max(hn::LowerHalf(v), hn::UpperHalf(d256, v));
  const auto eight = hn::Max(hn::LowerHalf(half), hn::UpperHalf(d128, half));
#elif HWY_TARGET <= HWY_AVX2
  const hn::Half<Words> d128;
  const auto eight = hn::Max(hn::LowerHalf(v), hn::UpperHalf(d128, v));
#else
  const Words d128;
  const auto eight = v;
#endif
#if HWY_TARGET <= HWY_SSE4
  const auto complement = hn::Not(eight);
  return static_cast<std::uint16_t>(~_mm_extract_epi16(_mm_minpos_epu16(complement.raw), 0));
#else
  return hn::GetLane(hn::MaxOfLanes(d128, eight));
#endif
}

/// MXFP8 blocks of 32, one at a time. A scale is a shift of exponents, which are the upper bits of
/// the words.
template <class T>
std::size_t mx_encode_full_blocks(const MxCodec& codec, const T* x, std::uint8_t* codes,
                                  std::uint8_t* scales, std::size_t blocks) {
  const bool e4m3 = codec.element == Format::e4m3;
  const Fp8Encoder encoder(e4m3 ? e4m3_limits : e5m2_limits, true);
  const int emax = codec_detail::fp8_shape(codec.element).largest;
  const std::uint32_t round_up = mx_carry(codec);
  const hn::Rebind<std::uint8_t, Words> bytes;
  const SignedWords d;
  for (std::size_t b = 0; b < blocks; ++b, x += mx_block, codes += mx_block) {
    auto largest = hn::Zero(Words());
    for (std::size_t i = 0; i < mx_block; i += words())
      largest = hn::Max(largest, magnitude_of(load_words<false>(x + i, hn::Zero(Singles()))));
    // Inf and NaN do not count; and far below, numbers that float32 holds as subnormals do, which
    // shifting would get wrong.
    constexpr std::uint16_t smallest_shifted = (127 - 90) << 7;
    const std::uint32_t amax = largest_of(largest);
    if (HWY_UNLIKELY(amax < smallest_shifted || amax >= infinity_bits)) {
      scales[b] = mx_encode_block(codec, x, codes, mx_block);
      continue;
    }
    const int exponent = static_cast<int>((amax + round_up) >> 7) - emax;
    scales[b] = static_cast<std::uint8_t>(exponent);
    const auto shift = hn::Set(d, static_cast<std::int16_t>((exponent - 127) * 128));
    for (std::size_t i = 0; i < mx_block; i += words()) {
      const auto number = load_words<false>(x + i, hn::Zero(Singles()));
      const auto magnitude = hn::BitCast(d, magnitude_of(number));
      const auto shifted = hn::SaturatedSub(magnitude, shift);
      const auto places = encoder.places(number, hn::BitCast(Words(), shifted));
      hn::StoreU(hn::TruncateTo(bytes, places), bytes, codes + i);
    }
  }
  return blocks;
}
std::size_t mx_encode_floats(const MxCodec& codec, const float* x, std::uint8_t* codes,
                             std::uint8_t* scales, std::size_t blocks) {
  return mx_encode_full_blocks(codec, x, codes, scales, blocks);
}
std::size_t mx_encode_bfloat16s(const MxCodec& codec, const Bfloat16* x, std::uint8_t* codes,
                                std::uint8_t* scales, std::size_t blocks) {
  return mx_encode_full_blocks(codec, x, codes, scales, blocks);
}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ospsim {
namespace {

HWY_EXPORT(mx_encode_floats);
HWY_EXPORT(mx_encode_bfloat16s);

/// `blocks` whole blocks that lie one after the other.
template <class T>
void mx_encode_blocks(const MxCodec& codec, std::span<const T> x, std::span<std::uint8_t> codes,
                      std::span<std::uint8_t> scales) {
  std::size_t done = 0;
  if constexpr (std::is_same_v<T, float>)
    done = HWY_DYNAMIC_DISPATCH(mx_encode_floats)(codec, x.data(), codes.data(), scales.data(),
                                                  scales.size());
  else if constexpr (std::is_same_v<T, Bfloat16>)
    done = HWY_DYNAMIC_DISPATCH(mx_encode_bfloat16s)(codec, x.data(), codes.data(), scales.data(),
                                                     scales.size());
  for (; done < scales.size(); ++done)
    scales[done] = mx_encode_block(codec, &x[done * mx_block], &codes[done * mx_block], mx_block);
}

template <class T>
void mx_encode_rows(const MxCodec& codec, std::int64_t columns, std::span<const T> x,
                    std::span<std::uint8_t> codes, std::span<std::uint8_t> scales) {
  if (columns % mx_block == 0) return mx_encode_blocks(codec, x, codes, scales);
  const auto width = static_cast<std::size_t>(columns), whole = width - width % mx_block;
  const std::size_t blocks = whole / mx_block;
  for (std::size_t at = 0; at < x.size(); at += width, scales = scales.subspan(blocks + 1)) {
    const auto row = x.subspan(at, width);
    const auto to = codes.subspan(at, width);
    mx_encode_blocks(codec, row.first(whole), to.first(whole), scales.first(blocks));
    scales[blocks] = mx_encode_block(codec, &row[whole], &to[whole], columns % mx_block);
  }
}

}  // namespace

template <>
void mx_encode<Backend::cpu>(const MxCodec& codec, std::int64_t columns, Numbers x,
                             std::span<std::uint8_t> codes, std::span<std::uint8_t> scales,
                             int threads) {
  check_mx_encode(codec, columns, x, codes, scales);
  const std::int64_t rows = elements(x) / columns,
                     rows_of_task = std::max<std::int64_t>(1, task / columns);
  std::visit(
      [&](auto from) {
        parallel_ranges(rows, rows_of_task, threads, [&](std::int64_t first, std::int64_t last) {
          mx_encode_rows(
              codec, columns, part(from, first * columns, last * columns),
              part(codes, first * columns, last * columns),
              part(scales, mx_scale_count(first, columns), mx_scale_count(last, columns)));
        });
      },
      x);
}

template <>
void mx_decode<Backend::cpu>(Format element, std::int64_t columns,
                             std::span<const std::uint8_t> codes,
                             std::span<const std::uint8_t> scales, MutableNumbers x, int threads) {
  check_mx_decode(element, columns, codes, scales, x);
  const std::int64_t blocks = mx_scale_count(1, columns);
  const auto decode_block = [&](std::int64_t block, auto to) {
    const std::int64_t row = block / blocks * columns, first = row + block % blocks * mx_block;
    const std::int64_t last = std::min(first + mx_block, row + columns);
    // Dividing by 1 / X, itself a power of two, is multiplying by X.
    const std::uint8_t scale = scales[static_cast<std::size_t>(block)];
    const auto inverse = static_cast<std::uint8_t>(scale == 0xff ? 0xff : 254 - scale);
    decode<Backend::cpu>(element, part(codes, first, last), part(to, first, last),
                         decode(Format::e8m0, inverse), 1);
  };
  std::visit(
      [&](auto to) {
        parallel_ranges(static_cast<std::int64_t>(scales.size()), task / mx_block, threads,
                        [&](std::int64_t first, std::int64_t last) {
                          for (std::int64_t b = first; b < last; ++b) decode_block(b, to);
                        });
      },
      x);
}

}  // namespace ospsim
#endif
