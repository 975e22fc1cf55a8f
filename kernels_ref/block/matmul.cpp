#include "kernels_ref/block/matmul.hpp"

#include <cublasLt.h>

#include <deque>
#include <memory>
#include <string>
#include <type_traits>

#include "kernels_ref/cuda/buffer.hpp"
#include "kernels_ref/cuda/library.hpp"

namespace ospsim {
namespace {

/// The functions of cuBLASLt that are used here.
struct Functions {
  Library library{cublaslt_sonames};
#define OSPSIM_FUNCTION(name) decltype(::name)* name = library.symbol<decltype(::name)>(#name)
  OSPSIM_FUNCTION(cublasLtCreate);
  OSPSIM_FUNCTION(cublasLtDestroy);
  OSPSIM_FUNCTION(cublasLtGetStatusName);
  OSPSIM_FUNCTION(cublasLtMatmul);
  OSPSIM_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
  OSPSIM_FUNCTION(cublasLtMatmulDescCreate);
  OSPSIM_FUNCTION(cublasLtMatmulDescDestroy);
  OSPSIM_FUNCTION(cublasLtMatmulDescSetAttribute);
  OSPSIM_FUNCTION(cublasLtMatmulPreferenceCreate);
  OSPSIM_FUNCTION(cublasLtMatmulPreferenceDestroy);
  OSPSIM_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
  OSPSIM_FUNCTION(cublasLtMatrixLayoutCreate);
  OSPSIM_FUNCTION(cublasLtMatrixLayoutDestroy);
#undef OSPSIM_FUNCTION

  void check(cublasStatus_t status, const char* what) const {
    if (status != CUBLAS_STATUS_SUCCESS)
      throw UnavailableError(std::string("cuBLASLt: ") + what + ": " +
                             cublasLtGetStatusName(status));
  }
};

constexpr std::size_t workspace_bytes = std::size_t{64} << 20;

}  // namespace

/// Something that cuBLASLt makes and wants back: T is a pointer.
template <class T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

struct Matmul::Implementation {
  struct Plan {
    Product product;
    Owned<cublasLtMatmulDesc_t> operation;
    Owned<cublasLtMatrixLayout_t> weight, x, y;
    cublasLtMatmulAlgo_t algorithm{};
  };

  Functions lt;
  Owned<cublasLtHandle_t> handle{nullptr, lt.cublasLtDestroy};
  std::deque<Plan> plans;
  DeviceBuffer<unsigned char> workspace{workspace_bytes};
  const float one = 1, zero = 0;

  Implementation() {
    cublasLtHandle_t made = nullptr;
    lt.check(lt.cublasLtCreate(&made), "no handle");
    handle.reset(made);
  }

  template <class T>
  void set(const Plan& plan, cublasLtMatmulDescAttributes_t attribute, const T& value) const {
    lt.check(
        lt.cublasLtMatmulDescSetAttribute(plan.operation.get(), attribute, &value, sizeof(value)),
        "an attribute");
  }

  Plan& plan_of(const Product& product) {
    for (auto& plan : plans)
      if (plan.product == product) return plan;
    plans.push_back(make(product));
    return plans.back();
  }

  // cuBLASLt counts in columns: y^T [out, rows] = W^T^T [out, in] x^T [in, rows].
  Plan make(const Product& product) const {
    const auto [rows, in, out] = product.shape;
    const auto operand = product.operands == Product::Operands::e4m3 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
    const auto layout = [&](cudaDataType_t type, std::int64_t height, std::int64_t width) {
      cublasLtMatrixLayout_t made = nullptr;
      lt.check(lt.cublasLtMatrixLayoutCreate(&made, type, static_cast<std::uint64_t>(height),
                                             static_cast<std::uint64_t>(width), height),
               "a matrix layout");
      return Owned<cublasLtMatrixLayout_t>(made, lt.cublasLtMatrixLayoutDestroy);
    };
    const auto operation = [&] {
      cublasLtMatmulDesc_t made = nullptr;
      lt.check(lt.cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "an operation");
      return Owned<cublasLtMatmulDesc_t>(made, lt.cublasLtMatmulDescDestroy);
    };
    Plan plan{.product = product,
              .operation = operation(),
              .weight = layout(operand, in, out),
              .x = layout(operand, in, rows),
              .y = layout(CUDA_R_16BF, out, rows)};
    set(plan, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    const auto epilogue = product.gelu
                              ? product.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU
                          : product.bias ? CUBLASLT_EPILOGUE_BIAS
                                         : CUBLASLT_EPILOGUE_DEFAULT;
    set(plan, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (product.bias) {
      set(plan, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_16BF);
      // The heuristics want to see an address; run() puts the right one in its place.
      const void* const somewhere = workspace.data();
      set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, somewhere);
    }
    if (product.operands == Product::Operands::e4m3) {
      const std::int8_t fast = 1;  // sums in the tensor core's own width, as training libraries do
      set(plan, CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
    }

    cublasLtMatmulPreference_t made = nullptr;
    lt.check(lt.cublasLtMatmulPreferenceCreate(&made), "a preference");
    const Owned<cublasLtMatmulPreference_t> preference(made, lt.cublasLtMatmulPreferenceDestroy);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      lt.check(lt.cublasLtMatmulPreferenceSetAttribute(made, attribute, &value, sizeof(value)),
               "a preference");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    // Sums that are split are added up in float32, not in bf16.
    prefer(
        CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        std::uint32_t{CUBLASLT_REDUCTION_SCHEME_INPLACE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const auto status = lt.cublasLtMatmulAlgoGetHeuristic(
        handle.get(), plan.operation.get(), plan.weight.get(), plan.x.get(), plan.y.get(),
        plan.y.get(), made, 1, &found, &count);
    lt.check(status, "no algorithm");
    if (count == 0) throw UnavailableError("cuBLASLt has no algorithm for a product");
    plan.algorithm = found.algo;
    return plan;
  }
};

Matmul::Matmul() : implementation_(std::make_unique<Implementation>()) {}
Matmul::~Matmul() = default;

void Matmul::run(cudaStream_t stream, const Product& product, const void* x, const void* weight,
                 const Bfloat16* bias, Bfloat16* y) {
  auto& self = *implementation_;
  const auto& plan = self.plan_of(product);
  if (product.bias) self.set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  self.lt.check(self.lt.cublasLtMatmul(self.handle.get(), plan.operation.get(), &self.one, weight,
                                       plan.weight.get(), x, plan.x.get(), &self.zero, y,
                                       plan.y.get(), y, plan.y.get(), &plan.algorithm,
                                       self.workspace.data(), workspace_bytes, stream),
                "a product");
}

}  // namespace ospsim
