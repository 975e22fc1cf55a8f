#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/cuda/lane.hpp"
#include "kernels_ref/formats/elements.hpp"
#include "kernels_ref/formats/places.hpp"
#include "kernels_ref/formats/scaling.hpp"
#include "kernels_ref/index.hpp"

// The codecs on a device.
//
//   version 1  the scalar codec, one number a thread. Not measured
//   version 2  16 bytes a thread and access, four accesses in flight, a grid that stays. To round
//              to nearest is one or two additions and a shift, by a table of exponents, and a
//              look-up of what the codec makes of the result; other roundings go through the scalar
//              codec. Not measured yet
//
// Predicted for version 2 on an H200 from its machine code: cycles of a multiprocessor per number
// for the bytes (4.3 TB/s copied at 1.7 GHz), all instructions (128 a cycle), those of the integer
// pipe (64), and passes through shared memory and the first cache (32 numbers each; normal numbers
// scaled to an amax of 15). The bytes count everywhere: 85 % of a copy is in reach.
//                                     bytes   instructions  integer      passes
//   and back, bf16     hif8 ta        0.208   12.5: 0.10    6.6: 0.10    4.9: 0.15
//                      FP8 rne        0.208   14.5: 0.11    9.7: 0.15    4.9: 0.15
//   to codes, bf16     hif8 ta        0.156   12.4: 0.10    6.6: 0.10    3.8: 0.12
//                      FP8 rne        0.156   14.4: 0.11    9.7: 0.15    3.8: 0.12
//   from codes         bf16           0.156    5.4: 0.04    2.8: 0.04    2.8: 0.09
//   and back, float32  hif8 ta        0.417   12.9: 0.10    6.6: 0.10    8.4: 0.26
//   to codes, float32  FP8 rne        0.260   15.9: 0.12   10.3: 0.16    4.3: 0.13
//   amax, bf16         read only      0.104    3.2: 0.03    2.0: 0.03    0.5: 0.02
namespace ospsim {

/// What FindAmax finds, on the device. It adds to what is there, so that it must start as zeros.
struct DeviceAmax {
  std::uint32_t largest = 0;  ///< the bits of a float32
  unsigned long long not_finite = 0;
};

/// The scale of a tensor: a number, or what a recipe makes of an amax that the host has not seen.
struct TensorScale {
  float value = 1;
  const DeviceAmax* amax = nullptr;
  Quantization recipe{};  ///< of one scale per tensor; asked for target, epsilon and power_of_two

  OSPSIM_HOST_DEVICE float get() const {
    return amax == nullptr ? value : scale_of(recipe, std::bit_cast<float>(amax->largest));
  }
};

/// How the code of a number is found: rounding to nearest by place, ties away from zero or to even;
/// or by the scalar codec.
enum class Way : std::uint8_t { ties_away, ties_even, scalar };
constexpr Way way_of(const Codec& codec) {
  return codec.format == Format::e8m0      ? Way::scalar
         : codec.rounding == Rounding::ta  ? Way::ties_away
         : codec.rounding == Rounding::rne ? Way::ties_even
                                           : Way::scalar;
}

namespace codec_detail {

/// Bytes of two words, chosen by the digits of `selector`, last digit first.
OSPSIM_HOST_DEVICE constexpr std::uint32_t choose_bytes(std::uint32_t low, std::uint32_t high,
                                                        std::uint32_t selector) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(low, high, selector);
#else
  const std::uint64_t both = static_cast<std::uint64_t>(high) << 32 | low;
  std::uint32_t result = 0;
  for (unsigned i = 0; i < 4; ++i)
    result |= static_cast<std::uint32_t>(both >> (selector >> 4 * i & 7u) * 8 & 0xffu) << 8 * i;
  return result;
#endif
}

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, std::uint32_t,
                                  std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint8_t>>;

/// What becomes of a place: the bits for a positive number, and those that differ for a negative
/// one.
template <class Bits>
struct alignas(2 * sizeof(Bits)) Outcome {
  Bits positive, differs;
};

using Words = Pack<std::uint32_t, 4>;

OSPSIM_HOST_DEVICE inline float widened(Float16 x) {
#if defined(__CUDA_ARCH__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
#else
  return to_float(x);
#endif
}

/// Number j of 16 bytes.
template <class T>
OSPSIM_HOST_DEVICE float number_at(const Words& words, int j) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<float>(words.at[j]);
  } else {
    const std::uint32_t word = words.at[j / 2];
    if constexpr (std::is_same_v<T, Bfloat16>)
      return std::bit_cast<float>(j % 2 == 0 ? word << 16 : word & 0xffff0000u);
    else
      return widened(Float16{static_cast<std::uint16_t>(j % 2 == 0 ? word : word >> 16)});
  }
}

