#include <cuda_runtime_api.h>

#include <algorithm>
#include <deque>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "kernels_ref/attention/cudnn_attention.hpp"
#include "kernels_ref/attention/inplace.hpp"
#include "kernels_ref/block/gelu.hpp"
#include "kernels_ref/block/linear.hpp"
#include "kernels_ref/block/matmul.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/quantize.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"
#include "tests/experiments/pretend_device/sabotage.hpp"

// What is behind the libraries' names on a pretend device: the cpu back end, in float32, rounded
// once; and that they are called as the true ones want to be.
namespace ospsim {
namespace {

using pretend::inner;
using pretend::Sabotage;
using pretend::sabotage;

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}
void require_aligned(const void* data, std::int64_t bytes) {
  require(reinterpret_cast<std::uintptr_t>(data) % 16 == 0, "an operand that is not aligned");
  pretend::require_on_device(data, bytes);
}

std::vector<float> floats(const Bfloat16* from, std::int64_t size) {
  std::vector<float> to(index(size));
  std::transform(from, from + size, to.begin(), [](Bfloat16 x) { return to_float(x); });
  return to;
}
std::vector<float> e4m3_floats(const void* from, std::int64_t size) {
  std::vector<float> to(index(size));
  decode<Backend::cpu>(Format::e4m3, std::span(static_cast<const std::uint8_t*>(from), index(size)),
                       to);
  return to;
}

void multiply(const Product& product, const void* x, const void* weight, const Bfloat16* bias,
              Bfloat16* y) {
  const auto& [rows, in, out] = product.shape;
  const auto read = [&](const void* from, std::int64_t size) {
    return product.operands == Product::Operands::e4m3
               ? e4m3_floats(from, size)
               : floats(static_cast<const Bfloat16*>(from), size);
  };
  const bool with_bias = product.bias && sabotage != Sabotage::product_without_bias;
  std::vector<float> result(index(rows * out));
  linear_forward<Backend::cpu>(product.shape, read(x, rows * in), read(weight, in * out),
                               with_bias ? floats(bias, out) : std::vector<float>{}, result);
  if (product.gelu && sabotage != Sabotage::product_without_gelu)
    gelu_tanh_forward<Backend::cpu>(std::vector(result), result);
  std::transform(result.begin(), result.end(), y, [](float v) { return to_bfloat16(v); });

  const std::int64_t row = inner(rows), column = inner(out);
  if (sabotage == Sabotage::product_column)
    for (std::int64_t r = 0; r < rows; ++r) y[r * out + column] = y[r * out];
  if (sabotage == Sabotage::product_row) std::copy_n(y, out, y + row * out);
  if (sabotage == Sabotage::product_unwritten) y[row * out + column] = pretend::unwritten;
}

}  // namespace

CudaStatus cuda_status() {
  return {.built = true,
          .available = true,
          .reason = {},
          .device_name = "pretend",
          .driver_version = "0.0",
          .runtime_version = "0.0"};
}

// ---- Products ----------------------------------------------------------------------------------

struct Matmul::Implementation {
  std::deque<Product> planned;

  void plan(const Product& product) {
    if (std::find(planned.begin(), planned.end(), product) != planned.end()) return;
    const auto& [rows, in, out] = product.shape;
    require(rows > 0 && in > 0 && out > 0, "a product of nothing");
    require(in % (product.operands == Product::Operands::e4m3 ? 16 : 8) == 0 && out % 8 == 0,
            "a product whose rows are not aligned");
    require(!pretend::capturing(), "a product is planned during a capture");
    planned.push_back(product);
  }
};
Matmul::Matmul() : implementation_(std::make_unique<Implementation>()) {}
Matmul::~Matmul() = default;

void Matmul::run(cudaStream_t stream, const Product& product, const void* x, const void* weight,
                 const Bfloat16* bias, Bfloat16* y) {
  if (product.gelu && sabotage == Sabotage::product_refused)
    throw UnavailableError("no such product");
  if (product.gelu && sabotage == Sabotage::product_breaks) {
    pretend::broken = true;
    throw UnavailableError("an illegal memory access was encountered");
  }
  implementation_->plan(product);
  const auto& [rows, in, out] = product.shape;
  const std::int64_t operand_bytes = product.operands == Product::Operands::e4m3 ? 1 : 2;
  require_aligned(x, rows * in * operand_bytes);
  require_aligned(weight, in * out * operand_bytes);
  require_aligned(y, rows * out * 2);
  if (product.bias) require_aligned(bias, out * 2);
  pretend::put(stream, [=] { multiply(product, x, weight, bias, y); });
}

