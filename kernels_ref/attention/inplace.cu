#include <cudaTypedefs.h>

#include <cmath>
#include <functional>
#include <string>

#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/attention/inplace.hpp"
#include "kernels_ref/attention/inplace_kernel.hpp"
#include "kernels_ref/cuda/hopper.cuh"
#include "kernels_ref/layout/valid_lengths.hpp"

namespace ospsim {
namespace {

// The runtime hands out the driver's function, so that nothing links the driver.
PFN_cuTensorMapEncodeTiled_v12000 tensor_map_encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                              cudaEnableDefault, &found));
  if (found != cudaDriverEntryPointSuccess || function == nullptr)
    throw UnavailableError("the CUDA driver has no tensor maps; in-place attention needs 12.0");
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
}

TensorMap encode(PFN_cuTensorMapEncodeTiled_v12000 encoder, const TileMap& map) {
  cuuint64_t extent[4], stride_bytes[3];
  cuuint32_t box[4], every[4] = {1, 1, 1, 1};
  for (std::size_t i = 0; i < 4; ++i) {
    extent[i] = static_cast<cuuint64_t>(map.extent[i]);
    box[i] = static_cast<cuuint32_t>(map.box[i]);
  }
  for (std::size_t i = 0; i < 3; ++i)
    stride_bytes[i] = static_cast<cuuint64_t>(map.stride_bytes[i]);
  union {
    TensorMap bytes;
    CUtensorMap of_driver;
  } encoded;
  const CUresult result = encoder(
      &encoded.of_driver, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(map.data), extent,
      stride_bytes, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw UnavailableError("CUDA: cuTensorMapEncodeTiled failed with error " +
                           std::to_string(static_cast<int>(result)));
  return encoded.bytes;
}

int device_capability() {
  int device = 0, major = 0, minor = 0;
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return 10 * major + minor;
}

template <class T>
std::span<const T> all_of(const std::vector<T>& values) {
  return values;
}

}  // namespace

struct InPlaceAttention::State {
  InPlacePlan plan;
  std::int64_t heads, tokens;
  Cost cost;
  DeviceBuffer<InPlacePlan::Box> boxes;
  DeviceBuffer<std::int32_t> mask_of_tile;
  DeviceBuffer<std::uint32_t> masks;
  std::size_t query_tile_count;
  DeviceBuffer<InPlacePlan::QueryTile> query_tiles;
  DeviceBuffer<std::int32_t> rows;
  DeviceBuffer<TensorMap> k_maps, v_maps;
  std::function<void(cudaStream_t, const InPlaceArguments&)> launch;
  InPlaceArguments arguments;

  State(const Layout& layout, std::int64_t head_count, const Options& options)
      : plan(plan_in_place(layout, options.keys_per_tile)),
        heads(head_count),
        tokens(layout.grid().tokens()),
        cost(attention_forward_cost(attended_pairs(layout), heads, tokens, tokens,
                                    InPlacePlan::head_dim, 2)),
        boxes(all_of(plan.boxes)),
        mask_of_tile(all_of(plan.mask_of_tile)),
        masks(all_of(plan.masks)),
        query_tile_count(plan_query_tiles(options.version).size()),
        query_tiles(all_of(plan_query_tiles(options.version))),
        rows(all_of(plan.rows)),
        k_maps(plan.maps.size()),
        v_maps(plan.maps.size()) {
    arguments.scale = 1 / std::sqrt(static_cast<float>(InPlacePlan::head_dim));
    arguments.tokens = tokens;
    arguments.k_maps = k_maps.data();
    arguments.v_maps = v_maps.data();
    arguments.boxes = boxes.data();
    arguments.mask_of_tile = mask_of_tile.data();
    arguments.masks = masks.data();
    arguments.query_tiles = query_tiles.data();
    arguments.rows = rows.data();
    arguments.boxes_per_tile = plan.boxes_per_tile;
    arguments.keys_per_box = plan.keys_per_tile / plan.boxes_per_tile;
    arguments.query_tile_count = static_cast<std::int32_t>(query_tile_count);
    arguments.heads = static_cast<std::int32_t>(heads);
    with_tile_size(plan.keys_per_tile, [&](auto keys) {
      constexpr int size = decltype(keys)::value;
      if (options.version == 1) use<InPlaceAttentionKernel<size, 1>>();
      if (options.version == 2) use<InPlaceAttentionKernel<size, 2>>();
      if (options.version == 3) use<InPlaceAttentionKernel<size, 3>>();
      if (options.version == 4) use<InPlaceAttentionKernel<size, 4>>();
    });
  }

