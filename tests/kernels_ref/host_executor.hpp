#pragma once

#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/block/device_forward.hpp"
#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/formats/quantize.hpp"
#include "kernels_ref/formats/scaling.hpp"
#include "tests/kernels_ref/aligned.hpp"
#include "tests/kernels_ref/host_launch.hpp"

namespace ospsim {

/// Runs the operations of DeviceForward on the host: the kernels as they are, products and
/// attention by the naive back end on the bf16 numbers, rounded once at their end.
class HostExecutor {
 public:
  template <class T>
  using Array = Aligned<T>;
  template <class T>
  Aligned<T> array(std::int64_t size) {
    return Aligned<T>(index(size));
  }
  template <class T>
  Aligned<T> upload(std::span<const T> from) {
    Aligned<T> to(from.size());
    std::copy(from.begin(), from.end(), to.data());
    return to;
  }

  template <class Kernel>
  void launch(Work work, const Kernel& kernel) {
    count(work);
    host_launch(kernel);
  }

  void linear(Work work, const Product& product, const Bfloat16* x, const Bfloat16* weight,
              const Bfloat16* bias, Bfloat16* y) {
    count(work);
    const auto& [rows, in, out] = product.shape;
    std::vector<double> result(index(rows * out));
    linear_forward<Backend::naive>(product.shape, read(x, rows * in), read(weight, in * out),
                                   product.bias ? read(bias, out) : std::vector<double>{}, result);
    if (product.gelu) gelu_tanh_forward<Backend::naive>(std::vector(result), result);
    write(result, y);
  }

  void attention(Work work, const BatchedAttention& a, const Bfloat16* q, const Bfloat16* k,
                 const Bfloat16* v, Bfloat16* o) {
    count(work);
    for (std::int64_t batch = 0; batch < a.batches; ++batch) {
      const auto part = [&](const Bfloat16* from, BatchStrides s, std::int64_t rows) {
        std::vector<double> to;
        for (std::int64_t row = 0; row < rows; ++row) {
          const auto one =
              read(from + batch * s.batch_stride + row * s.row_stride, a.heads * a.head_dim);
          to.insert(to.end(), one.begin(), one.end());
        }
        return to;
      };
      const auto view = [&](auto* data, std::int64_t rows) {
        return rows_first(data, a.heads, rows, a.head_dim);
      };
      const auto qs = part(q, a.q, a.query_length), ks = part(k, a.k, a.key_length),
                 vs = part(v, a.v, a.key_length);
      std::vector<double> os(qs.size());
      attention_forward<Backend::naive>(
          group_of_all(a.query_length, a.key_length), view(qs.data(), a.query_length),
          view(ks.data(), a.key_length), view(vs.data(), a.key_length),
          view(os.data(), a.query_length), {});
      for (std::int64_t row = 0; row < a.query_length; ++row)
        write(std::vector(os.begin() + row * a.heads * a.head_dim,
                          os.begin() + (row + 1) * a.heads * a.head_dim),
              o + batch * a.o.batch_stride + row * a.o.row_stride);
    }
  }

  void attention_in_place(Work work, const Layout& layout, std::int64_t heads,
                          std::int64_t head_dim, const Bfloat16* q, const Bfloat16* k,
                          const Bfloat16* v, Bfloat16* o) {
    count(work);
    const std::int64_t rows = layout.grid().tokens(), size = rows * heads * head_dim;
    const auto view = [&](auto* data) { return rows_first(data, heads, rows, head_dim); };
    const auto qs = read(q, size), ks = read(k, size), vs = read(v, size);
    std::vector<double> os(qs.size());
    attention_forward<Backend::naive>(groups_in_place(layout), view(qs.data()), view(ks.data()),
                                      view(vs.data()), view(os.data()), {});
    write(os, o);
  }

  void quantize(Work work, const Bfloat16* from, Bfloat16* to, std::int64_t elements) {
    count(work);
    const std::vector<Bfloat16> x(from, from + elements);
    const Codec codec{.overflow = Overflow::saturate};
    quantize_dequantize<Backend::naive>(
        codec, std::span(x), std::span(to, index(elements)),
        scale_of(paper_forward(), amax<Backend::naive>(std::span(x)).amax));
  }

  std::int64_t operations(Work work) const { return counts_[static_cast<std::size_t>(work)]; }

 private:
  static std::vector<double> read(const Bfloat16* from, std::int64_t size) {
    std::vector<double> to(index(size));
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = to_float(from[i]);
    return to;
  }
  static void write(const std::vector<double>& from, Bfloat16* to) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = to_bfloat16(static_cast<float>(from[i]));
  }
  void count(Work work) { ++counts_[static_cast<std::size_t>(work)]; }

  std::vector<std::int64_t> counts_ = std::vector<std::int64_t>(work_kinds);
};

}  // namespace ospsim
