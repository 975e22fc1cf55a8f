// Codecs over whole tensors. Ties-away hif8 and ties-to-even FP8 run on SIMD lanes; the other
// roundings, and what is left over at the end of a range, go through the scalar codec.
//
// G elements/s, one core of an AMD EPYC (Zen 4), 64 Mi standard normal numbers, hif8 / e4m3.
// Copying would be 7.6 of float32 and 12.6 of bf16 (38 GB/s, read and written; other tenants of the
// machine take it down to 28 at times).
//                                                         encode               decode
//                                                     float32      bf16     float32      bf16
//   version 1  the scalar codec                    0.12 / 0.13             0.38 / 0.32
//   version 2  16-bit lanes, a small table by
//              byte shuffles             SSSE3       1.7 / 1.8  2.6 / 2.7  2.6 / 3.0  3.5
//                                        SSE4        2.0 / 2.4  2.7 / 3.5  3.0 / 3.4  4.1
//                                        AVX2        3.1 / 3.9  4.3 / 6.1  5.2 / 5.7  7.8
//                                        AVX-512     4.6 / 5.2  6.4 / 7.8  5.9 / 6.1  8.4
//   version 3  AVX-512: tables of 64 words by
//              exponent or code, NaN left aside      5.3 / 5.4  9.5 / 10   6.5 / 6.6  12.8
//   version 4  what is read is prefetched around the caches: hif8 from float32 from 62 % to 64-93 %
//              of a streaming copy in turns with it, from bf16 to 65-85 %. The floor moves with the
//              machine's other tenants: a loop that reads four bytes for each it writes, and does
//              nothing else, reaches 63-71 % of the copy while float32 is at 64-69 %.

#include <algorithm>
#include <vector>

#include "kernels_ref/formats/check.hpp"
#include "kernels_ref/formats/elements.hpp"
#include "kernels_ref/formats/parts.hpp"
#include "kernels_ref/parallel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels_ref/formats/cpu.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include "kernels_ref/formats/lanes-inl.h"

#ifndef OSPSIM_FORMATS_CPU_ONCE
#define OSPSIM_FORMATS_CPU_ONCE
namespace ospsim {
namespace {

/// `n` numbers starting at x, and where their codes are. Where `past_caches`, results are written
/// around the caches.
template <class T, class Code>
struct Range {
  T* x;
  Code* codes;
  std::size_t n;
  bool past_caches = false;
};

}  // namespace
}  // namespace ospsim
#endif

HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR
// A CPU without SIMD: nothing is done here, and all of it by the scalar codec.
std::size_t encode_floats(Format, bool, Range<const float, std::uint8_t>, float) {
  return 0;
}
std::size_t encode_bfloat16s(Format, bool, Range<const Bfloat16, std::uint8_t>, float) {
  return 0;
}
std::size_t encode_float16s(Format, bool, Range<const Float16, std::uint8_t>, float) {
  return 0;
}
std::size_t decode_floats(Format, Range<float, const std::uint8_t>, float) {
  return 0;
}
std::size_t decode_bfloat16s(Format, Range<Bfloat16, const std::uint8_t>, float) {
  return 0;
}
std::size_t amax_floats(const float*, std::size_t, std::uint32_t&) {
  return 0;
}
std::size_t amax_bfloat16s(const Bfloat16*, std::size_t, std::uint32_t&) {
  return 0;
}
#else

bool any_nan(WordVector magnitude) {
  return HWY_UNLIKELY(!hn::AllFalse(Words(), hn::Gt(magnitude, word(infinity_bits))));
}

template <class D, class V, class T>
void store(D d, V v, T* to, bool past_caches) {
  if (past_caches)
    hn::Stream(v, d, to);
  else
    hn::StoreU(v, d, to);
}

/// Asks for what will be read soon, and only once: around the caches, a page and a half ahead.
/// Prefetching by hardware stops at the end of a page.
template <class T>
void prefetch_once(const T* x, std::size_t n) {
  const char* const soon = reinterpret_cast<const char*>(x) + 6144;
  for (std::size_t i = 0; i < n * sizeof(T); i += 64) __builtin_prefetch(soon + i, 0, 0);
}

