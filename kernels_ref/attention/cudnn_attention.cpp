// A graph of one operation, made with cuDNN's backend API:
// https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html
// What the operation's attributes mean is learnt from NVIDIA's cudnn-frontend (UnifiedSDPANode).

#include "kernels_ref/attention/cudnn_attention.hpp"

#include <cudnn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <initializer_list>
#include <stdexcept>
#include <vector>

#include "kernels_ref/cuda/buffer.hpp"
#include "kernels_ref/cuda/library.hpp"
#include "kernels_ref/index.hpp"

namespace ospsim {
namespace {

struct Cudnn {
  Library library{cudnn_sonames};

#define OSPSIM_CUDNN(function) \
  decltype(::function)* function = library.symbol<decltype(::function)>(#function)
  OSPSIM_CUDNN(cudnnGetVersion);
  OSPSIM_CUDNN(cudnnGetErrorString);
  OSPSIM_CUDNN(cudnnGetLastErrorString);
  OSPSIM_CUDNN(cudnnCreate);
  OSPSIM_CUDNN(cudnnDestroy);
  OSPSIM_CUDNN(cudnnSetStream);
  OSPSIM_CUDNN(cudnnBackendCreateDescriptor);
  OSPSIM_CUDNN(cudnnBackendDestroyDescriptor);
  OSPSIM_CUDNN(cudnnBackendSetAttribute);
  OSPSIM_CUDNN(cudnnBackendGetAttribute);
  OSPSIM_CUDNN(cudnnBackendFinalize);
  OSPSIM_CUDNN(cudnnBackendExecute);
#undef OSPSIM_CUDNN

  /// `doing` says what was tried, in the words of "cannot ...".
  void check(cudnnStatus_t status, const char* doing) const {
    if (status == CUDNN_STATUS_SUCCESS) return;
    char words[512] = "";
    cudnnGetLastErrorString(words, sizeof(words));
    std::ranges::replace(words, '\n', ' ');
    throw UnavailableError(fmt::format("cuDNN {} cannot {}: {} {}", cudnnGetVersion(), doing,
                                       cudnnGetErrorString(status), words));
  }
};

class Descriptor {
 public:
  Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type)
      : cudnn_(&cudnn), raw_(nullptr, cudnn.cudnnBackendDestroyDescriptor) {
    cudnnBackendDescriptor_t raw = nullptr;
    cudnn.check(cudnn.cudnnBackendCreateDescriptor(type, &raw), "create a descriptor");
    raw_.reset(raw);
  }

  cudnnBackendDescriptor_t raw() const { return raw_.get(); }

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::size_t count,
           const void* values) {
    cudnn_->check(cudnn_->cudnnBackendSetAttribute(raw(), name, type,
                                                   static_cast<std::int64_t>(count), values),
                  "set an attribute");
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
           std::initializer_list<T> values) {
    set(name, type, values.size(), values.begin());
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, {other.raw()});
  }

  cudnnStatus_t try_finalize() { return cudnn_->cudnnBackendFinalize(raw()); }
  void finalize(const char* doing) { cudnn_->check(try_finalize(), doing); }

  /// How many values there are; up to `room` of them are copied.
  std::int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                   std::size_t room, void* values) const {
    std::int64_t count = 0;
    cudnn_->check(cudnn_->cudnnBackendGetAttribute(raw(), name, type,
                                                   static_cast<std::int64_t>(room), &count, values),
                  "get an attribute");
    return count;
  }

 private:
  const Cudnn* cudnn_;
  std::unique_ptr<void, decltype(cudnnBackendDestroyDescriptor)*> raw_;
};

/// What a tensor is called when a plan is executed.
enum Uid : std::int64_t {
  uid_q = 1,
  uid_k,
  uid_v,
  uid_o,
  uid_scale,
  uid_query_lengths,
  uid_key_lengths
};

