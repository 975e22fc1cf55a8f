#include "experiments/commands/downstream.hpp"

#include <algorithm>

#include "analysis/downstream_error.hpp"

namespace ospsim {
namespace {

constexpr std::int64_t rows = 256;
constexpr std::int64_t most_elements = std::int64_t{1} << 26, most_pairs = std::int64_t{1} << 28;

std::vector<float> normal(std::int64_t size, std::uint64_t seed, int threads) {
  std::vector<float> x(static_cast<std::size_t>(size));
  sample(parse_distribution("normal"), seed, 1024, 0, x, threads);
  return x;
}

std::vector<float> read(const TensorSource& source) {
  std::vector<float> values(static_cast<std::size_t>(matrix_view(source.shape).elements));
  source.read(0, values);
  return values;
}

struct Scheme {
  std::string format, scaling;
  OperandRounding rounding;
};

std::vector<Scheme> schemes_of(std::span<const Quantization> quantizations, int threads) {
  std::vector<Scheme> schemes{{"bf16", "none", bf16_rounding()}};
  for (const Quantization& forward : quantizations) {
    Quantization backward = forward;
    if (forward.number == NumberFormat::hif8) backward.target = paper_backward().target;
    schemes.push_back({to_string(forward.number), scaling_name(forward),
                       quantization_rounding(forward, backward, threads)});
  }
  return schemes;
}

}  // namespace

Downstream downstream_of(std::span<const NamedTensor> tensors,
                         std::span<const Quantization> quantizations, std::uint64_t seed,
                         int threads) {
  const auto schemes = schemes_of(quantizations, threads);
  Downstream found{Json::array(), Json::array()};
  const auto skip = [&](const std::string& name, const char* reason) {
    found.skipped.push_back({{"tensor", name}, {"reason", reason}});
  };
  const auto row = [](const char* operation, const std::string& tensor, const Scheme& scheme) {
    return Json{{"operation", operation},
                {"tensor", tensor},
                {"format", scheme.format},
                {"scaling", scheme.scaling}};
  };

  const NamedTensor *q = nullptr, *k = nullptr, *v = nullptr;
  for (const NamedTensor& tensor : tensors) {
    const auto& shape = tensor.source.shape;
    if (tensor.name == "q") q = &tensor;
    if (tensor.name == "k") k = &tensor;
    if (tensor.name == "v") v = &tensor;
    const std::int64_t size = matrix_view(shape).elements;
    if (shape.size() != 2 || size == 0) continue;
    if (size > most_elements) {
      skip(tensor.name, "too large for a linear layer here: more than 2^26 elements");
      continue;
    }
    const LinearShape linear{.rows = rows, .in = shape[1], .out = shape[0]};
    const auto weight = read(tensor.source);
    const auto x = normal(rows * linear.in, seed, threads);
    const auto dy = normal(rows * linear.out, seed + 1, threads);
    const auto exact = rounded_linear(linear, x, weight, dy, no_rounding(), threads);
    for (const Scheme& scheme : schemes) {
      const auto result = rounded_linear(linear, x, weight, dy, scheme.rounding, threads);
      Json errors = row("linear", tensor.name, scheme);
      errors["output_error"] = relative_l2(result.y, exact.y);
      errors["input_gradient_error"] = relative_l2(result.dx, exact.dx);
      errors["weight_gradient_error"] = relative_l2(result.dweight, exact.dweight);
      found.rows.push_back(std::move(errors));
    }
  }

  if (q == nullptr || k == nullptr || v == nullptr || q->source.shape.size() != 3 ||
      q->source.shape != k->source.shape || q->source.shape != v->source.shape)
    return found;
  const auto& shape = q->source.shape;
  const AttentionShape attention{.heads = shape[0], .tokens = shape[1], .head_dim = shape[2]};
  const std::int64_t size = matrix_view(shape).elements;
  if (size == 0) return found;
  if (size > most_elements || attention.tokens > most_pairs / attention.tokens / attention.heads) {
    skip("q, k, v", "too large for attention here: more than 2^28 pairs of tokens");
    return found;
  }
  const auto q_values = read(q->source), k_values = read(k->source), v_values = read(v->source);
  const auto d_o = normal(size, seed, threads);
  const auto attend = [&](const OperandRounding& rounding) {
    return rounded_attention(attention, q_values, k_values, v_values, d_o, rounding, threads);
  };
  const auto exact = attend(no_rounding());
  for (const Scheme& scheme : schemes) {
    const auto result = attend(scheme.rounding);
    Json errors = row("attention", "q, k, v", scheme);
    errors["output_error"] = relative_l2(result.o, exact.o);
    errors["q_gradient_error"] = relative_l2(result.dq, exact.dq);
    errors["k_gradient_error"] = relative_l2(result.dk, exact.dk);
    errors["v_gradient_error"] = relative_l2(result.dv, exact.dv);
    found.rows.push_back(std::move(errors));
  }
  return found;
}

}  // namespace ospsim
