#include "analysis/quantization_study.hpp"

#include <algorithm>

#include "kernels_ref/index.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

/// f(a sum, first, last) over parts of [0, n) in parallel; the sums are added to `total` in order.
template <class Sum, class F>
void add_parts(std::size_t n, const Sum& empty, Sum& total, int threads, const F& f) {
  constexpr std::int64_t part = 1 << 16;
  const auto count = static_cast<std::int64_t>(n);
  std::vector<Sum> sums(index((count + part - 1) / part), empty);
  parallel_ranges(count, part, threads, [&](std::int64_t first, std::int64_t last) {
    f(sums[index(first / part)], index(first), index(last - first));
  });
  for (const Sum& sum : sums) total.add(sum);
}

}  // namespace

MatrixView matrix_view(std::span<const std::int64_t> shape) {
  MatrixView view{.elements = 1};
  for (const std::int64_t extent : shape) view.elements *= extent;
  if (shape.size() < 2) {
    view.columns = std::clamp<std::int64_t>(view.elements, 1, 1024);
    view.rows = view.steps = (view.elements + view.columns - 1) / view.columns;
  } else {
    view.columns = std::max<std::int64_t>(shape.back(), 1);
    view.rows = view.elements / view.columns;
    view.steps = shape.front();
  }
  view.steps = std::max<std::int64_t>(view.steps, 1);
  return view;
}

TensorStudy study_tensor(const TensorSource& source, std::span<const Quantization> quantizations,
                         const std::function<void(std::int64_t elements)>& advance, int threads) {
  const MatrixView view = matrix_view(source.shape);
  std::vector<Quantizer> quantizers;
  TensorStudy study;
  for (Quantization quantization : quantizations) {
    const bool one_axis = source.shape.size() < 2;
    if (one_axis && quantization.granularity == Granularity::channel)
      quantization.granularity = Granularity::tensor;
    quantizers.emplace_back(quantization, view.rows, view.columns, view.steps, view.elements);
    study.quantizations.push_back({.error = QuantizationError(quantization.number),
                                   .bits_per_element = quantizers.back().bits_per_element()});
  }

  const std::int64_t slab_elements =
      std::max<std::int64_t>((std::int64_t{1} << 20) / view.columns / Quantizer::slab_rows, 1) *
      Quantizer::slab_rows * view.columns;
  std::vector<float> x(index(std::min(slab_elements, view.elements)));
  const auto for_each_slab = [&](const auto& f) {
    for (std::int64_t first = 0; first < view.elements; first += slab_elements) {
      const std::span slab(x.data(), index(std::min(slab_elements, view.elements - first)));
      source.read(first, slab);
      f(first / view.columns, std::span<const float>(slab));
      advance(static_cast<std::int64_t>(slab.size()));
    }
  };

  for_each_slab([&](std::int64_t first_row, std::span<const float> slab) {
    add_parts(slab.size(), TensorStatistics{}, study.statistics, threads,
              [&](TensorStatistics& sum, std::size_t first, std::size_t n) {
                sum.add(slab.subspan(first, n));
              });
    for (Quantizer& quantizer : quantizers) quantizer.observe(first_row, slab, threads);
  });
  for (Quantizer& quantizer : quantizers) quantizer.settle();

  std::vector<float> y(x.size());
  std::vector<std::uint8_t> codes(x.size());
  for_each_slab([&](std::int64_t first_row, std::span<const float> slab) {
    const std::span to(y.data(), slab.size());
    const std::span to_codes(codes.data(), slab.size());
    for (std::size_t i = 0; i < quantizers.size(); ++i) {
      quantizers[i].apply(first_row, slab, to_codes, to, threads);
      QuantizationError& error = study.quantizations[i].error;
      add_parts(slab.size(), QuantizationError(quantizations[i].number), error, threads,
                [&](QuantizationError& sum, std::size_t first, std::size_t n) {
                  sum.add(slab.subspan(first, n), to.subspan(first, n), to_codes.subspan(first, n));
                });
    }
  });
  return study;
}

}  // namespace ospsim