template <class T>
OSPSIM_HOST_DEVICE bool is_aligned(const T* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

template <class T>
OSPSIM_HOST_DEVICE constexpr BitsOf<T> bits_of(T x) {
  return std::bit_cast<BitsOf<T>>(x);
}

/// The value of a code divided by the scale. A NaN is left as it is: which NaN a division makes of
/// it depends on the machine.
template <class T>
OSPSIM_HOST_DEVICE T unscaled(Format format, std::uint8_t code, float scale) {
  const float value = decode(format, code);
  T result;
  narrow(value == value ? value / scale : value, result);
  return result;
}

constexpr std::int64_t blocks_of(std::int64_t n, std::int64_t of_a_block) {
  return (n + of_a_block - 1) / of_a_block;
}
/// No more blocks than find a place at once, with `resident` threads on each of the
/// multiprocessors of an H100.
constexpr std::int64_t staying_blocks(std::int64_t blocks, int threads, int resident) {
  const std::int64_t most = 132 * resident / threads;
  return blocks < most ? blocks : most;
}

/// A thread's share of 16-byte packs: of each tile that its block takes, every threads-th.
template <int threads, int in_flight>
struct Tiles {
  template <class Lane>
  OSPSIM_HOST_DEVICE Tiles(Lane& lane, std::int64_t all)
      : packs(all), first(lane.block() * tile + lane.thread()), step(lane.blocks() * tile) {}
  /// How many packs follow from `at` on, as far as the end of a tile.
  OSPSIM_HOST_DEVICE int left(std::int64_t at) const {
    return static_cast<int>(packs - at < tile ? packs - at : tile);
  }
  static constexpr std::int64_t tile = threads * in_flight;
  std::int64_t packs, first, step;
};
/// A thread's share of the numbers from `from` on, one by one.
struct Rest {
  template <class Lane>
  OSPSIM_HOST_DEVICE Rest(Lane& lane, std::int64_t from)
      : first(from + lane.block() * lane.threads() + lane.thread()),
        step(lane.blocks() * lane.threads()) {}
  std::int64_t first, step;
};

}  // namespace codec_detail

// ---- Kernels -----------------------------------------------------------------------------------
//
// Arrays are contiguous. They may begin anywhere the type allows; fast is what begins at multiples
// of 16 bytes (codes: of 8).

/// to[i] = the code of x[i] * scale, as encode() of formats/quantize.hpp says (Result is
/// std::uint8_t), or what decode() makes of that code (Result is T; `to` may be x). `way` is
/// way_of(codec): with_quantize sees to that.
template <class T, Way way, class Result>
struct Quantize {
  static constexpr int threads = 512;
  static constexpr int packs_in_flight = way == Way::scalar ? 1 : 4;
  static constexpr bool to_codes = std::is_same_v<Result, std::uint8_t>;
  static_assert(to_codes || std::is_same_v<Result, T>);

  using Bits = codec_detail::BitsOf<Result>;
  using Outcome = codec_detail::Outcome<Bits>;
  using Step = codec_detail::Step;
  using Words = codec_detail::Words;
  static constexpr int pack = pack_size<T>;
  using Out = Pack<std::uint32_t, sizeof(Result) * pack / 4>;  ///< what becomes of 16 bytes
  static constexpr int exponents = 256, most_places = 130, codes = 256;

  Codec codec;
  const T* x = nullptr;
  Result* to = nullptr;
  std::int64_t n = 0;
  TensorScale scale;

  std::int64_t blocks() const {
    return codec_detail::staying_blocks(
        codec_detail::blocks_of(n, threads * pack * packs_in_flight), threads, 1024);
  }
  std::size_t shared_bytes() const {
    return way != Way::scalar ? exponents * sizeof(Step) + most_places * sizeof(Outcome)
           : to_codes         ? 0
                              : codes * sizeof(Result);
  }
  Cost cost() const { return {.bytes = static_cast<double>(n) * (sizeof(T) + sizeof(Result))}; }

  /// What is looked up, in the memory of a block.
  struct Tables {
    Step* steps;        ///< [exponents]
    Outcome* outcomes;  ///< [most_places]
    Result* values;     ///< [codes], for the scalar codec only
  };
  OSPSIM_HOST_DEVICE static Tables tables_in(unsigned char* memory) {
    auto* const steps = reinterpret_cast<Step*>(memory);
    return {steps, reinterpret_cast<Outcome*>(steps + exponents),
            reinterpret_cast<Result*>(memory)};
  }

