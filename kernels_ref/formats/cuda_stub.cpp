#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/int8.hpp"
#include "kernels_ref/formats/mxfp8.hpp"
#include "kernels_ref/formats/quantize.hpp"

namespace ospsim {
namespace {

constexpr const char* message =
    "the cuda back end of the 8-bit formats is not compiled into this build";

}  // namespace

template <>
void encode<Backend::cuda>(const Codec&, Numbers, std::span<std::uint8_t>, float, int) {
  throw UnavailableError(message);
}

template <>
void decode<Backend::cuda>(Format, std::span<const std::uint8_t>, MutableNumbers, float, int) {
  throw UnavailableError(message);
}

template <>
void quantize_dequantize<Backend::cuda>(const Codec&, Numbers, MutableNumbers, float, int) {
  throw UnavailableError(message);
}

template <>
Amax amax<Backend::cuda>(Numbers, int) {
  throw UnavailableError(message);
}

template <>
void mx_encode<Backend::cuda>(const MxCodec&, std::int64_t, Numbers, std::span<std::uint8_t>,
                              std::span<std::uint8_t>, int) {
  throw UnavailableError(message);
}

template <>
void mx_decode<Backend::cuda>(Format, std::int64_t, std::span<const std::uint8_t>,
                              std::span<const std::uint8_t>, MutableNumbers, int) {
  throw UnavailableError(message);
}

template <>
void int8_encode<Backend::cuda>(Numbers, float, std::span<std::int8_t>, int) {
  throw UnavailableError(message);
}

template <>
void int8_decode<Backend::cuda>(std::span<const std::int8_t>, float, MutableNumbers, int) {
  throw UnavailableError(message);
}

}  // namespace ospsim