/// Codes of whole vectors; returns how many numbers that were. Stops before the first NaN.
template <bool scaled, class Encoder, class T>
std::size_t encode_vectors(const Encoder& encoder, Range<const T, std::uint8_t> range,
                           float scale_value) {
  const auto scale = hn::Set(Singles(), scale_value);
  const std::size_t step = 2 * words();
  std::size_t i = 0;
  for (; i + step <= range.n; i += step) {
    if (range.past_caches) prefetch_once(range.x + i, step);
    const auto first = load_words<scaled>(range.x + i, scale);
    const auto second = load_words<scaled>(range.x + i + words(), scale);
    const auto first_magnitude = magnitude_of(first), second_magnitude = magnitude_of(second);
    if (any_nan(hn::Max(first_magnitude, second_magnitude))) break;
    const auto places =
        low_bytes(encoder.places(first, first_magnitude), encoder.places(second, second_magnitude));
    store(Bytes(), encoder.codes(places), range.codes + i, range.past_caches);
  }
  return i;
}

template <class T>
std::size_t encode_range(Format format, bool saturate, Range<const T, std::uint8_t> range,
                         float scale) {
  const auto run = [&](const auto& encoder) {
    return scale == 1 ? encode_vectors<false>(encoder, range, scale)
                      : encode_vectors<true>(encoder, range, scale);
  };
  if (format == Format::hif8) return run(Hif8Encoder(saturate));
  return run(Fp8Encoder(format == Format::e4m3 ? e4m3_limits : e5m2_limits, saturate));
}

std::size_t encode_floats(Format format, bool saturate, Range<const float, std::uint8_t> range,
                          float scale) {
  return encode_range(format, saturate, range, scale);
}
std::size_t encode_bfloat16s(Format format, bool saturate,
                             Range<const Bfloat16, std::uint8_t> range, float scale) {
  return encode_range(format, saturate, range, scale);
}
std::size_t encode_float16s(Format format, bool saturate, Range<const Float16, std::uint8_t> range,
                            float scale) {
  // Without the instruction that widens float16, Highway takes its Inf and NaN for numbers.
  constexpr bool widens = HWY_TARGET <= HWY_AVX2;
  return widens ? encode_range(format, saturate, range, scale) : 0;
}

/// The bits of float32 numbers of bf16 words, the lower half of the lanes and the upper.
DwordVector lower_dwords(WordVector values) {
  return hn::ShiftLeft<16>(hn::PromoteTo(Dwords(), hn::LowerHalf(values)));
}
DwordVector upper_dwords(WordVector values) {
  return hn::ShiftLeft<16>(hn::PromoteTo(Dwords(), hn::UpperHalf(hn::Half<Words>(), values)));
}

/// Numbers of whole vectors of codes, as they are or divided by `scale` in float32; returns how
/// many.
template <bool scaled, class Decoder, class T>
std::size_t decode_vectors(const Decoder& decoder, Range<T, const std::uint8_t> range,
                           float scale_value) {
  const auto scale = hn::Set(Singles(), scale_value);
  const auto divided = [&](DwordVector bits) {
    const auto value = hn::BitCast(Singles(), bits);
    if constexpr (scaled) return hn::Div(value, scale);
    return value;
  };
  // To nearest even. The NaN of a decoder has no low bits that could carry.
  const auto rounded = [](hn::Vec<Singles> value) {
    const auto bits = hn::BitCast(Dwords(), value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(Dwords(), 1u));
    return hn::Add(bits, hn::Add(odd, hn::Set(Dwords(), 0x7fffu)));
  };
  std::size_t i = 0;
  for (; i + words() <= range.n; i += words()) {
    const auto codes = hn::PromoteTo(Words(), hn::LoadU(HalfBytes(), range.codes + i));
    const auto values = decoder.values(codes);
    if constexpr (std::is_same_v<T, float>) {
      store(Singles(), divided(lower_dwords(values)), range.x + i, range.past_caches);
      store(Singles(), divided(upper_dwords(values)), range.x + i + words() / 2, range.past_caches);
    } else if constexpr (scaled) {
      const auto low = hn::BitCast(Words(), rounded(divided(lower_dwords(values))));
      const auto high = hn::BitCast(Words(), rounded(divided(upper_dwords(values))));
      store(Words(), hn::ConcatOdd(Words(), high, low), &range.x[i].bits, range.past_caches);
    } else {
      store(Words(), values, &range.x[i].bits, range.past_caches);
    }
  }
  return i;
}

template <class T>
std::size_t decode_range(Format format, Range<T, const std::uint8_t> range, float scale) {
  const auto run = [&](const auto& decoder) {
    return scale == 1 ? decode_vectors<false>(decoder, range, scale)
                      : decode_vectors<true>(decoder, range, scale);
  };
  if (format == Format::hif8) return run(Decoder<Format::hif8>());
  return format == Format::e4m3 ? run(Decoder<Format::e4m3>()) : run(Decoder<Format::e5m2>());
}

