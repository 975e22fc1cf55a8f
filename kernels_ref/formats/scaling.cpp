#include "kernels_ref/formats/scaling.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "kernels_ref/formats/int8.hpp"
#include "kernels_ref/formats/quantize.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/names.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

constexpr Named<NumberFormat> number_names[]{{"hif8", NumberFormat::hif8},
                                             {"e4m3", NumberFormat::e4m3},
                                             {"e5m2", NumberFormat::e5m2},
                                             {"mxfp8-e4m3", NumberFormat::mxfp8_e4m3},
                                             {"mxfp8-e5m2", NumberFormat::mxfp8_e5m2},
                                             {"int8", NumberFormat::int8}};

constexpr Named<ScalingName> scaling_names[]{{"none", {Granularity::none, false}},
                                             {"tensor", {Granularity::tensor, false}},
                                             {"tensor-pow2", {Granularity::tensor, true}},
                                             {"delayed", {Granularity::delayed, false}},
                                             {"token", {Granularity::token, false}},
                                             {"channel", {Granularity::channel, false}},
                                             {"block32", {Granularity::block32, false}},
                                             {"tile128", {Granularity::tile128, false}},
                                             {"block128x128", {Granularity::block128x128, false}}};

constexpr Named<MxRule> mx_rule_names[]{{"floor", MxRule::floor},
                                        {"ratio", MxRule::ratio},
                                        {"ceil", MxRule::ceil},
                                        {"even", MxRule::even}};

Format element_of(NumberFormat number) {
  switch (number) {
    case NumberFormat::e4m3:
    case NumberFormat::mxfp8_e4m3:
      return Format::e4m3;
    case NumberFormat::e5m2:
    case NumberFormat::mxfp8_e5m2:
      return Format::e5m2;
    default:
      return Format::hif8;
  }
}

std::int64_t blocks(std::int64_t n, std::int64_t size) {
  return (n + size - 1) / size;
}

float amax_of(std::span<const float> x, int threads = 1) {
  return amax<Backend::cpu>(x, threads).amax;
}

/// How many columns of a row share a scale.
std::int64_t group_columns(Granularity granularity, std::int64_t columns) {
  switch (granularity) {
    case Granularity::none:
    case Granularity::tensor:
    case Granularity::delayed:
    case Granularity::token:
      return columns;
    case Granularity::channel:
      return 1;
    case Granularity::block32:
      return 32;
    case Granularity::tile128:
    case Granularity::block128x128:
      return 128;
  }
  return columns;
}

}  // namespace

MxRule parse_mx_rule(std::string_view text) {
  return parse_name(mx_rule_names, "MX rule", text);
}
NumberFormat parse_number_format(std::string_view text) {
  return parse_name(number_names, "format", text);
}
std::string to_string(NumberFormat number) {
  return std::string(name_of(number_names, number));
}
ScalingName parse_scaling(std::string_view text) {
  return parse_name(scaling_names, "scaling", text);
}
std::string scaling_name(const Quantization& q) {
  if (is_mx(q.number)) return fmt::format("mx-{}", name_of(mx_rule_names, q.mx_rule));
  for (const auto& [preset, paper] :
       {std::pair("paper-forward", paper_forward()), std::pair("paper-backward", paper_backward())})
    if (q.number == paper.number && q.granularity == paper.granularity && !q.power_of_two &&
        q.target == paper.target && q.epsilon == paper.epsilon)
      return preset;
  const auto name = name_of(scaling_names, ScalingName{q.granularity, q.power_of_two});
  if (!name.empty()) return std::string(name);
  return fmt::format("{}-pow2", name_of(scaling_names, ScalingName{q.granularity, false}));
}

Quantization paper_forward() {
  return {.number = NumberFormat::hif8,
          .rounding = Rounding::ta,
          .granularity = Granularity::tensor,
          .target = 15,
          .epsilon = 1e-8f};
}
Quantization paper_backward() {
  Quantization backward = paper_forward();
  backward.target = 224;
  return backward;
}

