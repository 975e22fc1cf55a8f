// The codecs on SIMD lanes of 16 bits, compiled once per instruction set: include from a file that
// uses foreach_target.h, inside no namespace.
//
// A float32 is first cut to its upper half, the bits of a bfloat16, whose last bit is set if any
// bit was lost. No format keeps more than five significant bits, so nothing after that can tell.
// And no lane needs a shift of its own: dropping s bits is a multiplication by 2^(15 - s), whose
// rounding form (a * b + 2^14) >> 15 rounds half up.

#if defined(OSPSIM_FORMATS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OSPSIM_FORMATS_LANES_INL_H_
#undef OSPSIM_FORMATS_LANES_INL_H_
#else
#define OSPSIM_FORMATS_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "kernels_ref/formats/codec.hpp"

#if HWY_TARGET != HWY_SCALAR
HWY_BEFORE_NAMESPACE();
namespace ospsim {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Bytes = hn::ScalableTag<std::uint8_t>;
using Words = hn::ScalableTag<std::uint16_t>;
using SignedWords = hn::ScalableTag<std::int16_t>;
using Dwords = hn::ScalableTag<std::uint32_t>;
using Singles = hn::ScalableTag<float>;
using HalfBytes = hn::Half<Bytes>;
using ByteVector = hn::Vec<Bytes>;
using WordVector = hn::Vec<Words>;
using DwordVector = hn::Vec<Dwords>;

inline std::size_t words() {
  return hn::Lanes(Words());
}

inline WordVector word(std::uint16_t value) {
  return hn::Set(Words(), value);
}

/// Bit by bit: `yes` where the mask has ones.
inline WordVector select_bits(WordVector mask, WordVector yes, WordVector no) {
  return hn::Or(hn::And(mask, yes), hn::AndNot(mask, no));
}

/// Sixteen bytes to look up by the low four bits of an index.
inline ByteVector table(const std::uint8_t (&bytes)[16]) {
  return hn::LoadDup128(Bytes(), bytes);
}
/// Looks up the high or the low byte of each word; the index lies there, and 0x80 in the other
/// byte, which becomes 0.
inline WordVector look_up(ByteVector bytes, WordVector index) {
  return hn::BitCast(Words(), hn::TableLookupBytes(bytes, hn::BitCast(Bytes(), index)));
}

#if HWY_TARGET <= HWY_AVX3
/// 64 words to look up by the low six bits of an index.
struct WordTable {
  explicit WordTable(const std::uint16_t* entries)
      : low(hn::LoadU(Words(), entries)), high(hn::LoadU(Words(), entries + 32)) {}
  WordVector at(WordVector index) const {
    return WordVector{_mm512_permutex2var_epi16(low.raw, index.raw, high.raw)};
  }
  WordVector low, high;
};
#endif

/// (a * b + 2^14) >> 15 of numbers below 2^15.
inline WordVector multiply_rounding(WordVector a, WordVector b) {
  const SignedWords d;
  return hn::BitCast(Words(), hn::MulFixedPoint15(hn::BitCast(d, a), hn::BitCast(d, b)));
}

// ---- Numbers to words and back ------------------------------------------------------------------

/// The upper halves of two vectors of float32 bits, the last bit set where the lower half is not 0.
inline WordVector cut_to_words(DwordVector first, DwordVector second) {
  const auto low = hn::BitCast(Words(), first), high = hn::BitCast(Words(), second);
  const auto lost = hn::Min(hn::ConcatEven(Words(), high, low), word(1));
  return hn::Or(hn::ConcatOdd(Words(), high, low), lost);
}

inline hn::Vec<Singles> load_singles(const float* x) {
  return hn::LoadU(Singles(), x);
}
inline hn::Vec<Singles> load_singles(const Bfloat16* x) {
  const auto bits = hn::LoadU(hn::Half<Words>(), &x->bits);
  return hn::BitCast(Singles(), hn::ShiftLeft<16>(hn::PromoteTo(Dwords(), bits)));
}
inline hn::Vec<Singles> load_singles(const Float16* x) {
  const hn::Half<hn::ScalableTag<hwy::float16_t>> halves;
  return hn::PromoteTo(Singles(), hn::LoadU(halves, reinterpret_cast<const hwy::float16_t*>(x)));
}

/// words() numbers from x, as they are or times `scale` in float32.
template <bool scaled, class T>
WordVector load_words(const T* x, hn::Vec<Singles> scale) {
  if constexpr (std::is_same_v<T, Bfloat16> && !scaled) {
    return hn::LoadU(Words(), &x->bits);
  } else {
    auto first = load_singles(x), second = load_singles(x + hn::Lanes(Singles()));
    if constexpr (scaled) {
      first = hn::Mul(first, scale);
      second = hn::Mul(second, scale);
    }
    return cut_to_words(hn::BitCast(Dwords(), first), hn::BitCast(Dwords(), second));
  }
}

// ---- Encoding ----------------------------------------------------------------------------------
//
// Each returns words that hold a byte: the sign, and seven bits that count the magnitude's place
// among the format's values. For FP8 that is the code; hif8's codes are in another order. NaN is
// not for them.

inline WordVector magnitude_of(WordVector x) {
  return hn::And(x, word(0x7fff));
}
inline constexpr std::uint16_t infinity_bits = 0x7f80;

inline WordVector with_sign(WordVector place, WordVector x) {
  return select_bits(word(0x7f), place, hn::ShiftRight<8>(x));
}

/// Held between two bounds; words as signed numbers.
inline WordVector bounded(WordVector words, WordVector least, WordVector most) {
  const SignedWords d;
  const auto held =
      hn::Max(hn::Min(hn::BitCast(d, words), hn::BitCast(d, most)), hn::BitCast(d, least));
  return hn::BitCast(Words(), held);
}

/// What differs between E4M3 and E5M2.
struct Fp8Limits {
  std::uint16_t largest, overflow;  ///< as bf16: the largest number, and one that is too large
  std::uint16_t smallest, smallest_half;  ///< the smallest number, and half of it
  std::uint16_t normal;                   ///< the smallest normal number
  std::uint8_t multipliers[16];           ///< 2^(15 - s) / 256 by exponent modulo 16
};
// s = 4 (5 for E5M2) from the smallest normal number on, and one more for each exponent below.
inline constexpr Fp8Limits e4m3_limits{0x43e0, 0x43f0, 0x3b00,
                                       0x3a80, 0x3c80, {0, 0, 0, 0, 0, 0, 1, 2, 4, 8}};
inline constexpr Fp8Limits e5m2_limits{
    0x4760, 0x4780, 0x3780, 0x3700, 0x3880, {2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

struct Fp8Encoder {
  Fp8Encoder(const Fp8Limits& given, bool saturate)
      : limits(given), most(word(saturate ? limits.largest : limits.overflow)) {}

  /// Of a number of this magnitude with the sign of x. A magnitude may be negative: it is too
  /// small.
  WordVector places(WordVector x, WordVector magnitude) const {
    const auto [less_one, by] = line(bounded(magnitude, least, most));
    // Ties to even: half up, of what is one less unless the integer part is odd.
    const auto odd = hn::And(hn::MulHigh(less_one, hn::Add(by, by)), word(1));
    const auto place = multiply_rounding(hn::Add(less_one, odd), by);
    return with_sign(zero_if_too_small(place, magnitude), x);
  }

  static ByteVector codes(ByteVector places) { return places; }

  /// The significand with its leading bit, less one: of a subnormal of the format from its own
  /// exponent, of the rest from the smallest normal number's, so that exponents count on above it.
  /// And 2^(15 - s).
  struct Line {
    WordVector less_one, by;
  };

#if HWY_TARGET <= HWY_AVX3
  Line line(WordVector number) const {
    const auto exponent = hn::ShiftRight<7>(number);
    return {hn::Add(number, offset.at(exponent)), by.at(exponent)};
  }
  static WordVector zero_if_too_small(WordVector place, WordVector) {
    return place;
  }

  /// By the exponent modulo 64, from the one of `least` on. Half the smallest number has one more
  /// bit to drop than the table of multipliers holds; what is smaller has a multiplier of 0.
  WordTable of_exponent(bool multiplier) const {
    std::uint16_t entries[64];
    const int normal = limits.normal >> 7, half_smallest = limits.smallest_half >> 7;
    for (int e = 80; e < 144; ++e) {
      const int line_exponent = e < normal ? e : normal;
      const int by = e < half_smallest    ? 0
                     : e == half_smallest ? 128
                                          : 256 * limits.multipliers[line_exponent % 16];
      entries[e % 64] = static_cast<std::uint16_t>(multiplier ? by : 127 - line_exponent * 128);
    }
    return WordTable(entries);
  }
  Fp8Limits limits;
  WordVector most, least = word(80 << 7);
  WordTable offset = of_exponent(false), by = of_exponent(true);
#else
  Line line(WordVector number) const {
    const auto exponent = hn::And(hn::Min(number, word(limits.normal)), word(0x3f80));
    const auto index = hn::Or(hn::Add(exponent, exponent), word(0x80));
    return {hn::Add(hn::Sub(number, exponent), word(127)), look_up(multipliers, index)};
  }
  WordVector zero_if_too_small(WordVector place, WordVector magnitude) const {
    const SignedWords d;
    const auto half = hn::BitCast(d, word(limits.smallest_half));
    return hn::IfThenElseZero(hn::RebindMask(Words(), hn::Gt(hn::BitCast(d, magnitude), half)),
                              place);
  }
  Fp8Limits limits;
  WordVector most, least = word(limits.smallest);
  ByteVector multipliers = table(limits.multipliers);
#endif
};

/// HiF8 with ties away from zero. In places: subnormals 1 .. 7, then two numbers for each exponent
/// from -15 on, four from -7, eight from -3, four from 4 and two from 8; 127 is infinity.
struct Hif8Encoder {
  explicit Hif8Encoder(bool saturate) : most(word(saturate ? 0x4700 : 0x4720)) {}

  WordVector places(WordVector x, WordVector magnitude) const {
    const auto number = bounded(magnitude, least, most);
    const auto [by, offset] = line(number);
    const auto place = hn::Sub(multiply_rounding(hn::Sub(number, word(0x3400)), by), offset);
    return with_sign(zero_if_too_small(place, magnitude), x);
  }

  /// The low three bits of a code are those of the place, backwards for some exponents. There is no
  /// negative zero.
  ByteVector codes(ByteVector places) const {
    const auto eighth =
        hn::And(hn::BitCast(Bytes(), hn::ShiftRight<3>(hn::BitCast(Words(), places))),
                hn::Set(Bytes(), std::uint8_t{0x0f}));
    const auto codes = hn::Xor(places, hn::TableLookupBytes(differences, eighth));
    return hn::IfThenZeroElse(hn::Eq(places, hn::Set(Bytes(), std::uint8_t{0x80})), codes);
  }

  /// place = ((bits - 0x3400) * by + 2^14 >> 15) - offset, by the exponent; modulo 256.
  struct Line {
    WordVector by, offset;
  };

  // Exponents in groups of four, such that 4 .. 7 are one and so are -7 .. -4; by the number of the
  // group modulo 16: by / 256, and the offset.
  static constexpr std::uint8_t group_by[16] = {8, 4, 2, 2, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 4, 8};
  static constexpr std::uint8_t group_offset[16] = {120, 12, 206, 206, 0, 0, 0,  0,
                                                    0,   0,  0,   0,   8, 8, 40, 120};
#if HWY_TARGET <= HWY_AVX3
  Line line(WordVector number) const {
    const auto exponent = hn::ShiftRight<7>(number);
    return {by.at(exponent), offset.at(exponent)};
  }
  static WordVector zero_if_too_small(WordVector place, WordVector) {
    return place;
  }

  /// The same by the exponent modulo 64. 2^-23 and above have the place of 2^-22, which is 1, and
  /// what is below has 0.
  static WordTable by_exponent(const std::uint8_t (&by_group)[16], int unit, std::uint16_t at_23) {
    std::uint16_t entries[64] = {};
    for (int e = 105; e <= 142; ++e)
      entries[e % 64] = static_cast<std::uint16_t>(unit * by_group[(e < 128 ? e : e + 1) / 4 % 16]);
    entries[104 % 64] = at_23;
    return WordTable(entries);
  }
  WordVector most, least = word(79 << 7);
  WordTable by = by_exponent(group_by, 256, 0), offset = by_exponent(group_offset, 1, 0xffff);
#else
  Line line(WordVector number) const {
    const auto next = hn::And(hn::ShiftRight<7>(number), word(0x80));  // from 2 on: one exponent
    const auto group = hn::Add(number, next);
    const auto high = hn::And(hn::ShiftRight<1>(group), word(0x0f00));
    const auto low = hn::And(hn::ShiftRight<9>(group), word(0x000f));
    return {look_up(by, hn::Or(high, word(0x0080))), look_up(offset, hn::Or(low, word(0x8000)))};
  }
  static WordVector zero_if_too_small(WordVector place, WordVector magnitude) {
    return hn::IfThenElseZero(hn::Gt(magnitude, word(0x33ff)), place);
  }
  // 2^-23 and above up to 2^-22 are all rounded to 2^-22, which no multiplication does: they are
  // raised to where it does.
  WordVector most, least = word(0x3440);
  ByteVector by = table(group_by), offset = table(group_offset);
#endif

  static constexpr std::uint8_t difference_bytes[16] = {0x00, 0x76, 0x66, 0x44, 0x74, 0x10,
                                                        0x00, 0x20, 0x48, 0x58, 0x70, 0x70,
                                                        0x20, 0x20, 0x10, 0x10};
  ByteVector differences = table(difference_bytes);
};

/// The low bytes of two vectors of words below 256.
inline ByteVector low_bytes(WordVector first, WordVector second) {
#if HWY_TARGET <= HWY_AVX3
  const auto order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
  return ByteVector{_mm512_permutexvar_epi64(order, _mm512_packus_epi16(first.raw, second.raw))};
#else
  return hn::ConcatEven(Bytes(), hn::BitCast(Bytes(), second), hn::BitCast(Bytes(), first));
#endif
}

// ---- Decoding ----------------------------------------------------------------------------------
//
// Codes in words become the bits of bfloat16.

#if HWY_TARGET <= HWY_AVX3

/// Any format, by looking its 128 magnitudes up.
template <Format format>
struct Decoder {
  Decoder() : small(magnitudes(0)), large(magnitudes(64)) {}

  WordVector values(WordVector codes) const {
    const auto is_large = hn::TestBit(codes, word(0x40));
    auto value = hn::IfThenElse(is_large, large.at(codes), small.at(codes));
    value = select_bits(word(0x7fff), value, hn::ShiftLeft<8>(codes));
    if constexpr (format == Format::hif8)
      value = hn::IfThenElse(hn::Eq(codes, word(0x80)), word(0x7fc0), value);
    return value;
  }

  static WordTable magnitudes(int first) {
    std::uint16_t entries[64];
    for (int i = 0; i < 64; ++i)
      entries[i] = static_cast<std::uint16_t>(
          decode_bits(format, static_cast<std::uint8_t>(first + i)) >> 16);
    return WordTable(entries);
  }
  WordTable small, large;
};

#else

template <Format format>
struct Decoder {
  static constexpr bool e4m3 = format == Format::e4m3;

  WordVector values(WordVector codes) const {
    const auto place = hn::And(codes, word(0x7f));
    // A normal number's exponent and fraction are those of bf16 but for the bias.
    auto value = hn::Add(hn::ShiftLeft < e4m3 ? 4 : 5 > (place), word(e4m3 ? 0x3c00 : 0x3800));
    const auto pair = hn::Add(hn::Mul(place, word(0x0202)), word(0x0100));
    const auto subnormal = look_up(subnormals, pair);
    value = hn::IfThenElse(hn::Lt(place, word(e4m3 ? 8 : 4)), subnormal, value);
    if constexpr (!e4m3) value = hn::IfThenElse(hn::Eq(place, word(0x7c)), word(0x7f80), value);
    value = hn::IfThenElse(hn::Gt(place, word(e4m3 ? 0x7e : 0x7c)), word(0x7fc0), value);
    return select_bits(word(0x7fff), value, hn::ShiftLeft<8>(codes));
  }

  // m * 2^-9 or m * 2^-16 as bf16, least significant byte first.
  static constexpr std::uint8_t subnormal_bytes[2][16] = {
      {0, 0, 0x80, 0x37, 0x00, 0x38, 0x40, 0x38},
      {0, 0, 0x00, 0x3b, 0x80, 0x3b, 0xc0, 0x3b, 0x00, 0x3c, 0x20, 0x3c, 0x40, 0x3c, 0x60, 0x3c}};
  ByteVector subnormals = table(subnormal_bytes[e4m3]);
};

template <>
struct Decoder<Format::hif8> {
  WordVector values(WordVector codes) const {
    const auto place = hn::And(codes, word(0x7f));
    // The upper four bits say everything about the lower three: which of them are the exponent's,
    // and whether these count down.
    const auto eighth = hn::Or(hn::ShiftRight<3>(place), word(0x8000));
    const auto flip = look_up(flips, eighth);
    const auto low = hn::Xor(hn::And(codes, word(7)), flip);
    auto value = hn::Add(hn::ShiftLeft<7>(look_up(exponents, eighth)),
                         hn::Mul(low, look_up(multipliers, eighth)));
    value = hn::IfThenElse(hn::Eq(place, word(0x6f)), word(0x7f80), value);
    value = select_bits(word(0x7fff), value, hn::ShiftLeft<8>(codes));
    const auto special = hn::IfThenElseZero(hn::Eq(codes, word(0x80)), word(0x7fc0));
    return hn::IfThenElse(hn::Eq(place, word(0)), special, value);
  }

  // By code / 8: the biased exponent of the smallest of the eight, which bits to flip so that they
  // ascend, and what a unit of them adds to the bits of bf16.
  static constexpr std::uint8_t exponent_bytes[16] = {104, 127, 128, 126, 129, 130, 125, 124,
                                                      131, 133, 122, 120, 135, 139, 116, 112};
  static constexpr std::uint8_t flip_bytes[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 0, 0, 6, 6};
  static constexpr std::uint8_t multiplier_bytes[16] = {128, 16, 16, 16, 16, 16, 16, 16,
                                                        32,  32, 32, 32, 64, 64, 64, 64};
  ByteVector exponents = table(exponent_bytes), flips = table(flip_bytes),
             multipliers = table(multiplier_bytes);
};

#endif

}  // namespace HWY_NAMESPACE
}  // namespace ospsim
HWY_AFTER_NAMESPACE();
#endif

#endif  // per-target include guard
