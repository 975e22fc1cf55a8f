#include "sim/parallel/collectives.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

/// An array as it travels: the floats themselves, or their bf16. Without payload, nothing.
class WireArray {
 public:
  WireArray(Wire wire, bool payload, std::span<const float> values)
      : WireArray(wire, payload, std::ssize(values)) {
    if (!payload) return;
    if (wire_.bytes_per_element == sizeof(float))
      std::copy(values.begin(), values.end(), floats_.begin());
    else
      std::transform(values.begin(), values.end(), halves_.begin(), to_bfloat16);
  }
  WireArray(Wire wire, bool payload, std::int64_t elements) : wire_(wire) {
    if (!payload) return;
    if (wire_.bytes_per_element == sizeof(float))
      floats_.resize(index(elements));
    else if (wire_.bytes_per_element == sizeof(Bfloat16))
      halves_.resize(index(elements));
    else
      throw std::logic_error("real payload travels as float32 or bf16");
  }

  std::byte* data() {
    return floats_.empty() ? reinterpret_cast<std::byte*>(halves_.data())
                           : reinterpret_cast<std::byte*>(floats_.data());
  }
  std::vector<float> take() {
    if (halves_.empty()) return std::move(floats_);
    std::vector<float> values(halves_.size());
    std::transform(halves_.begin(), halves_.end(), values.begin(),
                   [](Bfloat16 half) { return to_float(half); });
    return values;
  }

 private:
  Wire wire_;
  std::vector<float> floats_;
  std::vector<Bfloat16> halves_;
};

std::vector<std::int64_t> offsets(std::span<const std::int64_t> elements) {
  std::vector<std::int64_t> at(elements.size());
  std::exclusive_scan(elements.begin(), elements.end(), at.begin(), std::int64_t{0});
  return at;
}

}  // namespace

std::vector<float> all_gather(Communicator& communicator, const StepName& name, Wire wire,
                              std::span<const std::int64_t> elements, std::span<const float> in) {
  const bool payload = communicator.carries_payload();
  const int ranks = communicator.size(), own = communicator.rank();
  const auto at = offsets(elements);
  WireArray sending(wire, payload, in);
  WireArray gathered(wire, payload, at.back() + elements.back());
  SentParts sent(sending.data(), ranks);
  ReceivedParts received(gathered.data(), ranks);
  for (int r = 0; r < ranks; ++r) {
    if (r == own) continue;
    sent.set(r, 0, elements[index(own)] * wire.bytes_per_element);
    received.set(r, at[index(r)] * wire.bytes_per_element,
                 elements[index(r)] * wire.bytes_per_element);
  }
  communicator.exchange(name, sent, received);
  std::vector<float> all = gathered.take();
  if (payload) {
    const std::vector<float> as_sent = sending.take();
    std::copy(as_sent.begin(), as_sent.end(), all.begin() + at[index(own)]);
  }
  return all;
}

std::vector<float> reduce_scatter(Communicator& communicator, const StepName& name, Wire wire,
                                  std::span<const std::int64_t> elements,
                                  std::span<const float> in) {
  const bool payload = communicator.carries_payload();
  const int ranks = communicator.size(), own = communicator.rank();
  const auto at = offsets(elements);
  const std::int64_t own_elements = elements[index(own)];
  WireArray sending(wire, payload, in);
  WireArray parts(wire, payload, ranks * own_elements);
  SentParts sent(sending.data(), ranks);
  ReceivedParts received(parts.data(), ranks);
  for (int r = 0; r < ranks; ++r) {
    if (r == own) continue;
    sent.set(r, at[index(r)] * wire.bytes_per_element, elements[index(r)] * wire.bytes_per_element);
    received.set(r, r * own_elements * wire.bytes_per_element,
                 own_elements * wire.bytes_per_element);
  }
  communicator.exchange(name, sent, received);
  if (!payload) return {};
  std::vector<float> all = parts.take();
  const auto own_part = in.begin() + at[index(own)];
  std::transform(own_part, own_part + own_elements, all.begin() + own * own_elements,
                 [&](float x) { return wire.bytes_per_element == 2 ? round_to_bf16(x) : x; });
  std::vector<float> sum(index(own_elements));
  for (int r = 0; r < ranks; ++r)
    for (std::int64_t i = 0; i < own_elements; ++i)
      sum[index(i)] += all[index(r * own_elements + i)];
  return sum;
}

std::vector<float> shift(Communicator& communicator, const StepName& name, Wire wire,
                         std::int64_t sent_elements, std::int64_t received_elements,
                         std::span<const float> in) {
  const bool payload = communicator.carries_payload();
  const int ranks = communicator.size(), own = communicator.rank();
  WireArray sending(wire, payload, in);
  WireArray arriving(wire, payload, received_elements);
  SentParts sent(sending.data(), ranks);
  ReceivedParts received(arriving.data(), ranks);
  sent.set((own + 1) % ranks, 0, sent_elements * wire.bytes_per_element);
  received.set((own + ranks - 1) % ranks, 0, received_elements * wire.bytes_per_element);
  communicator.exchange(name, sent, received);
  return arriving.take();
}

}  // namespace ospsim