float largest(NumberFormat number) {
  return number == NumberFormat::int8 ? 127.0f : largest(element_of(number));
}
float default_target(NumberFormat number) {
  return number == NumberFormat::hif8 ? 15.0f : largest(number);
}
Rounding default_rounding(NumberFormat number) {
  return number == NumberFormat::hif8 ? Rounding::ta : Rounding::rne;
}
Quantization default_quantization(NumberFormat number, ScalingName scaling) {
  return {.number = number,
          .rounding = default_rounding(number),
          .granularity = scaling.granularity,
          .power_of_two = scaling.power_of_two,
          .target = default_target(number)};
}

Quantizer::Quantizer(const Quantization& quantization, std::int64_t rows, std::int64_t columns,
                     std::int64_t steps, std::int64_t elements)
    : quantization_(quantization),
      rows_(rows),
      columns_(columns),
      steps_(steps),
      elements_(elements < 0 ? rows * columns : elements) {
  const Quantization& q = quantization_;
  if (rows < 0 || columns < 0 || steps < 1 || rows % steps != 0 || elements_ > rows * columns ||
      elements_ < (rows - 1) * columns)
    throw std::invalid_argument(fmt::format("{} elements in {} rows of {} columns and {} steps",
                                            elements_, rows, columns, steps));
  if (q.number == NumberFormat::int8) {
    if (q.rounding != Rounding::rne) throw InputError("int8 is rounded by rne only");
  } else if (is_mx(q.number)) {
    if (q.rounding != Rounding::rne) throw InputError("MXFP8 elements are rounded by rne only");
  } else {
    check_codec({.format = element_of(q.number), .rounding = q.rounding});
  }
  if (!(q.target > 0) || q.target > largest(q.number))
    throw InputError(fmt::format("the scale target of {} is {}; above 0 and up to {} is accepted",
                                 to_string(q.number), q.target, largest(q.number)));
  if (!(q.epsilon >= 0)) throw InputError("epsilon is below 0");
  if (q.history < 1) throw InputError("the history of delayed scaling has at least one step");
  if (needs_amax())
    amax_.resize(index(q.granularity == Granularity::channel   ? columns
                       : q.granularity == Granularity::delayed ? steps
                                                               : 1));
}

bool Quantizer::needs_amax() const {
  const auto granularity = quantization_.granularity;
  return !is_mx(quantization_.number) &&
         (granularity == Granularity::tensor || granularity == Granularity::delayed ||
          granularity == Granularity::channel);
}

void Quantizer::observe(std::int64_t first_row, std::span<const float> x, int threads) {
  if (!needs_amax()) return;
  const std::size_t columns = index(columns_);
  switch (quantization_.granularity) {
    case Granularity::channel:
      parallel_ranges(columns_, 1024, threads, [&](std::int64_t first, std::int64_t last) {
        for (std::size_t at = 0; at < x.size(); at += columns)
          for (std::size_t c = index(first); c < std::min(index(last), x.size() - at); ++c) {
            const float magnitude = std::abs(x[at + c]);
            if (magnitude > amax_[c] && magnitude <= std::numeric_limits<float>::max())
              amax_[c] = magnitude;
          }
      });
      break;
    case Granularity::delayed:
      for (std::size_t at = 0; at < x.size(); at += columns) {
        const std::int64_t row = first_row + static_cast<std::int64_t>(at / columns);
        float& largest = amax_[index(row / (rows_ / steps_))];
        largest = std::max(largest, amax_of(x.subspan(at, std::min(columns, x.size() - at))));
      }
      break;
    default:
      amax_[0] = std::max(amax_[0], amax_of(x, threads));
  }
}