 private:
  std::vector<InPlacePlan::QueryTile> plan_query_tiles(int version) const {
    return version >= 4 ? plan.paired_query_tiles() : plan.query_tiles;
  }
  template <class Kernel>
  void use() {
    prepare_hopper(Kernel{arguments});
    launch = [](cudaStream_t stream, const InPlaceArguments& of) {
      launch_hopper(stream, Kernel{of}, Kernel::cluster);
    };
  }
};

InPlaceAttention::InPlaceAttention(const Layout& layout, std::int64_t heads, Options options) {
  if (heads < 1 || heads > 1 << 16)
    throw InputError("in-place attention takes 1 to 65536 heads, not " + std::to_string(heads));
  if (options.version < 1 || options.version > 4)
    throw InputError("in-place attention has versions 1 to 4, not " +
                     std::to_string(options.version));
  if (device_capability() != 90)
    throw UnavailableError("in-place attention needs a device of compute capability 9.0");
  state_ = std::make_unique<State>(layout, heads, options);
  if (heads * static_cast<std::int64_t>(state_->query_tile_count) > 0x7fffffff)
    throw InputError("in-place attention takes fewer than 2^31 tiles of queries, heads together");
}
InPlaceAttention::~InPlaceAttention() = default;
InPlaceAttention::InPlaceAttention(InPlaceAttention&&) noexcept = default;
InPlaceAttention& InPlaceAttention::operator=(InPlaceAttention&&) noexcept = default;

void InPlaceAttention::prepare(const Tensors& tensors) {
  State& state = *state_;
  if (tensors.row_stride < state.heads * InPlacePlan::head_dim || tensors.row_stride % 8 != 0)
    throw InputError("in-place attention: row_stride is " + std::to_string(tensors.row_stride) +
                     "; it must be a multiple of 8 and at least heads * 128");
  for (const void* const data :
       {static_cast<const void*>(tensors.q), static_cast<const void*>(tensors.k),
        static_cast<const void*>(tensors.v), static_cast<const void*>(tensors.o)})
    if (data == nullptr || reinterpret_cast<std::uintptr_t>(data) % 16 != 0)
      throw InputError("in-place attention: q, k, v and o must lie at multiples of 16 bytes");
  const auto encoder = tensor_map_encoder();
  std::vector<TensorMap> k_maps, v_maps;
  for (int m = 0; m < static_cast<int>(state.plan.maps.size()); ++m) {
    k_maps.push_back(
        encode(encoder, state.plan.tile_map(m, tensors.k, state.heads, tensors.row_stride)));
    v_maps.push_back(
        encode(encoder, state.plan.tile_map(m, tensors.v, state.heads, tensors.row_stride)));
  }
  check_cuda(cudaDeviceSynchronize());
  const std::size_t bytes = k_maps.size() * sizeof(TensorMap);
  check_cuda(cudaMemcpy(state.k_maps.data(), k_maps.data(), bytes, cudaMemcpyHostToDevice));
  check_cuda(cudaMemcpy(state.v_maps.data(), v_maps.data(), bytes, cudaMemcpyHostToDevice));
  // Copies from the host's memory may still be under way when they return, and no stream that does
  // not block waits for them.
  check_cuda(cudaDeviceSynchronize());
  state.arguments.q = tensors.q;
  state.arguments.o = tensors.o;
  state.arguments.lse = tensors.lse;
  state.arguments.row_stride = tensors.row_stride;
}

void InPlaceAttention::execute(CUstream_st* stream) const {
  if (state_->arguments.q == nullptr)
    throw InputError("in-place attention: prepare() comes before execute()");
  state_->launch(stream, state_->arguments);
}

const InPlacePlan& InPlaceAttention::plan() const {
  return state_->plan;
}
Cost InPlaceAttention::cost() const {
  return state_->cost;
}

}  // namespace ospsim
