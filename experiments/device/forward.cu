#include <map>

#include "experiments/device/measure.cuh"
#include "sim/model/naive_model.hpp"

/// Forward passes of a whole model, as CUDA graphs: the paper's two models as its code arranges
/// them; OSP-Next otherwise arranged, one choice after the other; and one rank's share of 2, 4 and
/// 8.
namespace ospsim {
namespace {

using Weights = DeviceModelWeights<CudaExecutor>;
using Device = DeviceModel<CudaExecutor>;

struct Video {
  const char* name;
  Grid grid;
};
std::vector<Video> videos(const RecordSizes& sizes) {
  return {{"720p", sizes.padded}, {"768p", sizes.unpadded}};
}

// ---- A small model against the naive back end --------------------------------------------------

/// Six blocks of two heads of 128 on a ragged grid, through the same code as the large ones.
Check check_small(CudaExecutor& on, const std::string& name, const DeviceModelOptions& options) {
  Model model = find_model(name);
  const bool dense = model.full_blocks == model.layers;
  model.layers = 6;
  model.heads = 2;
  model.ffn_dim = 256;
  model.text_tokens = 16;
  model.full_blocks = dense ? 6 : 2;
  const Grid grid{2, 5, 6};
  Weights weights(on, model, 3);
  Device device(on, model, weights, grid, options);
  const std::int64_t rows = grid.tokens(), dim = model.dim();
  const auto read = [&]<class T>(const T* from, std::int64_t size) {
    const auto values = download(on, from, size);
    std::vector<double> to(values.size());
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = to_float(values[i]);
    return to;
  };
  const auto exact = naive_forward(model, grid, weights, read(device.input(), rows * dim),
                                   read(device.text(), model.text_tokens * dim), read);
  // Some 20 tensors a block are rounded to 8 bits, or to 4 with hif8.
  const auto check = [&](const std::string& how, const Bfloat16* result) {
    return check_of("relative L2 of a six-block model on 2x5x6 against double precision, " + how,
                    relative_l2(download_bf16(on, result, rows * dim), exact),
                    options.choices.hif8 ? 0.1 : 0.02);
  };
  const Check launched = check("launched one by one", device.forward());
  const Bfloat16* result = nullptr;
  const CudaGraph graph(on.stream(), [&] {
    device.reset();
    result = device.forward();
  });
  graph.launch(on.stream());
  return worst_of({launched, check("by a graph and one by one", result)});
}

// ---- The large ones ----------------------------------------------------------------------------

std::string padding_text(PaddingRows padding) {
  return padding == PaddingRows::kept ? "kept" : "left out";
}

std::string rearrange_text(const DeviceModelOptions& options) {
  return options.in_place ? "never" : options.choices.rearrange_with_norm ? "with norm" : "alone";
}

/// The milliseconds of each kind of work in a forward pass, every operation timed on its own: of
/// one block for all that do the same.
std::array<double, work_kinds> parts_of(CudaExecutor& on, Device& device) {
  std::array<double, work_kinds> parts_ms{};
  for (const auto& [layer, count] : device.alike_blocks()) {
    device.block_forward(layer);  // makes plans; a graph cannot be captured before
    on.start_profile();
    device.block_forward(layer);
    const auto of_block = on.stop_profile();
    for (std::size_t w = 0; w < parts_ms.size(); ++w)
      parts_ms[w] += static_cast<double>(count) * of_block[w];
  }
  return parts_ms;
}

struct Timed {
  std::vector<double> times_ms;
  std::int64_t not_finite = 0;  ///< numbers of what came out
};

Timed time_whole(CudaExecutor& on, Device& device, const RecordSizes& sizes, std::int64_t dim) {
  Bfloat16* result = nullptr;
  const CudaGraph graph(on.stream(), [&] {
    device.reset();
    result = device.forward();
  });
  const auto times_ms = timed_ms(on, sizes.forward_repetitions, [&] { graph.launch(on.stream()); });
  return {times_ms, not_finite(on, result, device.rows() * dim)};
}

/// A rank's share, of which a whole pass would say no more: one block of those that do the same,
/// times their number.
Timed time_blocks(CudaExecutor& on, Device& device, const RecordSizes& sizes, std::int64_t dim) {
  Timed timed{std::vector<double>(index(sizes.forward_repetitions))};
  for (const auto& [layer, count] : device.alike_blocks()) {
    Bfloat16* result = nullptr;
    device.reset();
    const auto ms = measure_ms(on, sizes, sizes.forward_repetitions,
                               [&] { result = device.block_forward(layer); });
    for (std::size_t r = 0; r < ms.size(); ++r)
      timed.times_ms[r] += static_cast<double>(count) * ms[r];
    timed.not_finite += not_finite(on, result, device.rows(layer) * dim);
  }
  return timed;
}

/// The checks of small models, of which several rows have the same.
using SmallChecks = std::map<std::string, Check>;

void record_row(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes,
                const Weights& weights, SmallChecks& small, const char* name, const Video& video,
                const DeviceModelOptions& options) {
  const Model model = sizes.model(name);
  Device device(on, model, weights, video.grid, options);
  const auto parts_ms = parts_of(on, device);
  auto [times_ms, wrong] = options.ranks == 1 ? time_whole(on, device, sizes, model.dim())
                                              : time_blocks(on, device, sizes, model.dim());
  const Check finite =
      check_of("numbers of results that are not finite", static_cast<double>(wrong), 0);

  Row row{.name = name,
          .sizes = {{"t", video.grid.t},
                    {"h", video.grid.h},
                    {"w", video.grid.w},
                    {"ranks", options.ranks}},
          .notes = {{"video", video.name},
                    {"padding", padding_text(options.padding)},
                    {"text", options.choices.text_once ? "once" : "per sub-sequence"},
                    {"rearrange", rearrange_text(options)},
                    {"numbers", options.choices.hif8 ? "hif8, emulated" : "bf16"},
                    {"timed", options.ranks == 1 ? "whole, as a graph" : "block by block"}},
          .cost = {.flops = forward_flops(model, video.grid, PaddingWork::valid).all /
                            static_cast<double>(options.ranks)},
          .formula =
              "products of all blocks, attention over valid tokens, over ranks; what the "
              "paper's arrangement costs, whatever this one does",
          .times_ms = std::move(times_ms),
          .check = finite};
  if (options.ranks == 1) {
    std::string how = name;
    for (const auto& [note, value] : row.notes)
      if (note != "video") how += ", " + value;
    if (!small.contains(how)) small[how] = check_small(on, name, options);
    row.check = worst_of({finite, small[how]});
  }
  for (int w = 0; w < work_kinds; ++w)
    row.parts_ms.emplace_back(to_string(static_cast<Work>(w)),
                              parts_ms[static_cast<std::size_t>(w)]);
  recorder.row(row);
}

void record(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes, const Weights& weights,
            SmallChecks& small, const char* name, const Video& video,
            const DeviceModelOptions& options) {
  attempt(on, recorder, name,
          [&] { record_row(on, recorder, sizes, weights, small, name, video, options); });
}

}  // namespace

void record_forward(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const Weights weights(on, sizes.model("wan2.1-14b"), 1);
  SmallChecks small;
  for (const auto& video : videos(sizes))
    for (const auto* const name : {"wan2.1-14b", "osp-next-14b"})
      record(on, recorder, sizes, weights, small, name, video, DeviceModelOptions{});
}

void record_choices(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  Weights weights(on, sizes.model("osp-next-14b"), 1);
  SmallChecks small;
  const char* const osp = "osp-next-14b";
  for (const auto& video : videos(sizes)) {
    const bool padded = video.grid.h % 4 != 0;
    if (padded) {  // the text is worth little: once is enough to see it
      record(on, recorder, sizes, weights, small, osp, video, {.padding = PaddingRows::left_out});
      record(on, recorder, sizes, weights, small, osp, video,
             {.padding = PaddingRows::left_out, .choices = {.text_once = true}});
    }
    record(on, recorder, sizes, weights, small, osp, video,
           {.padding = PaddingRows::left_out,
            .choices = {.text_once = true, .rearrange_with_norm = true}});
  }
  weights.quantize();
  record(on, recorder, sizes, weights, small, osp, videos(sizes)[1], {.choices = {.hif8 = true}});
}

void record_ranks(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const Weights weights(on, sizes.model("wan2.1-14b"), 1);
  SmallChecks small;
  for (const std::int64_t ranks : {2, 4, 8})
    for (const auto& video : videos(sizes))
      for (const auto* const name : {"wan2.1-14b", "osp-next-14b"})
        record(on, recorder, sizes, weights, small, name, video, {.ranks = ranks});
}

void record_in_place_forward(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const Weights weights(on, sizes.model("osp-next-14b"), 1);
  SmallChecks small;
  record(on, recorder, sizes, weights, small, "osp-next-14b", videos(sizes)[1],
         {.padding = PaddingRows::left_out, .in_place = true, .choices = {.text_once = true}});
}

}  // namespace ospsim
