#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cuda_runtime_api.h"
#include "tests/experiments/pretend_device/sabotage.hpp"

using Jobs = std::vector<std::function<void()>>;

struct CUstream_st {
  struct Waiting {
    std::function<void()> work;
    std::uint64_t number;  ///< counts what is put on streams
  };
  std::deque<Waiting> waiting;
  std::unique_ptr<Jobs> captured;  ///< while capturing

  void finish_one() {
    const auto next = std::move(waiting.front());
    waiting.pop_front();
    next.work();
  }
  void finish() {
    while (!waiting.empty()) finish_one();
  }
};

struct CUevent_st {
  struct Record {
    cudaStream_t stream = nullptr;
    bool done = false;
    std::chrono::steady_clock::time_point at;
  };
  std::shared_ptr<Record> last;
};
struct CUgraph_st {
  Jobs jobs;
};
struct CUgraphExec_st {
  std::shared_ptr<const Jobs> jobs;
};

namespace {

constexpr std::align_val_t alignment{256};

std::set<cudaStream_t>& streams() {
  static std::set<cudaStream_t> all;
  return all;
}
std::uint64_t work_put = 0;

struct Piece {
  std::size_t bytes;
  std::uint64_t older_work;  ///< work that was put on streams before this was handed out
};
/// By where each piece of memory begins.
std::map<const char*, Piece>& memory() {
  static std::map<const char*, Piece> all;
  return all;
}

const Piece* piece_of(const void* data, std::size_t bytes) {
  const auto* const at = static_cast<const char*>(data);
  auto piece = memory().upper_bound(at);
  if (piece == memory().begin()) return nullptr;
  --piece;
  return at + bytes <= piece->first + piece->second.bytes ? &piece->second : nullptr;
}

cudaError_t check_copy(const void* to, const void* from, std::size_t to_bytes,
                       std::size_t from_bytes, cudaMemcpyKind kind) {
  const bool right = (piece_of(to, to_bytes) != nullptr) == (kind != cudaMemcpyDeviceToHost) &&
                     (piece_of(from, from_bytes) != nullptr) == (kind != cudaMemcpyHostToDevice);
  return right ? cudaSuccess : cudaErrorInvalidValue;
}

/// A copy that waits for no stream: work that may use the same memory must be over.
void require_settled(const void* data) {
  const Piece* const piece = piece_of(data, 0);
  for (const auto* const stream : streams())
    if (piece != nullptr && !stream->waiting.empty() &&
        stream->waiting.back().number > piece->older_work)
      throw std::logic_error("a copy of memory that work under way may use");
}

void finish_all() {
  for (auto* const stream : streams()) stream->finish();
}

}  // namespace

namespace ospsim::pretend {

void put(cudaStream_t stream, std::function<void()> work) {
  if (!streams().contains(stream)) throw std::logic_error("work for a stream that is none");
  if (stream->captured != nullptr)
    stream->captured->push_back(std::move(work));
  else
    stream->waiting.push_back({std::move(work), ++work_put});
}

bool capturing() {
  for (const auto* const stream : streams())
    if (stream->captured != nullptr) return true;
  return false;
}

void require_on_device(const void* data, std::int64_t bytes) {
  if (piece_of(data, static_cast<std::size_t>(bytes)) == nullptr)
    throw std::logic_error("an operand that is not on the device, or only in part");
}

}  // namespace ospsim::pretend

using ospsim::pretend::capturing;
using ospsim::pretend::put;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unknown error";
}

cudaError_t cudaGetLastError() {
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (capturing()) return cudaErrorStreamCaptureUnsupported;
  char* const made = static_cast<char*>(::operator new(bytes, alignment));
  std::memset(made, 0xff, bytes);
  memory()[made] = {bytes, work_put};
  *data = made;
  return cudaSuccess;
}

