#pragma once

#include <array>
#include <deque>
#include <optional>
#include <utility>

#include "kernels_ref/attention/cudnn_attention.hpp"
#include "kernels_ref/attention/inplace.hpp"
#include "kernels_ref/block/device_forward.hpp"
#include "kernels_ref/block/matmul.hpp"
#include "kernels_ref/cuda/launch.cuh"
#include "kernels_ref/formats/codec_kernels.hpp"

namespace ospsim {

class CudaEvent {
 public:
  CudaEvent() { check_cuda(cudaEventCreate(&event_)); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  ~CudaEvent() { cudaEventDestroy(event_); }

  void record(cudaStream_t stream) const { check_cuda(cudaEventRecord(event_, stream)); }
  /// Milliseconds from `start` to this; waits for this.
  float ms_since(const CudaEvent& start) const {
    float ms = 0;
    check_cuda(cudaEventSynchronize(event_));
    check_cuda(cudaEventElapsedTime(&ms, start.event_, event_));
    return ms;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaStream {
 public:
  CudaStream() { check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  ~CudaStream() { cudaStreamDestroy(stream_); }
  operator cudaStream_t() const { return stream_; }
  void wait() const { check_cuda(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

/// What was put on a stream, to be put there again at once.
class CudaGraph {
 public:
  /// Captures what `work` starts on the stream; nothing of it runs now.
  template <class Work>
  CudaGraph(cudaStream_t stream, const Work& work) {
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      work();
    } catch (...) {  // else the stream could not be used any more
      cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    check_cuda(cudaStreamEndCapture(stream, &graph));
    const cudaError_t made = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(made);
  }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  ~CudaGraph() { cudaGraphExecDestroy(graph_); }
  void launch(cudaStream_t stream) const { check_cuda(cudaGraphLaunch(graph_, stream)); }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

/// Puts the operations of DeviceForward on a stream: products by cuBLASLt, attention by cuDNN, each
/// opened when first used.
class CudaExecutor {
 public:
  CudaExecutor() : found_(1) {}

  template <class T>
  using Array = DeviceBuffer<T>;
  template <class T>
  DeviceBuffer<T> array(std::int64_t size) {
    DeviceBuffer<T> made(index(size));
    check_cuda(cudaMemsetAsync(made.data(), 0, made.size() * sizeof(T), stream_));
    return made;
  }
  template <class T>
  DeviceBuffer<T> upload(std::span<const T> from) {
    // On the stream: a plain copy may still be under way when it returns, and nothing orders this
    // stream after it.
    DeviceBuffer<T> made(from.size());
    check_cuda(cudaMemcpyAsync(made.data(), from.data(), from.size_bytes(), cudaMemcpyHostToDevice,
                               stream_));
    wait();
    return made;
  }

  cudaStream_t stream() const { return stream_; }
  void wait() const { stream_.wait(); }

  template <class Kernel>
  void launch(Work work, const Kernel& kernel) {
    timed(work, [&] { ospsim::launch(stream_, kernel); });
  }
  void linear(Work work, const Product& product, const void* x, const void* weight,
              const Bfloat16* bias, Bfloat16* y) {
    if (!matmul_) matmul_.emplace();
    timed(work, [&] { matmul_->run(stream_, product, x, weight, bias, y); });
  }
  void attention(Work work, const BatchedAttention& shape, const Bfloat16* q, const Bfloat16* k,
                 const Bfloat16* v, Bfloat16* o) {
    if (!attention_) attention_.emplace();
    timed(work, [&] { attention_->execute(stream_, shape, q, k, v, o); });
  }
  /// Our own kernel. Each set of tensors is planned for when it is first seen, which waits for the
  /// device.
  void attention_in_place(Work work, const Layout& layout, std::int64_t heads,
                          std::int64_t head_dim, const Bfloat16* q, const Bfloat16* k,
                          const Bfloat16* v, Bfloat16* o);
  /// The paper's forward recipe (formats/scaling.hpp, paper_forward).
  void quantize(Work work, const Bfloat16* from, Bfloat16* to, std::int64_t elements);

  /// From now on every operation is timed on its own.
  void start_profile() {
    profiling_ = true;
    spans_.clear();
  }
  /// Waits, and returns the milliseconds of each kind of work.
  std::array<double, work_kinds> stop_profile() {
    profiling_ = false;
    std::array<double, work_kinds> ms{};
    for (const auto& span : spans_)
      ms[static_cast<std::size_t>(span.work)] += span.stop.ms_since(span.start);
    return ms;
  }

 private:
  struct Span {
    Work work;
    CudaEvent start, stop;
    explicit Span(Work w) : work(w) {}
  };

  template <class Start>
  void timed(Work work, const Start& start) {
    if (!profiling_) return start();
    Span& span = spans_.emplace_back(work);
    span.start.record(stream_);
    start();
    span.stop.record(stream_);
  }

  CudaStream stream_;
  std::optional<Matmul> matmul_;
  std::optional<CudnnAttention> attention_;
  struct InPlace {
    Layout layout;
    std::int64_t heads;
    InPlaceAttention::Tensors tensors;
    InPlaceAttention attention;
  };
  std::deque<InPlace> in_place_;
  DeviceBuffer<DeviceAmax> found_;
  bool profiling_ = false;
  std::deque<Span> spans_;
};

}  // namespace ospsim