// ---- Attention ---------------------------------------------------------------------------------

namespace {

/// Rows of heads in float32, [rows, heads * head_dim].
std::vector<float> rows_of(const Bfloat16* from, BatchStrides strides, std::int64_t batch,
                           std::int64_t rows, std::int64_t width) {
  std::vector<float> to;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto one = floats(from + batch * strides.batch_stride + row * strides.row_stride, width);
    to.insert(to.end(), one.begin(), one.end());
  }
  return to;
}

void attend(const BatchedAttention& a, const Bfloat16* q, const Bfloat16* k, const Bfloat16* v,
            Bfloat16* o) {
  const std::int64_t width = a.heads * a.head_dim;
  const bool forgets = sabotage == Sabotage::attention_without_last_key;
  for (std::int64_t batch = 0; batch < a.batches; ++batch) {
    const std::int64_t queries = a.query_lengths ? a.query_lengths[batch] : a.query_length,
                       keys = a.key_lengths ? a.key_lengths[batch] : a.key_length;
    require(queries > 0 && queries <= a.query_length && keys > 0 && keys <= a.key_length,
            "a length that is none");
    const auto qs = rows_of(q, a.q, batch, queries, width),
               ks = rows_of(k, a.k, batch, keys, width), vs = rows_of(v, a.v, batch, keys, width);
    std::vector<float> os(qs.size());
    const auto view = [&](auto& x, std::int64_t rows) {
      return rows_first(x.data(), a.heads, rows, a.head_dim);
    };
    attention_forward<Backend::cpu>(group_of_all(queries, forgets ? keys - 1 : keys),
                                    view(qs, queries), view(ks, keys), view(vs, keys),
                                    view(os, queries), {});
    for (std::int64_t row = 0; row < queries; ++row)
      for (std::int64_t c = 0; c < width; ++c)
        o[batch * a.o.batch_stride + row * a.o.row_stride + c] =
            to_bfloat16(os[index(row * width + c)]);
  }
  Bfloat16* const spoilt =
      o + a.batches / 2 * a.o.batch_stride + inner(a.heads) * a.head_dim;  // one head of one batch
  if (sabotage == Sabotage::attention_head)
    for (std::int64_t row = 0; row < a.query_length; ++row)
      std::swap_ranges(spoilt + row * a.o.row_stride, spoilt + row * a.o.row_stride + 8,
                       spoilt + row * a.o.row_stride + 8);
  if (sabotage == Sabotage::attention_unwritten)
    spoilt[inner(a.query_length) * a.o.row_stride] = pretend::unwritten;
}

}  // namespace

struct CudnnAttention::State {
  std::deque<BatchedAttention> planned;
  std::string kernel = "the cpu back end";
};
CudnnAttention::CudnnAttention() : state_(std::make_unique<State>()) {}
CudnnAttention::~CudnnAttention() = default;

const std::string& CudnnAttention::prepare(const BatchedAttention& a) {
  auto& planned = state_->planned;
  if (std::find(planned.begin(), planned.end(), a) != planned.end()) return state_->kernel;
  require(a.batches > 0 && a.heads > 0 && a.query_length > 0 && a.key_length > 0,
          "attention to nothing");
  require(a.head_dim % 8 == 0, "heads that are not aligned");
  require((a.query_lengths == nullptr) == (a.key_lengths == nullptr), "lengths of one side only");
  for (const auto& s : {a.q, a.k, a.v, a.o})
    require(s.batch_stride % 8 == 0 && s.row_stride % 8 == 0 &&
                s.row_stride >= a.heads * a.head_dim && s.batch_stride >= 0,
            "strides of attention");
  require(a.batches == 1 || a.o.batch_stride >= a.query_length * a.o.row_stride,
          "outputs that overlap");
  require(!pretend::capturing(), "attention is planned during a capture");
  planned.push_back(a);
  return state_->kernel;
}