struct Plan {
  BatchedAttention shape;  // without the addresses of lengths
  bool lengths = false;
  std::deque<Descriptor> parts;  // the last is the plan
  std::string kernel;
  std::unique_ptr<DeviceBuffer<std::byte>> workspace;
};

bool has_lengths(const BatchedAttention& shape) {
  if ((shape.query_lengths == nullptr) != (shape.key_lengths == nullptr))
    throw std::invalid_argument("attention: lengths of queries and keys come together");
  return shape.query_lengths != nullptr;
}

BatchedAttention without_lengths(BatchedAttention shape) {
  shape.query_lengths = shape.key_lengths = nullptr;
  return shape;
}

}  // namespace

struct CudnnAttention::State {
  Cudnn cudnn;
  std::unique_ptr<cudnnContext, decltype(cudnnDestroy)*> handle{nullptr, cudnn.cudnnDestroy};
  Descriptor device{cudnn, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR};
  std::deque<Plan> plans;

  State() {
    int id = 0;
    check_cuda(cudaGetDevice(&id));
    cudnnHandle_t created = nullptr;
    cudnn.check(cudnn.cudnnCreate(&created), "start");
    handle.reset(created);
    device.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, {std::int32_t{id}});
    device.finalize("use this device");
  }
  /// Without a handle, since there need not be a device.
  explicit State(const std::string& properties) {
    device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, properties.size() + 1,
               properties.c_str());
    device.finalize("use this description of a device");
  }

  Plan& plan(const BatchedAttention& shape) {
    const bool lengths = has_lengths(shape);
    const BatchedAttention wanted = without_lengths(shape);
    for (Plan& plan : plans)
      if (plan.shape == wanted && plan.lengths == lengths) return plan;
    Plan made{.shape = wanted, .lengths = lengths};
    build(made);
    return plans.emplace_back(std::move(made));
  }

 private:
  Descriptor& add(Plan& plan, cudnnBackendDescriptorType_t type) const {
    return plan.parts.emplace_back(cudnn, type);
  }

  Descriptor& add_tensor(Plan& plan, Uid uid, cudnnDataType_t type,
                         std::initializer_list<std::int64_t> extents,
                         std::initializer_list<std::int64_t> strides) const {
    Descriptor& tensor = add(plan, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, {std::int64_t{uid}});
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, {type});
    tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, {std::int64_t{16}});
    tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, extents);
    tensor.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides);
    if (uid == uid_scale) tensor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, {true});
    tensor.finalize("describe a tensor");
    return tensor;
  }

  void build(Plan& plan) const {
    const BatchedAttention& a = plan.shape;
    const auto rows = [&](Uid uid, std::int64_t length, BatchStrides strides) -> Descriptor& {
      const std::int64_t next = a.batches == 1 ? length * strides.row_stride : strides.batch_stride;
      return add_tensor(plan, uid, CUDNN_DATA_BFLOAT16, {a.batches, a.heads, length, a.head_dim},
                        {next, a.head_dim, strides.row_stride, 1});
    };
    const auto lengths = [&](Uid uid) -> Descriptor& {
      return add_tensor(plan, uid, CUDNN_DATA_INT32, {a.batches, 1, 1, 1}, {1, 1, 1, 1});
    };
    const auto &q = rows(uid_q, a.query_length, a.q), &k = rows(uid_k, a.key_length, a.k),
               &v = rows(uid_v, a.key_length, a.v), &o = rows(uid_o, a.query_length, a.o),
               &scale = add_tensor(plan, uid_scale, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1});

    Descriptor& attention = add(plan, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, q);
    attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, k);
    attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, v);
    attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, o);
    attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, scale);
    if (plan.lengths) {
      attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC, lengths(uid_query_lengths));
      attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, lengths(uid_key_lengths));
    }
    attention.finalize("describe this attention");

    Descriptor& graph = add(plan, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, attention);
    graph.finalize("compute this attention");
    Descriptor& engines = add(plan, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    engines.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    engines.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, {CUDNN_HEUR_MODE_A});
    engines.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
    engines.finalize("choose an engine for this attention");
    choose(plan, engines);

    plan.kernel = kernel_of(plan.parts.back());
    std::int64_t bytes = 0;
    plan.parts.back().get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &bytes);
    if (handle != nullptr) plan.workspace = std::make_unique<DeviceBuffer<std::byte>>(index(bytes));
  }

  /// The name of a plan's kernel, or "" where cuDNN does not tell.
  static std::string kernel_of(const Descriptor& plan) {
    const auto read = [&](std::size_t count, char* to) {
      return plan.get(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, count, to);
    };
    std::string json;
    try {
      json.resize(index(read(0, nullptr)));
      read(json.size(), json.data());
    } catch (const UnavailableError&) {
      return {};
    }
    constexpr std::string_view key = "\"kernelName\":\"";
    const auto at = json.find(key);
    if (at == json.npos) return {};
    const auto first = at + key.size();
    return json.substr(first, json.find('"', first) - first);
  }

  /// The first of the engines' configurations, best first, that makes a plan.
  void choose(Plan& plan, const Descriptor& engines) const {
    const auto count =
        engines.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
    std::vector<cudnnBackendDescriptor_t> raw;
    for (std::int64_t i = 0; i < count; ++i)
      raw.push_back(add(plan, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).raw());
    raw.resize(index(engines.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 raw.size(), raw.data())));
    cudnnStatus_t status = CUDNN_STATUS_NOT_SUPPORTED;
    for (const auto configuration : raw) {
      Descriptor made(cudnn, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      made.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR,
               {configuration});
      made.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
      status = made.try_finalize();
      if (status != CUDNN_STATUS_SUCCESS) continue;
      plan.parts.push_back(std::move(made));
      return;
    }
    cudnn.check(status, "plan this attention");
  }
};

