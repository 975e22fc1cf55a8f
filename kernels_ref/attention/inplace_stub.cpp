#include "kernels_ref/attention/inplace.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

[[noreturn]] void refuse() {
  throw UnavailableError(
      "in-place attention is not compiled into this build: no nvcc was found when it was "
      "configured");
}

}  // namespace

struct InPlaceAttention::State {};

InPlaceAttention::InPlaceAttention(const Layout&, std::int64_t, Options) {
  refuse();
}
InPlaceAttention::~InPlaceAttention() = default;
InPlaceAttention::InPlaceAttention(InPlaceAttention&&) noexcept = default;
InPlaceAttention& InPlaceAttention::operator=(InPlaceAttention&&) noexcept = default;

void InPlaceAttention::prepare(const Tensors&) {
  refuse();
}
void InPlaceAttention::execute(CUstream_st*) const {
  refuse();
}
const InPlacePlan& InPlaceAttention::plan() const {
  refuse();
}
Cost InPlaceAttention::cost() const {
  refuse();
}

}  // namespace ospsim
