// Attention by cuDNN on a device against naive, at sizes that fit no tile.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>

#include "kernels_ref/attention/cudnn_attention.hpp"
#include "kernels_ref/cuda/buffer.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/index.hpp"
#include "tests/kernels_ref/support.hpp"

namespace ospsim {
namespace {

constexpr std::int64_t heads = 2, head_dim = 128;

struct Case {
  const char* name;
  std::int64_t batches, queries, keys;
  std::vector<std::int32_t> query_lengths, key_lengths;  // empty: no padding
  bool shared_keys = false;
  std::int64_t row_stride = heads * head_dim;
};

const Case cases[] = {
    {"full", 1, 301, 301, {}, {}},
    {"sub-sequences", 3, 200, 200, {}, {}},
    {"padded sub-sequences", 4, 333, 333, {333, 320, 129, 1}, {333, 320, 129, 1}},
    {"cross-attention", 1, 500, 77, {}, {}},
    {"cross-attention, keys per batch", 3, 150, 77, {}, {}},
    {"cross-attention, shared keys", 3, 150, 77, {}, {}, true},
    {"cross-attention, shared keys, padded", 3, 150, 77, {150, 140, 3}, {77, 77, 50}, true},
    {"all queries valid", 2, 300, 300, {300, 300}, {300, 129}},
    {"side by side", 3, 201, 201, {201, 100, 64}, {201, 100, 64}, false, 3 * heads* head_dim},
};

constexpr std::uint16_t kept = 0x4abc;  // what o holds before

/// The arrays of a case on the host. Between rows there are NaNs.
struct Arrays {
  BatchedAttention shape;
  std::vector<Bfloat16> q, k, v, o;
  std::vector<std::int32_t> query_lengths, key_lengths;

  explicit Arrays(const Case& c)
      : shape{.batches = c.batches,
              .heads = heads,
              .head_dim = head_dim,
              .query_length = c.queries,
              .key_length = c.keys,
              .q = {c.queries * c.row_stride, c.row_stride},
              .k = {c.shared_keys ? 0 : c.keys * c.row_stride, c.row_stride},
              .v = {c.shared_keys ? 0 : c.keys * c.row_stride, c.row_stride},
              .o = {c.queries * heads * head_dim, heads * head_dim}},
        q(filled(c.batches * c.queries, c.row_stride, 1)),
        k(filled((c.shared_keys ? 1 : c.batches) * c.keys, c.row_stride, 2)),
        v(filled((c.shared_keys ? 1 : c.batches) * c.keys, c.row_stride, 3)),
        o(index(c.batches * c.queries * heads * head_dim), Bfloat16{kept}),
        query_lengths(c.query_lengths),
        key_lengths(c.key_lengths) {
    if (query_lengths.empty()) {
      query_lengths.assign(index(c.batches), static_cast<std::int32_t>(c.queries));
      key_lengths.assign(index(c.batches), static_cast<std::int32_t>(c.keys));
    }
  }