cudaError_t cudaFree(void* data) {
  if (data == nullptr) return cudaSuccess;
  if (capturing()) return cudaErrorStreamCaptureUnsupported;
  finish_all();
  if (memory().erase(static_cast<char*>(data)) == 0) return cudaErrorInvalidValue;
  ::operator delete(data, alignment);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (capturing()) return cudaErrorStreamCaptureUnsupported;
  const cudaError_t error = check_copy(to, from, bytes, bytes, kind);
  if (error != cudaSuccess) return error;
  require_settled(kind == cudaMemcpyHostToDevice ? to : from);
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                         std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  if (capturing()) return cudaErrorStreamCaptureUnsupported;
  if (height == 0) return cudaSuccess;
  const auto span = [&](std::size_t pitch) { return (height - 1) * pitch + width; };
  if (width > to_pitch || width > from_pitch) return cudaErrorInvalidValue;
  const cudaError_t error = check_copy(to, from, span(to_pitch), span(from_pitch), kind);
  if (error != cudaSuccess) return error;
  require_settled(kind == cudaMemcpyHostToDevice ? to : from);
  for (std::size_t row = 0; row < height; ++row)
    std::memcpy(static_cast<char*>(to) + row * to_pitch,
                static_cast<const char*>(from) + row * from_pitch, width);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const cudaError_t error = check_copy(to, from, bytes, bytes, kind);
  if (error != cudaSuccess) return error;
  if (kind == cudaMemcpyDeviceToDevice) {
    put(stream, [=] { std::memmove(to, from, bytes); });
    return cudaSuccess;
  }
  if (capturing()) return cudaErrorStreamCaptureUnsupported;
  if (kind == cudaMemcpyHostToDevice) {  // what the caller may change is read at once
    const auto* const at = static_cast<const char*>(from);
    put(stream, [to, held = std::vector<char>(at, at + bytes)] {
      std::memcpy(to, held.data(), held.size());
    });
    return cudaSuccess;
  }
  stream->finish();
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int byte, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (piece_of(to, bytes) == nullptr) return cudaErrorInvalidValue;
  put(stream, [=] { std::memset(to, byte, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
  *stream = *streams().insert(new CUstream_st).first;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (streams().erase(stream) == 0) return cudaErrorInvalidValue;
  stream->finish();
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (ospsim::pretend::broken) return cudaErrorInvalidValue;
  if (capturing()) return cudaErrorStreamCaptureUnsupported;
  if (!streams().contains(stream)) return cudaErrorInvalidValue;
  stream->finish();
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (capturing()) return cudaErrorStreamCaptureUnsupported;  // it could not be timed
  const auto record = event->last = std::make_shared<CUevent_st::Record>();
  record->stream = stream;
  put(stream, [record] {
    record->done = true;
    record->at = std::chrono::steady_clock::now();
  });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (capturing()) return cudaErrorStreamCaptureUnsupported;
  const auto record = event->last;
  while (record != nullptr && !record->done) record->stream->finish_one();
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t stop) {
  if (start->last == nullptr || stop->last == nullptr) return cudaErrorInvalidValue;
  if (!start->last->done || !stop->last->done) return cudaErrorNotReady;
  *ms = std::chrono::duration<float, std::milli>(stop->last->at - start->last->at).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!streams().contains(stream) || capturing()) return cudaErrorInvalidValue;
  stream->captured = std::make_unique<Jobs>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!streams().contains(stream) || stream->captured == nullptr) return cudaErrorInvalidValue;
  *graph = new CUgraph_st{std::move(*stream->captured)};
  stream->captured.reset();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  Jobs jobs = graph->jobs;
  using ospsim::pretend::Sabotage;
  if (ospsim::pretend::sabotage == Sabotage::graph_without_last_node) jobs.pop_back();
  *made = new CUgraphExec_st{std::make_shared<const Jobs>(std::move(jobs))};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  put(stream, [jobs = graph->jobs] {
    for (const auto& job : *jobs) job();
  });
  return cudaSuccess;
}
