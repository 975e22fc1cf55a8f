#include "experiments/device/measure.cuh"

namespace ospsim {

std::int64_t not_finite(CudaExecutor& on, const Bfloat16* x, std::int64_t size) {
  const auto found = on.array<DeviceAmax>(1);
  launch(on.stream(), FindAmax<Bfloat16>{x, found.data(), size});
  return static_cast<std::int64_t>(download(on, found.data(), 1)[0].not_finite);
}

namespace {

double product_flops_per_s(CudaExecutor& on, const RecordSizes& sizes, Product::Operands operands) {
  const std::int64_t n = sizes.product_size;
  const Product product{.shape = {n, n, n}, .bias = false, .operands = operands};
  const auto x = normal_array(on, n * n, 1), weight = normal_array(on, n * n, 2);
  auto y = on.array<Bfloat16>(n * n);
  const auto run = [&](const void* a, const void* b) {
    const auto ms = measure_ms(on, sizes.kernel_repetitions, [&] {
      on.linear(Work::projection, product, a, b, nullptr, y.data());
    });
    return product.cost().flops / *std::min_element(ms.begin(), ms.end()) * 1e3;
  };
  if (operands == Product::Operands::bf16) return run(x.data(), weight.data());
  const auto x_codes = e4m3_codes(on, x), weight_codes = e4m3_codes(on, weight);
  return run(x_codes.data(), weight_codes.data());
}

}  // namespace

DeviceBuffer<std::uint8_t> e4m3_codes(CudaExecutor& on, const DeviceBuffer<Bfloat16>& x) {
  const auto size = static_cast<std::int64_t>(x.size());
  auto codes = on.array<std::uint8_t>(size);
  const Codec codec{.format = Format::e4m3, .rounding = Rounding::rne};
  with_quantize(codec, x.data(), codes.data(), size, TensorScale{},
                [&](const auto& kernel) { launch(on.stream(), kernel); });
  return codes;
}

Ceilings measure_ceilings(CudaExecutor& on, const RecordSizes& sizes) {
  const std::int64_t bytes = sizes.copy_bytes;
  const auto from = normal_array(on, bytes / 2, 1);
  const auto to = on.array<Bfloat16>(bytes / 2);
  const auto ms = measure_ms(on, sizes.kernel_repetitions, [&] {
    check_cuda(cudaMemcpyAsync(to.data(), from.data(), static_cast<std::size_t>(bytes),
                               cudaMemcpyDeviceToDevice, on.stream()));
  });
  const double copy =
      2.0 * static_cast<double>(bytes) / *std::min_element(ms.begin(), ms.end()) * 1e3;
  return {copy, product_flops_per_s(on, sizes, Product::Operands::bf16),
          product_flops_per_s(on, sizes, Product::Operands::e4m3)};
}

}  // namespace ospsim