  /// All rows, padding too: it must be finite.
  static std::vector<Bfloat16> filled(std::int64_t rows, std::int64_t stride, std::uint64_t seed) {
    const auto numbers = normal(rows * heads * head_dim, seed);
    std::vector<Bfloat16> to(index(rows * stride), to_bfloat16(NAN));
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t d = 0; d < heads * head_dim; ++d)
        to[index(row * stride + d)] =
            to_bfloat16(static_cast<float>(numbers[index(row * heads * head_dim + d)]));
    return to;
  }
};

std::vector<double> doubles(const std::vector<Bfloat16>& from) {
  std::vector<double> to(from.size());
  std::ranges::transform(from, to.begin(), [](Bfloat16 x) { return to_float(x); });
  return to;
}

/// The valid rows of o, by naive; or with weights and outputs rounded to bfloat16, which is what a
/// plain computation in it means.
std::vector<double> expected(const Arrays& a, bool rounded) {
  const auto q = doubles(a.q), k = doubles(a.k), v = doubles(a.v);
  std::vector<double> valid;
  for (std::int64_t batch = 0; batch < a.shape.batches; ++batch) {
    const auto view = [&](const std::vector<double>& data, std::int64_t rows, BatchStrides s) {
      return HeadTensor<const double>{
          data.data() + batch * s.batch_stride, heads, rows, head_dim, head_dim, s.row_stride};
    };
    const std::int64_t queries = a.query_lengths[index(batch)], keys = a.key_lengths[index(batch)];
    const auto of_q = view(q, queries, a.shape.q), of_k = view(k, keys, a.shape.k),
               of_v = view(v, keys, a.shape.v);
    std::vector<double> o(index(queries * heads * head_dim));
    const auto of_o = rows_first(o.data(), heads, queries, head_dim);
    if (!rounded)
      attention_forward<Backend::naive>(group_of_all(queries, keys), of_q, of_k, of_v, of_o, {});
    for (std::int64_t head = 0; rounded && head < heads; ++head)
      for (std::int64_t i = 0; i < queries; ++i) {
        std::vector<double> weights;
        for (std::int64_t j = 0; j < keys; ++j)
          weights.push_back(std::inner_product(of_q.row(head, i), of_q.row(head, i) + head_dim,
                                               of_k.row(head, j), 0.0) /
                            std::sqrt(static_cast<double>(head_dim)));
        const double max = *std::ranges::max_element(weights);
        double sum = 0;
        for (double& weight : weights) {
          weight = std::exp(weight - max);
          sum += weight;
          weight = round_to_bf16(static_cast<float>(weight));
        }
        for (std::int64_t d = 0; d < head_dim; ++d) {
          double o_d = 0;
          for (std::int64_t j = 0; j < keys; ++j) o_d += weights[index(j)] * of_v.row(head, j)[d];
          of_o.row(head, i)[d] = round_to_bf16(static_cast<float>(o_d / sum));
        }
      }
    valid.insert(valid.end(), o.begin(), o.end());
  }
  return valid;
}

std::vector<double> valid_rows(const Arrays& a, const std::vector<Bfloat16>& o) {
  std::vector<double> valid;
  for (std::int64_t batch = 0; batch < a.shape.batches; ++batch) {
    const auto* const first = o.data() + batch * a.shape.o.batch_stride;
    for (std::int64_t i = 0; i < a.query_lengths[index(batch)] * heads * head_dim; ++i)
      valid.push_back(to_float(first[i]));
  }
  return valid;
}

/// What is in the padding of o, in words: the numbers of kept, zero, other and not finite ones.
void report_padding(const Case& c, const Arrays& a, const std::vector<Bfloat16>& o) {
  int same = 0, zero = 0, other = 0, not_finite = 0;
  for (std::int64_t batch = 0; batch < a.shape.batches; ++batch)
    for (std::int64_t i = a.query_lengths[index(batch)] * heads * head_dim;
         i < a.shape.o.batch_stride; ++i) {
      const Bfloat16 x = o[index(batch * a.shape.o.batch_stride + i)];
      ++(x.bits == kept               ? same
         : to_float(x) == 0           ? zero
         : std::isfinite(to_float(x)) ? other
                                      : not_finite);
    }
  if (same + zero + other + not_finite > 0)
    std::printf("padding of o, %s: %d kept, %d zeros, %d others, %d not finite\n", c.name, same,
                zero, other, not_finite);
}

class CudnnOnADevice : public testing::Test {
 protected:
  void SetUp() override {
    if (const CudaStatus status = cuda_status(); !status.available) GTEST_SKIP() << status.reason;
    try {
      cudnn = std::make_unique<CudnnAttention>();
    } catch (const UnavailableError& error) {
      GTEST_SKIP() << error.what();
    }
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  }
  void TearDown() override {
    if (stream != nullptr) cudaStreamDestroy(stream);
  }
  /// o after the work that `run(execute)` puts on the stream.
  template <class Run>
  std::vector<Bfloat16> result(const Case& c, Arrays& a, const Run& run) {
    const DeviceBuffer<Bfloat16> q{std::span(std::as_const(a.q))}, k{std::span(std::as_const(a.k))},
        v{std::span(std::as_const(a.v))}, o{std::span(std::as_const(a.o))};
    const DeviceBuffer<std::int32_t> query_lengths{std::span(c.query_lengths)},
        key_lengths{std::span(c.key_lengths)};
    if (!c.query_lengths.empty()) {
      a.shape.query_lengths = query_lengths.data();
      a.shape.key_lengths = key_lengths.data();
    }
    check_cuda(cudaDeviceSynchronize());
    run([&] { cudnn->execute(stream, a.shape, q.data(), k.data(), v.data(), o.data()); },
        [&] { check_cuda(cudaMemsetAsync(o.data(), 0, a.o.size() * sizeof(Bfloat16), stream)); });
    check_cuda(cudaStreamSynchronize(stream));
    std::vector<Bfloat16> host(a.o.size());
    o.copy_to(host);
    return host;
  }
  std::unique_ptr<CudnnAttention> cudnn;
  cudaStream_t stream = nullptr;
};

TEST_F(CudnnOnADevice, EqualsNaive) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Arrays a(c);
    const auto o = result(c, a, [](const auto& execute, const auto&) { execute(); });
    const auto exact = expected(a, false), plain = expected(a, true), got = valid_rows(a, o);
    std::printf("%s: error %.3g, plain %.3g, by %s\n", c.name, relative_l2(got, exact),
                relative_l2(plain, exact), cudnn->prepare(a.shape).c_str());
    EXPECT_LT(relative_l2(got, exact), 2 * relative_l2(plain, exact));
    report_padding(c, a, o);
  }
}

TEST_F(CudnnOnADevice, CanBeCaptured) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Arrays a(c);
    const auto once = result(c, a, [](const auto& execute, const auto&) { execute(); });
    const auto captured = result(c, a, [&](const auto& execute, const auto& clear) {
      execute();
      cudaGraph_t graph{};
      cudaGraphExec_t ready{};
      check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
      clear();
      execute();
      check_cuda(cudaStreamEndCapture(stream, &graph));
      check_cuda(cudaGraphInstantiate(&ready, graph, 0));
      for (int i = 0; i < 3; ++i) check_cuda(cudaGraphLaunch(ready, stream));
      check_cuda(cudaStreamSynchronize(stream));
      cudaGraphExecDestroy(ready);
      cudaGraphDestroy(graph);
    });
    EXPECT_EQ(valid_rows(a, captured), valid_rows(a, once));
  }
}

}  // namespace
}  // namespace ospsim