  /// A thread's part of the tables.
  OSPSIM_HOST_DEVICE void fill(const Tables& tables, int thread, float s) const {
    using namespace codec_detail;
    if constexpr (way == Way::scalar) {
      if constexpr (!to_codes)
        if (thread < codes)
          tables.values[thread] = unscaled<T>(codec.format, static_cast<std::uint8_t>(thread), s);
    } else {
      constexpr bool even = way == Way::ties_even;
      if (thread < exponents)
        tables.steps[thread] = step_of<even>(codec.format, static_cast<std::uint32_t>(thread));
      else
        fill_outcome(tables.outcomes, thread - exponents, s);
    }
  }

  /// What becomes of 16 bytes of x; the first of them is element `first` of the tensor.
  OSPSIM_HOST_DEVICE Out results(const Tables& tables, const Words& words, float s,
                                 std::int64_t first) const {
    if constexpr (way == Way::scalar)
      return scalar_results(tables, words, s, first);
    else
      return place_results(tables, words, s);
  }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    using namespace codec_detail;
    const bool packed = is_aligned(x, 16) && is_aligned(to, sizeof(Out));
    const Tiles<threads, packs_in_flight> tiles(lane, packed ? n / pack : 0);
    Words words[index(packs_in_flight)] = {};
    const auto read = [&](std::int64_t at) {
      const int left = tiles.left(at);
      OSPSIM_UNROLL
      for (int p = 0; p < packs_in_flight; ++p)
        if (p * threads < left)
          words[p] = load16(reinterpret_cast<const std::uint32_t*>(x) + (at + p * threads) * 4);
    };
    read(tiles.first);  // on its way while the tables are made

    const float s = scale.get();
    const Tables tables = tables_in(lane.template shared<unsigned char>());
    fill(tables, lane.thread(), s);
    lane.sync();

    for (std::int64_t at = tiles.first; at < tiles.packs;) {
      const int left = tiles.left(at);
      OSPSIM_UNROLL
      for (int p = 0; p < packs_in_flight; ++p)
        if (p * threads < left)
          *reinterpret_cast<Out*>(to + (at + p * threads) * pack) =
              results(tables, words[p], s, (at + p * threads) * pack);
      at += tiles.step;
      read(at);
    }
    const Rest rest(lane, tiles.packs * pack);
    for (std::int64_t i = rest.first; i < n; i += rest.step)
      to[i] = std::bit_cast<Result>(
          static_cast<Bits>(results(tables, Words{{bits_of(x[i])}}, s, i).at[0]));
  }

 private:
  /// What becomes of one place: those of the codes below 128, then the one before Inf's, Inf's,
  /// NaN's.
  OSPSIM_HOST_DEVICE void fill_outcome(Outcome* outcomes, int i, float s) const {
    using namespace codec_detail;
    constexpr std::uint32_t infinity = 0x7f800000u, nan = 0x7fc00000u;
    const Codec element{
        .format = codec.format, .rounding = codec.rounding, .overflow = codec.overflow};
    std::uint32_t place = infinity_place(codec.format) + static_cast<std::uint32_t>(i) - 129;
    auto code = static_cast<std::uint8_t>(i);
    if (i < 128) {
      const std::uint32_t value = decode_bits(codec.format, code);
      if (value >= infinity) return;
      place = place_of<way == Way::ties_even>(
          step_of<way == Way::ties_even>(codec.format, value >> 23), value);
    } else {
      if (i > 130 || (i == 128 && codec.format == Format::e5m2)) return;  // e5m2: a code's
      code = encode_bits(element, Source::f32, i == 130 ? nan : infinity);
    }
    // The product has the other sign than x where the scale is negative, but a NaN keeps its own.
    const bool has_sign = codec.format != Format::hif8 || (code != 0 && code != 0x80);
    if (has_sign && i != 130 && std::bit_cast<std::uint32_t>(s) >> 31 != 0) code ^= 0x80;
    constexpr auto sign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
    Bits positive = code;
    if constexpr (!to_codes) positive = bits_of(unscaled<T>(codec.format, code, s));
    outcomes[place] = {positive, has_sign ? sign : Bits{0}};
  }

  OSPSIM_HOST_DEVICE Out place_results(const Tables& tables, const Words& words, float s) const {
    using namespace codec_detail;
    Outcome outcomes[index(pack)];
    OSPSIM_UNROLL
    for (int j = 0; j < pack; ++j) {
      const std::uint32_t magnitude =
          std::bit_cast<std::uint32_t>(std::abs(number_at<T>(words, j)) * std::abs(s));
      const Step step = tables.steps[magnitude >> 23];
      outcomes[j] = tables.outcomes[place_of<way == Way::ties_even>(step, magnitude)];
    }
    Out result;
    if constexpr (sizeof(Result) == 4) {
      OSPSIM_UNROLL
      for (int j = 0; j < 4; ++j)
        result.at[j] = outcomes[j].positive ^ (words.at[j] & outcomes[j].differs);
    } else if constexpr (sizeof(Result) == 2) {
      OSPSIM_UNROLL
      for (int j = 0; j < 4; ++j) {
        const auto even = std::bit_cast<std::uint32_t>(outcomes[2 * j]);
        const auto odd = std::bit_cast<std::uint32_t>(outcomes[2 * j + 1]);
        result.at[j] =
            choose_bytes(even, odd, 0x5410) ^ (words.at[j] & choose_bytes(even, odd, 0x7632));
      }
    } else {
      OSPSIM_UNROLL
      for (int j = 0; j < pack; j += 4) {
        const auto pair = [&](int k) -> std::uint32_t {
          return std::bit_cast<std::uint16_t>(outcomes[k]) |
                 static_cast<std::uint32_t>(std::bit_cast<std::uint16_t>(outcomes[k + 1])) << 16;
        };
        const std::uint32_t low = pair(j), high = pair(j + 2);
        std::uint32_t signs;  // the upper byte of each of the four
        if constexpr (sizeof(T) == 2)
          signs = choose_bytes(words.at[j / 2], words.at[j / 2 + 1], 0x7531);
        else
          signs = choose_bytes(choose_bytes(words.at[0], words.at[1], 0x0073),
                               choose_bytes(words.at[2], words.at[3], 0x0073), 0x5410);
        result.at[j / 4] =
            choose_bytes(low, high, 0x6420) ^ (signs & choose_bytes(low, high, 0x7531));
      }
    }
    return result;
  }

  OSPSIM_HOST_DEVICE Out scalar_results(const Tables& tables, const Words& words, float s,
                                        std::int64_t first) const {
    const auto numbers = std::bit_cast<Pack16<T>>(words);
    Pack<Result, pack_size<T>> result;
    OSPSIM_UNROLL
    for (int j = 0; j < pack; ++j) {
      const std::uint64_t element = codec.first_element + static_cast<std::uint64_t>(first + j);
      const std::uint8_t code = s == 1 ? encode(codec, numbers.at[j], element)
                                       : encode(codec, to_float(numbers.at[j]) * s, element);
      if constexpr (to_codes)
        result.at[j] = code;
      else
        result.at[j] = tables.values[code];
    }
    return std::bit_cast<Out>(result);
  }
};