CudnnAttention::CudnnAttention() : state_(std::make_unique<State>()) {}
CudnnAttention::CudnnAttention(const std::string& device_properties)
    : state_(std::make_unique<State>(device_properties)) {}
CudnnAttention::CudnnAttention(CudnnAttention&&) noexcept = default;
CudnnAttention& CudnnAttention::operator=(CudnnAttention&&) noexcept = default;
CudnnAttention::~CudnnAttention() = default;

const std::string& CudnnAttention::prepare(const BatchedAttention& shape) {
  return state_->plan(shape).kernel;
}

void CudnnAttention::execute(CUstream_st* stream, const BatchedAttention& shape, const Bfloat16* q,
                             const Bfloat16* k, const Bfloat16* v, Bfloat16* o) {
  const Cudnn& cudnn = state_->cudnn;
  if (state_->handle == nullptr)
    throw UnavailableError("attention by cuDNN was prepared for a device that is not there");
  const Plan& plan = state_->plan(shape);

  float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  const auto pointer = [](const void* to) { return const_cast<void*>(to); };
  std::vector<std::int64_t> uids{uid_q, uid_k, uid_v, uid_o, uid_scale};
  std::vector<void*> pointers{pointer(q), pointer(k), pointer(v), o, &scale};
  if (plan.lengths) {
    uids.insert(uids.end(), {uid_query_lengths, uid_key_lengths});
    pointers.insert(pointers.end(), {pointer(shape.query_lengths), pointer(shape.key_lengths)});
  }
  Descriptor pack(cudnn, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, uids.size(), uids.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers.size(),
           pointers.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR,
           {static_cast<void*>(plan.workspace->data())});
  pack.finalize("take these arrays");
  cudnn.check(cudnn.cudnnSetStream(state_->handle.get(), stream), "use this stream");
  cudnn.check(cudnn.cudnnBackendExecute(state_->handle.get(), plan.parts.back().raw(), pack.raw()),
              "compute this attention");
}

}  // namespace ospsim