std::size_t decode_floats(Format format, Range<float, const std::uint8_t> range, float scale) {
  return decode_range(format, range, scale);
}
std::size_t decode_bfloat16s(Format format, Range<Bfloat16, const std::uint8_t> range,
                             float scale) {
  return decode_range(format, range, scale);
}

/// The largest magnitude, as float32 bits, of whole vectors; Inf and NaN are the largest of all.
std::size_t amax_floats(const float* x, std::size_t n, std::uint32_t& largest) {
  const Dwords d;
  const auto mask = hn::Set(d, 0x7fffffffu);
  auto found = hn::Zero(d);
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    found = hn::Max(found, hn::And(hn::BitCast(d, hn::LoadU(Singles(), x + i)), mask));
  largest = hn::GetLane(hn::MaxOfLanes(d, found));
  return i;
}
std::size_t amax_bfloat16s(const Bfloat16* x, std::size_t n, std::uint32_t& largest) {
  auto found = hn::Zero(Words());
  std::size_t i = 0;
  for (; i + words() <= n; i += words())
    found = hn::Max(found, magnitude_of(hn::LoadU(Words(), &x[i].bits)));
  largest = static_cast<std::uint32_t>(hn::GetLane(hn::MaxOfLanes(Words(), found))) << 16;
  return i;
}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ospsim {
namespace {

HWY_EXPORT(encode_floats);
HWY_EXPORT(encode_bfloat16s);
HWY_EXPORT(encode_float16s);
HWY_EXPORT(decode_floats);
HWY_EXPORT(decode_bfloat16s);
HWY_EXPORT(amax_floats);
HWY_EXPORT(amax_bfloat16s);

/// A piece that stays in the first-level cache with its codes.
constexpr std::int64_t piece = 2048;
/// Results larger than this would push everything else out of the caches.
constexpr std::size_t past_caches_bytes = std::size_t{16} << 20;

constexpr std::size_t longest_vector = 64;  // bytes

/// Elements before the first that begins a vector, where results are to be streamed.
template <class T>
std::size_t elements_before_alignment(const T* to) {
  const auto misplaced = reinterpret_cast<std::uintptr_t>(to) % longest_vector;
  return misplaced == 0 ? 0 : (longest_vector - misplaced) / sizeof(T);
}

bool has_lanes(const Codec& codec) {
  return codec.format != Format::e8m0 && codec.rounding == default_rounding(codec.format);
}

template <class T>
std::size_t encode_on_lanes(const Codec& codec, std::span<const T> x, std::span<std::uint8_t> codes,
                            float scale, bool past_caches) {
  const Range<const T, std::uint8_t> range{x.data(), codes.data(), x.size(), past_caches};
  const bool saturate = codec.overflow == Overflow::saturate;
  if constexpr (std::is_same_v<T, float>)
    return HWY_DYNAMIC_DISPATCH(encode_floats)(codec.format, saturate, range, scale);
  else if constexpr (std::is_same_v<T, Bfloat16>)
    return HWY_DYNAMIC_DISPATCH(encode_bfloat16s)(codec.format, saturate, range, scale);
  else
    return HWY_DYNAMIC_DISPATCH(encode_float16s)(codec.format, saturate, range, scale);
}

template <class T>
void encode_part(const Codec& codec, std::span<const T> x, std::span<std::uint8_t> codes,
                 float scale, bool past_caches) {
  if (!has_lanes(codec)) return encode_elements(codec, x, codes, scale);
  // The lanes stop at a NaN; the scalar codec takes it, and what follows up to the next vector.
  const auto one_by_one = [&](std::size_t n) {
    n = std::min(n, x.size());
    encode_elements(codec, x.first(n), codes.first(n), scale);
    x = x.subspan(n);
    codes = codes.subspan(n);
  };
  if (past_caches) one_by_one(elements_before_alignment(codes.data()));
  while (!x.empty()) {
    const std::size_t done = encode_on_lanes(codec, x, codes, scale, past_caches);
    x = x.subspan(done);
    codes = codes.subspan(done);
    one_by_one(longest_vector);
  }
}

template <class T>
void decode_part(Format format, std::span<const std::uint8_t> codes, std::span<T> x, float scale,
                 bool past_caches) {
  const auto one_by_one = [&](std::size_t n) {
    decode_elements(format, codes.first(n), x.first(n), scale);
    codes = codes.subspan(n);
    x = x.subspan(n);
  };
  if constexpr (!std::is_same_v<T, Float16>) {
    if (format != Format::e8m0) {
      if (past_caches) one_by_one(std::min(x.size(), elements_before_alignment(x.data())));
      const Range<T, const std::uint8_t> range{x.data(), codes.data(), x.size(), past_caches};
      std::size_t done = 0;
      if constexpr (std::is_same_v<T, float>)
        done = HWY_DYNAMIC_DISPATCH(decode_floats)(format, range, scale);
      else
        done = HWY_DYNAMIC_DISPATCH(decode_bfloat16s)(format, range, scale);
      codes = codes.subspan(done);
      x = x.subspan(done);
    }
  }
  one_by_one(x.size());
}

template <class T>
Amax amax_part(std::span<const T> x) {
  std::uint32_t largest = 0;
  std::size_t done = 0;
  if constexpr (std::is_same_v<T, float>)
    done = HWY_DYNAMIC_DISPATCH(amax_floats)(x.data(), x.size(), largest);
  else if constexpr (std::is_same_v<T, Bfloat16>)
    done = HWY_DYNAMIC_DISPATCH(amax_bfloat16s)(x.data(), x.size(), largest);
  if (largest >= 0x7f800000u) return amax_of_elements(x);
  const Amax rest = amax_of_elements(x.subspan(done));
  return {std::max(std::bit_cast<float>(largest), rest.amax), rest.not_finite};
}

}  // namespace

template <>
void encode<Backend::cpu>(const Codec& codec, Numbers x, std::span<std::uint8_t> codes, float scale,
                          int threads) {
  check_encode(codec, x, codes);
  const bool past_caches = codes.size() >= past_caches_bytes;
  std::visit(
      [&](auto from) {
        parallel_ranges(elements(x), task, threads, [&](std::int64_t first, std::int64_t last) {
          Codec here = codec;
          here.first_element += static_cast<std::uint64_t>(first);
          encode_part(here, part(from, first, last), part(codes, first, last), scale, past_caches);
          if (past_caches) hwy::FlushStream();
        });
      },
      x);
}

template <>
void decode<Backend::cpu>(Format format, std::span<const std::uint8_t> codes, MutableNumbers x,
                          float scale, int threads) {
  check_decode(format, codes, x);
  std::visit(
      [&](auto to) {
        const bool past_caches = to.size_bytes() >= past_caches_bytes;
        parallel_ranges(elements(x), task, threads, [&](std::int64_t first, std::int64_t last) {
          decode_part(format, part(codes, first, last), part(to, first, last), scale, past_caches);
          if (past_caches) hwy::FlushStream();
        });
      },
      x);
}

template <>
void quantize_dequantize<Backend::cpu>(const Codec& codec, Numbers x, MutableNumbers y, float scale,
                                       int threads) {
  check_quantize_dequantize(codec, x, y);
  std::visit(
      [&]<class T>(std::span<T> to) {
        const auto from = std::get<std::span<const T>>(x);
        const bool past_caches = to.size_bytes() >= past_caches_bytes && from.data() != to.data();
        parallel_ranges(elements(x), task, threads, [&](std::int64_t first, std::int64_t last) {
          std::uint8_t buffer[piece];
          for (std::int64_t at = first; at < last; at += piece) {
            const std::int64_t end = std::min(last, at + piece);
            const std::span codes(buffer, static_cast<std::size_t>(end - at));
            Codec here = codec;
            here.first_element += static_cast<std::uint64_t>(at);
            encode_part(here, part(from, at, end), codes, scale, false);
            decode_part(codec.format, std::span<const std::uint8_t>(codes), part(to, at, end),
                        scale, past_caches);
          }
          if (past_caches) hwy::FlushStream();
        });
      },
      y);
}

template <>
Amax amax<Backend::cpu>(Numbers x, int threads) {
  const std::int64_t count = elements(x);
  std::vector<Amax> parts(static_cast<std::size_t>((count + task - 1) / task));
  std::visit(
      [&](auto from) {
        parallel_ranges(count, task, threads, [&](std::int64_t first, std::int64_t last) {
          parts[static_cast<std::size_t>(first / task)] = amax_part(part(from, first, last));
        });
      },
      x);
  Amax all;
  for (const Amax& found : parts)
    all = {std::max(all.amax, found.amax), all.not_finite + found.not_finite};
  return all;
}

}  // namespace ospsim
#endif
