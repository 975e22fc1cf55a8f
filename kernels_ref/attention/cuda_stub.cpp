#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

constexpr const char* message = "the cuda back end of attention is not compiled into this build";

}  // namespace

template <>
void attention_forward<Backend::cuda>(std::span<const AttentionGroup>, HeadTensor<const float>,
                                      HeadTensor<const float>, HeadTensor<const float>,
                                      HeadTensor<float>, std::span<float>, int) {
  throw UnavailableError(message);
}

template <>
void attention_backward<Backend::cuda>(std::span<const AttentionGroup>, HeadTensor<const float>,
                                       HeadTensor<const float>, HeadTensor<const float>,
                                       HeadTensor<const float>, HeadTensor<const float>,
                                       std::span<const float>, HeadTensor<float>, HeadTensor<float>,
                                       HeadTensor<float>, int) {
  throw UnavailableError(message);
}

}  // namespace ospsim