/// f(the kernel that does it).
template <class T, class Result, class F>
void with_quantize(const Codec& codec, const T* x, Result* to, std::int64_t n,
                   const TensorScale& scale, const F& f) {
  switch (way_of(codec)) {
    case Way::ties_away:
      return f(Quantize<T, Way::ties_away, Result>{codec, x, to, n, scale});
    case Way::ties_even:
      return f(Quantize<T, Way::ties_even, Result>{codec, x, to, n, scale});
    case Way::scalar:
      return f(Quantize<T, Way::scalar, Result>{codec, x, to, n, scale});
  }
}

/// x[i] = the value of codes[i] / scale, as decode() of formats/quantize.hpp says.
template <class T>
struct Dequantize {
  static constexpr int threads = 512;
  static constexpr int packs_in_flight = 4;
  static constexpr int pack = pack_size<T>;

  Format format = Format::hif8;
  const std::uint8_t* codes = nullptr;
  T* x = nullptr;
  std::int64_t n = 0;
  TensorScale scale;

  std::int64_t blocks() const {
    return codec_detail::staying_blocks(
        codec_detail::blocks_of(n, threads * pack * packs_in_flight), threads, 1024);
  }
  std::size_t shared_bytes() const { return 256 * sizeof(T); }
  Cost cost() const { return {.bytes = static_cast<double>(n) * (1 + sizeof(T))}; }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    using namespace codec_detail;
    using Codes = Pack<std::uint32_t, pack_size<T> / 4>;
    const bool packed = is_aligned(x, 16) && is_aligned(codes, sizeof(Codes));
    const Tiles<threads, packs_in_flight> tiles(lane, packed ? n / pack : 0);
    Codes packs_read[packs_in_flight] = {};
    const auto read = [&](std::int64_t at) {
      const int left = tiles.left(at);
      OSPSIM_UNROLL
      for (int p = 0; p < packs_in_flight; ++p)
        if (p * threads < left)
          packs_read[p] = *reinterpret_cast<const Codes*>(codes + (at + p * threads) * pack);
    };
    read(tiles.first);  // on its way while the table is made

