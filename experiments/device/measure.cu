#include "experiments/device/measure.cuh"

namespace ospsim {

std::int64_t not_finite(CudaExecutor& on, const Bfloat16* x, std::int64_t size) {
  const auto found = on.array<DeviceAmax>(1);
  launch(on.stream(), FindAmax<Bfloat16>{x, found.data(), size});
  return static_cast<std::int64_t>(download(on, found.data(), 1)[0].not_finite);
}

namespace {

struct ProductRates {
  double best_flops_per_s = 0, sustained_flops_per_s = 0;
};

ProductRates product_rates(CudaExecutor& on, const RecordSizes& sizes, Product::Operands operands) {
  const std::int64_t n = sizes.product_size;
  const Product product{.shape = {n, n, n}, .bias = false, .operands = operands};
  const auto x = normal_array(on, n * n, 1), weight = normal_array(on, n * n, 2);
  auto y = on.array<Bfloat16>(n * n);
  const auto rates = [&](const void* a, const void* b) -> ProductRates {
    const auto start = [&] { on.linear(Work::projection, product, a, b, nullptr, y.data()); };
    const auto first_ms = measure_ms(on, sizes, start);
    run_for(on, sizes.sustained_ms, start);
    const auto later_ms = timed_ms(on, sizes.kernel_repetitions, start);
    const double best_ms = std::min(*std::min_element(first_ms.begin(), first_ms.end()),
                                    *std::min_element(later_ms.begin(), later_ms.end()));
    return {product.cost().flops / best_ms * 1e3, product.cost().flops / median(later_ms) * 1e3};
  };
  try {
    if (operands == Product::Operands::bf16) return rates(x.data(), weight.data());
    const auto x_codes = e4m3_codes(on, x), weight_codes = e4m3_codes(on, weight);
    return rates(x_codes.data(), weight_codes.data());
  } catch (const UnavailableError&) {
    return {};
  }
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
  const auto found = on.array<DeviceAmax>(1);
  const auto best_ms = [&](const auto& start) {
    const auto ms = measure_ms(on, sizes, start);
    return *std::min_element(ms.begin(), ms.end());
  };
  const double copy_ms = best_ms([&] {
    check_cuda(cudaMemcpyAsync(to.data(), from.data(), static_cast<std::size_t>(bytes),
                               cudaMemcpyDeviceToDevice, on.stream()));
  });
  const double read_ms = best_ms([&] {
    launch(on.stream(), FindAmax<Bfloat16>{from.data(), found.data(), bytes / 2});
  });
  const auto bf16 = product_rates(on, sizes, Product::Operands::bf16),
             e4m3 = product_rates(on, sizes, Product::Operands::e4m3);
  return {.copy_bytes_per_s = 2.0 * static_cast<double>(bytes) / copy_ms * 1e3,
          .read_bytes_per_s = static_cast<double>(bytes) / read_ms * 1e3,
          .bf16_flops_per_s = bf16.best_flops_per_s,
          .e4m3_flops_per_s = e4m3.best_flops_per_s,
          .sustained_bf16_flops_per_s = bf16.sustained_flops_per_s};
}

}  // namespace ospsim
