#pragma once

#include <cstdint>
#include <span>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/formats/codec.hpp"

/// Whole tensors through one codec. T is float, Bfloat16 or Float16. `threads` 0 means all cores
/// and never changes a bit; neither does the back end: each element becomes what formats/codec.hpp
/// says. Buffers may be of any size, zero included, and of any alignment the type allows. All throw
/// std::invalid_argument where sizes differ, and InputError for a codec that check_codec refuses.
namespace ospsim {

/// codes[i] = the code of x[i] * scale, as element codec.first_element + i of stochastic rounding.
/// The product is float32, rounded to nearest, and is what hybrid rounding looks at; with scale 1
/// that is x itself, in its own type.
template <Backend B, class T>
void encode(const Codec& codec, std::span<const T> x, std::span<std::uint8_t> codes,
            float scale = 1, int threads = 0);

/// x[i] = the value of codes[i]: exact in every T for hif8, e4m3 and e5m2. e8m0 does not fit
/// Float16 (InputError).
template <Backend B, class T>
void decode(Format format, std::span<const std::uint8_t> codes, std::span<T> x, int threads = 0);

/// y[i] = the value of the code of x[i] * scale, divided by scale in float32 and, for bf16 and f16,
/// rounded to nearest even. x and y may be the same buffer, but not overlap otherwise.
template <Backend B, class T>
void quantize_dequantize(const Codec& codec, std::span<const T> x, std::span<T> y, float scale = 1,
                         int threads = 0);

/// The largest magnitude among the finite elements, 0 if there is none, and how many are not
/// finite.
struct Amax {
  float amax = 0;
  std::int64_t not_finite = 0;
  friend bool operator==(const Amax&, const Amax&) = default;
};
template <Backend B, class T>
Amax amax(std::span<const T> x, int threads = 0);

/// Bytes read and written. Nothing here counts as a floating-point operation.
Cost encode_cost(std::int64_t elements, int source_bytes);
Cost decode_cost(std::int64_t elements, int source_bytes);
Cost quantize_dequantize_cost(std::int64_t elements, int source_bytes);
Cost amax_cost(std::int64_t elements, int source_bytes);

}  // namespace ospsim