void Quantizer::settle() {
  scales_.resize(amax_.size());
  for (std::size_t i = 0; i < amax_.size(); ++i) {
    float reference = amax_[i];
    if (quantization_.granularity == Granularity::delayed && i > 0) {
      const auto history = std::min(static_cast<std::size_t>(quantization_.history), i);
      reference = *std::max_element(amax_.begin() + static_cast<std::ptrdiff_t>(i - history),
                                    amax_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    scales_[i] = scale_of(quantization_, reference);
  }
}

void Quantizer::apply(std::int64_t first_row, std::span<const float> x,
                      std::span<std::uint8_t> codes, std::span<float> y, int threads) const {
  if (codes.size() != x.size() || y.size() != x.size())
    throw std::invalid_argument("Quantizer: x, codes and y differ in size");
  if (x.empty()) return;
  // Square blocks of 128 are whole in a task.
  parallel_ranges(blocks(static_cast<std::int64_t>(x.size()), columns_), slab_rows, threads,
                  [&](std::int64_t first, std::int64_t last) {
                    const std::size_t at = index(first * columns_);
                    const std::size_t n = std::min(x.size(), index(last * columns_)) - at;
                    const Slab slab{first_row + first, x.subspan(at, n), codes.subspan(at, n),
                                    y.subspan(at, n)};
                    if (is_mx(quantization_.number))
                      apply_mx(slab);
                    else
                      apply_scales(slab);
                  });
}

void Quantizer::apply_mx(const Slab& slab) const {
  const MxCodec codec{.element = element_of(quantization_.number), .rule = quantization_.mx_rule};
  const auto rows_of = [&](std::size_t at, std::size_t n, std::int64_t columns) {
    if (n == 0) return;
    std::vector<std::uint8_t> scales(
        index(mx_scale_count(static_cast<std::int64_t>(n) / columns, columns)));
    const auto codes = slab.codes.subspan(at, n);
    mx_encode<Backend::cpu>(codec, columns, slab.x.subspan(at, n), codes, scales, 1);
    mx_decode<Backend::cpu>(codec.element, columns, codes, scales, slab.y.subspan(at, n), 1);
  };
  const std::size_t shorter = slab.x.size() % index(columns_), whole = slab.x.size() - shorter;
  rows_of(0, whole, columns_);
  rows_of(whole, shorter, static_cast<std::int64_t>(shorter));
}

/// The scales of the groups of one row of a slab.
void Quantizer::scales_of_row(const Slab& slab, std::int64_t row, std::span<float> scales) const {
  const auto width = index(group_columns(quantization_.granularity, columns_));
  const auto columns = index(columns_);
  const auto amax_of_group = [&](std::size_t r, std::size_t g) {
    const auto cells = slab.x.subspan(r * columns, std::min(columns, slab.x.size() - r * columns));
    const std::size_t first = std::min(g * width, cells.size());
    return amax_of(cells.subspan(first, std::min(width, cells.size() - first)));
  };
  switch (quantization_.granularity) {
    case Granularity::none:
      std::fill(scales.begin(), scales.end(), 1.0f);
      break;
    case Granularity::tensor:
      scales[0] = scales_.at(0);
      break;
    case Granularity::delayed:
      scales[0] = scales_.at(index((slab.first_row + row) / (rows_ / steps_)));
      break;
    case Granularity::channel:
      std::copy(scales_.begin(), scales_.end(), scales.begin());
      break;
    case Granularity::token:
    case Granularity::block32:
    case Granularity::tile128:
      for (std::size_t g = 0; g < scales.size(); ++g)
        scales[g] = scale_of(quantization_, amax_of_group(index(row), g));
      break;
    case Granularity::block128x128:
      if (row > 0) break;  // all rows of the slab share those of the first
      for (std::size_t g = 0; g < scales.size(); ++g) {
        float largest = 0;
        for (std::size_t r = 0; r * columns < slab.x.size(); ++r)
          largest = std::max(largest, amax_of_group(r, g));
        scales[g] = scale_of(quantization_, largest);
      }
      break;
  }
}

void Quantizer::apply_scales(const Slab& slab) const {
  const Quantization& q = quantization_;
  const auto width = index(group_columns(q.granularity, columns_)), columns = index(columns_);
  std::vector<float> scales((columns + width - 1) / width), scaled(columns);
  const bool is_int8 = q.number == NumberFormat::int8;
  Codec codec{.format = element_of(q.number),
              .rounding = q.rounding,
              .overflow = q.overflow,
              .seed = q.seed};
  for (std::size_t at = 0; at < slab.x.size(); at += columns) {
    const auto row = static_cast<std::int64_t>(at / columns);
    const std::size_t n = std::min(columns, slab.x.size() - at);
    const auto x = slab.x.subspan(at, n);
    const auto codes = slab.codes.subspan(at, n);
    const auto y = slab.y.subspan(at, n);
    const auto for_each_group = [&](const auto& f) {
      for (std::size_t g = 0; g * width < n; ++g)
        for (std::size_t c = g * width; c < std::min(n, (g + 1) * width); ++c) f(c, scales[g]);
    };
    const std::span to_encode(scaled.data(), n);
    scales_of_row(slab, row, scales);
    if (is_int8) {
      const std::span integers(reinterpret_cast<std::int8_t*>(codes.data()), n);
      for_each_group([&](std::size_t c, float scale) { scaled[c] = x[c] / scale; });
      int8_encode<Backend::cpu>(to_encode, 1, integers, 1);
      int8_decode<Backend::cpu>(integers, 1, y, 1);
      for_each_group([&](std::size_t c, float scale) { y[c] *= scale; });
    } else {
      codec.first_element = static_cast<std::uint64_t>((slab.first_row + row) * columns_);
      for_each_group([&](std::size_t c, float scale) { scaled[c] = x[c] * scale; });
      encode<Backend::cpu>(codec, to_encode, codes, 1, 1);
      decode<Backend::cpu>(codec.format, codes, y, 1, 1);
      for_each_group([&](std::size_t c, float scale) { y[c] /= scale; });
    }
  }
}

std::vector<float> quantized(const Quantization& quantization, std::int64_t columns,
                             std::span<const float> x, int threads) {
  if (x.empty()) return {};
  Quantizer quantizer(quantization, blocks(static_cast<std::int64_t>(x.size()), columns), columns);
  quantizer.observe(0, x, threads);
  quantizer.settle();
  std::vector<std::uint8_t> codes(x.size());
  std::vector<float> y(x.size());
  quantizer.apply(0, x, codes, y, threads);
  return y;
}

double Quantizer::bits_per_element() const {
  if (elements_ == 0) return 8;
  const std::int64_t whole_rows = elements_ / columns_, shorter = elements_ % columns_;
  const auto groups_of_rows = [&](std::int64_t width) {
    return whole_rows * blocks(columns_, width) + blocks(shorter, width);
  };
  std::int64_t scales = 0;
  if (is_mx(quantization_.number)) {
    scales = groups_of_rows(mx_block);
  } else {
    switch (quantization_.granularity) {
      case Granularity::none:
        break;
      case Granularity::tensor:
        scales = 1;
        break;
      case Granularity::delayed:
        scales = steps_;
        break;
      case Granularity::channel:
        scales = columns_;
        break;
      case Granularity::block128x128:
        scales = blocks(rows_, 128) * blocks(columns_, 128);
        break;
      case Granularity::token:
      case Granularity::block32:
      case Granularity::tile128:
        scales = groups_of_rows(group_columns(quantization_.granularity, columns_));
        break;
    }
  }
  const bool one_byte = is_mx(quantization_.number) || quantization_.power_of_two;
  return 8 + (one_byte ? 8.0 : 32.0) * static_cast<double>(scales) / static_cast<double>(elements_);
}

}  // namespace ospsim