    T* const values = lane.template shared<T>();
    if (lane.thread() < 256)
      values[lane.thread()] =
          unscaled<T>(format, static_cast<std::uint8_t>(lane.thread()), scale.get());
    lane.sync();

    for (std::int64_t at = tiles.first; at < tiles.packs;) {
      const int left = tiles.left(at);
      OSPSIM_UNROLL
      for (int p = 0; p < packs_in_flight; ++p)
        if (p * threads < left) {
          const auto value = [&](int j) -> std::uint32_t {
            return bits_of(values[packs_read[p].at[j / 4] >> 8 * (j % 4) & 0xffu]);
          };
          Words result;
          OSPSIM_UNROLL
          for (int j = 0; j < 4; ++j)
            result.at[j] = pack == 4 ? value(j) : value(2 * j) | value(2 * j + 1) << 16;
          *reinterpret_cast<Words*>(x + (at + p * threads) * pack) = result;
        }
      at += tiles.step;
      read(at);
    }
    const Rest rest(lane, tiles.packs * pack);
    for (std::int64_t i = rest.first; i < n; i += rest.step) x[i] = values[codes[i]];
  }
};

/// found->largest = the largest magnitude among the finite numbers of x and what was there;
/// found->not_finite += how many are not finite.
template <class T>
struct FindAmax {
  static constexpr int threads = 512;
  static constexpr int packs_in_flight = 4;
  static constexpr int pack = pack_size<T>;

  const T* x = nullptr;
  DeviceAmax* found = nullptr;
  std::int64_t n = 0;

  std::int64_t blocks() const {
    return codec_detail::staying_blocks(
        codec_detail::blocks_of(n, threads * pack * packs_in_flight), threads, 2048);
  }
  std::size_t shared_bytes() const { return threads / warp_lanes * sizeof(std::uint32_t); }
  Cost cost() const { return {.bytes = static_cast<double>(n) * sizeof(T)}; }

  template <class Lane>
  OSPSIM_HOST_DEVICE void operator()(Lane& lane) const {
    using namespace codec_detail;
    std::uint32_t largest = 0;
    unsigned long long not_finite = 0;
    const auto take_one = [&](std::int64_t i) {
      const std::uint32_t number = magnitude(Words{{bits_of(x[i])}}, 0);
      if (number < infinity)
        largest = Max{}(largest, number);
      else
        ++not_finite;
    };

    const Tiles<threads, packs_in_flight> tiles(lane, is_aligned(x, 16) ? n / pack : 0);
    for (std::int64_t at = tiles.first; at < tiles.packs; at += tiles.step) {
      const int left = tiles.left(at);
      Words words[packs_in_flight] = {};
      OSPSIM_UNROLL
      for (int p = 0; p < packs_in_flight; ++p)
        if (p * threads < left)
          words[p] = load16(reinterpret_cast<const std::uint32_t*>(x) + (at + p * threads) * 4);
      std::uint32_t of_all = 0;
      OSPSIM_UNROLL
      for (int p = 0; p < packs_in_flight; ++p) {
        OSPSIM_UNROLL
        for (int j = 0; j < pack; ++j) of_all = Max{}(of_all, magnitude(words[p], j));
      }
      if (of_all < infinity) {
        largest = Max{}(largest, of_all);
        continue;
      }
      for (int p = 0; p < left; p += threads)
        for (int j = 0; j < pack; ++j) take_one((at + p) * pack + j);
    }
    const Rest rest(lane, tiles.packs * pack);
    for (std::int64_t i = rest.first; i < n; i += rest.step) take_one(i);

    largest = block_combine(lane, largest, Max{}, lane.template shared<std::uint32_t>());
    if (std::is_same_v<T, Float16>)
      largest = float_bits(Float16{static_cast<std::uint16_t>(largest >> 16)});
    if (lane.thread() == 0) lane.atomic_max(&found->largest, largest);
    if (not_finite != 0) lane.atomic_add(&found->not_finite, not_finite);
  }

 private:
  // Magnitudes as the bits of T, in the upper half of a word where T has 16.
  static constexpr std::uint32_t infinity = std::is_same_v<T, Float16> ? 0x7c000000u : 0x7f800000u;
  OSPSIM_HOST_DEVICE static std::uint32_t magnitude(const codec_detail::Words& words, int j) {
    if constexpr (sizeof(T) == 4)
      return words.at[j] & 0x7fffffffu;
    else
      return (j % 2 == 0 ? words.at[j / 2] << 16 : words.at[j / 2]) & 0x7fff0000u;
  }
};

}  // namespace ospsim
