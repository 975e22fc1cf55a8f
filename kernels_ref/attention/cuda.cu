// Attention on a device from arrays of the host, in float32: plain_kernel.hpp.

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/attention/check.hpp"
#include "kernels_ref/attention/plain_kernel.hpp"
#include "kernels_ref/cuda/device.hpp"
#include "kernels_ref/cuda/launch.cuh"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

using Tensor = HeadTensor<float>;
using ConstTensor = HeadTensor<const float>;

constexpr std::int64_t most_rows = std::numeric_limits<std::int32_t>::max();
constexpr int most_channels = 256;

void check_device(std::int64_t head_dim, std::int64_t rows) {
  if (const CudaStatus status = cuda_status(); !status.available)
    throw UnavailableError("the cuda back end of attention: " + status.reason);
  if (head_dim > most_channels || rows > most_rows)
    throw UnavailableError("the cuda back end of attention takes up to " +
                           std::to_string(most_channels) + " channels a head and " +
                           std::to_string(most_rows) + " rows");
}

/// [heads, rows, head_dim], contiguous.
std::vector<float> packed(ConstTensor from) {
  std::vector<float> to;
  to.reserve(index(from.heads * from.rows * from.head_dim));
  for (std::int64_t head = 0; head < from.heads; ++head)
    for (std::int64_t row = 0; row < from.rows; ++row)
      to.insert(to.end(), from.row(head, row), from.row(head, row) + from.head_dim);
  return to;
}

DeviceBuffer<float> upload(ConstTensor from) {
  return DeviceBuffer<float>(std::span<const float>(packed(from)));
}

}  // namespace

template <>
void attention_forward<Backend::cuda>(std::span<const AttentionGroup> groups, ConstTensor q,
                                      ConstTensor k, ConstTensor v, Tensor o, std::span<float> lse,
                                      int /*threads*/) {
  check_attention_forward<float>(groups, q, k, v, o, lse);
  check_device(q.head_dim, std::max(q.rows, k.rows));
  const KeyLists lists(groups);
  const auto device_q = upload(q), device_k = upload(k), device_v = upload(v);
  const DeviceBuffer<QueryKeys> queries{std::span(lists.queries)};
  const DeviceBuffer<std::int32_t> keys{std::span(lists.keys)};
  std::vector<float> new_o(index(o.heads * o.rows * o.head_dim)), new_lse(lse.size());
  const DeviceBuffer<float> device_o(new_o.size()), device_lse(new_lse.size());

  const auto on_device = [](auto* data, const auto& tensor) {
    return heads_first(data, tensor.heads, tensor.rows, tensor.head_dim);
  };
  const auto start = [&](auto channels) {
    launch(nullptr, PlainAttention<float, channels>{.q = on_device(device_q.data(), q),
                                                    .k = on_device(device_k.data(), k),
                                                    .v = on_device(device_v.data(), v),
                                                    .o = on_device(device_o.data(), o),
                                                    .lse = device_lse.data(),
                                                    .queries = queries.data(),
                                                    .query_count = std::ssize(lists.queries),
                                                    .keys = keys.data()});
  };
  if (q.head_dim <= 128)
    start(std::integral_constant<int, 128>());
  else
    start(std::integral_constant<int, most_channels>());
  device_o.copy_to(new_o);
  device_lse.copy_to(new_lse);

  const Tensor result = on_device(new_o.data(), o);
  for (std::int64_t head = 0; head < o.heads; ++head)
    for (const auto& query : lists.queries) {
      std::copy_n(result.row(head, query.row), o.head_dim, o.row(head, query.row));
      if (!lse.empty()) {
        const auto at = index(head * q.rows + query.row);
        lse[at] = new_lse[at];
      }
    }
}

template <>
void attention_backward<Backend::cuda>(std::span<const AttentionGroup>, ConstTensor, ConstTensor,
                                       ConstTensor, ConstTensor, ConstTensor,
                                       std::span<const float>, Tensor, Tensor, Tensor, int) {
  throw UnavailableError("the cuda back end of attention has no backward pass");
}

}  // namespace ospsim
