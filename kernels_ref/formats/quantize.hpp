#pragma once

#include <cstdint>
#include <span>

#include "kernels_ref/backend.hpp"
#include "kernels_ref/formats/codec.hpp"

/// Whole tensors through one codec: x is a span or vector of float, Bfloat16 or Float16. `threads`
/// 0 means all cores and never changes a bit; neither does the back end: each element becomes what
/// formats/codec.hpp says. Buffers may be of any size, zero included, and of any alignment the type
/// allows. All throw std::invalid_argument where sizes differ, and InputError for a codec that
/// check_codec refuses.
namespace ospsim {

/// codes[i] = the code of x[i] * scale, as element codec.first_element + i of stochastic rounding.
/// The product is float32, rounded to nearest, and is what hybrid rounding looks at; with scale 1
/// that is x itself, in its own type.
template <Backend B>
void encode(const Codec& codec, Numbers x, std::span<std::uint8_t> codes, float scale = 1,
            int threads = 0);

/// x[i] = the value of codes[i] / scale, a float32 division rounded to nearest even again for bf16
/// and f16. With scale 1 every value of hif8, e4m3 and e5m2 is exact in all three types; e8m0 does
/// not fit Float16 (InputError).
template <Backend B>
void decode(Format format, std::span<const std::uint8_t> codes, MutableNumbers x, float scale = 1,
            int threads = 0);

/// decode of encode, without the codes leaving the caches. x and y are of one type; they may be the
/// same buffer, but not overlap otherwise.
template <Backend B>
void quantize_dequantize(const Codec& codec, Numbers x, MutableNumbers y, float scale = 1,
                         int threads = 0);

/// The largest magnitude among the finite elements, 0 if there is none, and how many are not
/// finite.
struct Amax {
  float amax = 0;
  std::int64_t not_finite = 0;
  friend bool operator==(const Amax&, const Amax&) = default;
};
template <Backend B>
Amax amax(Numbers x, int threads = 0);

/// Bytes read and written. Nothing here counts as a floating-point operation.
Cost encode_cost(std::int64_t elements, int source_bytes);
Cost decode_cost(std::int64_t elements, int source_bytes);
Cost quantize_dequantize_cost(std::int64_t elements, int source_bytes);
Cost amax_cost(std::int64_t elements, int source_bytes);

}  // namespace ospsim
