#include "kernels_ref/attention/cudnn_attention.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

[[noreturn]] void refuse() {
  throw UnavailableError(
      "attention by cuDNN is not compiled into this build: no CUDA or no headers of cuDNN 9.15 "
      "were "
      "found when it was configured");
}

}  // namespace

struct CudnnAttention::State {};

CudnnAttention::CudnnAttention() {
  refuse();
}
CudnnAttention::CudnnAttention(const std::string&) {
  refuse();
}
CudnnAttention::CudnnAttention(CudnnAttention&&) noexcept = default;
CudnnAttention& CudnnAttention::operator=(CudnnAttention&&) noexcept = default;
CudnnAttention::~CudnnAttention() = default;

const std::string& CudnnAttention::prepare(const BatchedAttention&) {
  refuse();
}
void CudnnAttention::execute(CUstream_st*, const BatchedAttention&, const Bfloat16*,
                             const Bfloat16*, const Bfloat16*, Bfloat16*) {
  refuse();
}

}  // namespace ospsim
