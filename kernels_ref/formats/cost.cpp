#include "kernels_ref/formats/mxfp8.hpp"
#include "kernels_ref/formats/quantize.hpp"

namespace ospsim {
namespace {

Cost bytes(std::int64_t elements, int read, int written) {
  return {.flops = 0, .bytes = static_cast<double>(elements) * (read + written)};
}

}  // namespace

Cost encode_cost(std::int64_t elements, int source_bytes) {
  return bytes(elements, source_bytes, 1);
}
Cost decode_cost(std::int64_t elements, int source_bytes) {
  return bytes(elements, 1, source_bytes);
}
Cost quantize_dequantize_cost(std::int64_t elements, int source_bytes) {
  return bytes(elements, source_bytes, source_bytes);
}
Cost amax_cost(std::int64_t elements, int source_bytes) {
  return bytes(elements, source_bytes, 0);
}
Cost mx_encode_cost(std::int64_t rows, std::int64_t columns, int source_bytes) {
  return bytes(rows * columns, source_bytes, 1) + bytes(mx_scale_count(rows, columns), 0, 1);
}

}  // namespace ospsim