void CudnnAttention::execute(CUstream_st* stream, const BatchedAttention& a, const Bfloat16* q,
                             const Bfloat16* k, const Bfloat16* v, Bfloat16* o) {
  prepare(a);
  const auto check = [&](const Bfloat16* x, BatchStrides s, std::int64_t rows) {
    require_aligned(x, 2 * ((a.batches - 1) * s.batch_stride + (rows - 1) * s.row_stride +
                            a.heads * a.head_dim));
  };
  check(q, a.q, a.query_length);
  check(k, a.k, a.key_length);
  check(v, a.v, a.key_length);
  check(o, a.o, a.query_length);
  for (const auto* const lengths : {a.query_lengths, a.key_lengths})
    if (lengths != nullptr) pretend::require_on_device(lengths, 4 * a.batches);
  pretend::put(stream, [=] { attend(a, q, k, v, o); });
}

// ---- Attention in place ------------------------------------------------------------------------

struct InPlaceAttention::State {
  Layout layout;
  std::int64_t heads;
  InPlacePlan plan;
  Tensors tensors;
};

InPlaceAttention::InPlaceAttention(const Layout& layout, std::int64_t heads, Options options) {
  require(options.version >= 1 && options.version <= 4, "a version that is none");
  require(!pretend::capturing(), "memory during a capture");
  state_ = std::make_unique<State>(
      State{layout, heads, plan_in_place(layout, options.keys_per_tile), {}});
}
InPlaceAttention::~InPlaceAttention() = default;
InPlaceAttention::InPlaceAttention(InPlaceAttention&&) noexcept = default;

void InPlaceAttention::prepare(const Tensors& tensors) {
  const std::int64_t width = state_->heads * InPlacePlan::head_dim,
                     rows = state_->layout.grid().tokens();
  require(tensors.row_stride >= width && tensors.row_stride % 8 == 0, "a row stride");
  for (const Bfloat16* const x :
       std::initializer_list<const Bfloat16*>{tensors.q, tensors.k, tensors.v, tensors.o})
    require_aligned(x, 2 * ((rows - 1) * tensors.row_stride + width));
  require(tensors.lse == nullptr, "log-sum-exps: not pretended");
  state_->tensors = tensors;
}

void InPlaceAttention::execute(CUstream_st* stream) const {
  require(state_->tensors.q != nullptr, "prepare() comes before execute()");
  pretend::put(stream, [layout = state_->layout, heads = state_->heads, t = state_->tensors] {
    const std::int64_t rows = layout.grid().tokens(), d = InPlacePlan::head_dim, width = heads * d;
    auto groups = groups_in_place(layout);
    if (sabotage == Sabotage::in_place_without_last_key) groups[groups.size() / 2].keys.pop_back();
    const auto read = [&](const Bfloat16* x) {
      return rows_of(x, {0, t.row_stride}, 0, rows, width);
    };
    const auto q = read(t.q), k = read(t.k), v = read(t.v);
    std::vector<float> o(q.size());
    const auto view = [&](auto& x) { return rows_first(x.data(), heads, rows, d); };
    attention_forward<Backend::cpu>(groups, view(q), view(k), view(v), view(o), {});
    for (std::int64_t row = 0; row < rows; ++row) {
      Bfloat16* const to = t.o + row * t.row_stride;
      for (std::int64_t c = 0; c < width; ++c) to[c] = to_bfloat16(o[index(row * width + c)]);
      Bfloat16* const head = to + inner(heads) * d;
      if (sabotage == Sabotage::in_place_head) std::swap_ranges(head, head + 8, head + 8);
    }
    if (sabotage == Sabotage::in_place_unwritten)
      t.o[inner(rows) * t.row_stride] = pretend::unwritten;
  });
}

const InPlacePlan& InPlaceAttention::plan() const {
  return state_->plan;
}
Cost InPlaceAttention::cost() const {
  const std::int64_t rows = state_->layout.grid().tokens();
  return attention_forward_cost(attended_pairs(state_->layout), state_->heads, rows, rows,
                                InPlacePlan::head_dim, 2);
}

}  // namespace ospsim
