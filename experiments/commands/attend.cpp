#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "experiments/cli/pattern_options.hpp"
#include "experiments/cli/progress.hpp"
#include "experiments/commands/commands.hpp"
#include "experiments/store/attention_input.hpp"
#include "experiments/store/machine.hpp"
#include "experiments/store/part_file.hpp"
#include "kernels_ref/attention/attention.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"
#include "kernels_ref/parallel.hpp"

namespace ospsim {
namespace {

/// The whole file through one back end, one head at a time; a head is spread over the threads.
/// Returns the milliseconds spent in attention.
template <Backend B>
double attend(const AttentionInput& input, Hdf5File& output, const Layout& layout,
              Precision precision, int threads) {
  using T = Real<B>;
  const std::int64_t tokens = layout.grid().tokens(), head_dim = input.head_dim();
  const double size = static_cast<double>(tokens) * static_cast<double>(head_dim);
  require_memory(size * (4 * sizeof(T) + sizeof(float)) + 16.0 * static_cast<double>(tokens),
                 "one head");
  const auto groups = groups_in_place(layout);
  std::vector<T> q(static_cast<std::size_t>(size)), k(q.size()), v(q.size()), o(q.size());
  std::vector<float> stored(q.size());
  const auto tensor = [&](std::vector<T>& data) {
    return heads_first(data.data(), 1, tokens, head_dim);
  };

  Progress progress(static_cast<double>(input.heads()));
  std::chrono::duration<double, std::milli> spent{};
  for (std::int64_t head = 0; head < input.heads(); ++head) {
    progress.advance(head == 0 ? 0 : 1, fmt::format("head {} of {}", head + 1, input.heads()));
    input.read<T>("q", head, precision, q);
    input.read<T>("k", head, precision, k);
    input.read<T>("v", head, precision, v);
    const auto start = std::chrono::steady_clock::now();
    attention_forward<B>(groups, tensor(q), tensor(k), tensor(v), tensor(o), {}, threads);
    spent += std::chrono::steady_clock::now() - start;
    for (std::size_t i = 0; i < o.size(); ++i) {
      stored[i] = static_cast<float>(o[i]);
      if (precision == Precision::bf16) stored[i] = round_to_bf16(stored[i]);
      if (!std::isfinite(stored[i]))
        throw InputError(
            fmt::format("--input: head {} holds numbers too large for this precision: "
                        "its attention overflows",
                        head));
    }
    output.write_rows<float>("o", head, 1, stored);
  }
  return spent.count();
}

double attend(Backend backend, const AttentionInput& input, Hdf5File& output, const Layout& layout,
              Precision precision, int threads) {
  switch (backend) {
    case Backend::naive:
      return attend<Backend::naive>(input, output, layout, precision, threads);
    case Backend::cuda:
      return attend<Backend::cuda>(input, output, layout, precision, threads);
    case Backend::cpu:
      break;
  }
  return attend<Backend::cpu>(input, output, layout, precision, threads);
}

Json run(const Request& request) {
  const Grid grid = grid_of(request);
  const Pattern pattern = pattern_of(request);
  const Phase phase = phase_of(request);
  const Layout layout = layout_of(pattern, grid, phase);
  const Backend backend =
      naming("--backend", [&] { return parse_backend(request.text("--backend")); });
  const Precision precision =
      naming("--precision", [&] { return parse_precision(request.text("--precision")); });
  const std::string in = request.text("--input"), out = request.text("--output");
  const auto input = naming("--input", [&] { return AttentionInput(in, grid); });
  std::error_code ignored;
  if (std::filesystem::equivalent(in, out, ignored))
    throw InputError(fmt::format("--output: {} is the input; name another file", out));

  const std::int64_t heads = input.heads(), head_dim = input.head_dim();
  auto part = naming("--output", [&] { return std::make_unique<PartFile>(out); });
  auto output = naming("--output", [&] { return Hdf5File::create(part->part(), out); });
  write_provenance(output, request.provenance());
  const std::int64_t shape[] = {heads, grid.tokens(), head_dim};
  output.create_dataset<float>("o", shape);
  const double time_ms = attend(backend, input, output, layout, precision, request.threads);
  naming("--output", [&] {
    output.close();
    part->commit();
  });

  const double flops = attention_forward_cost(attended_pairs(layout), heads, grid.tokens(),
                                              grid.tokens(), head_dim, 4)
                           .flops;
  Json document = pattern_fields(grid, pattern);
  document["phase"] = to_string(phase);
  document["sparsity"] = layout.subsequences();
  document["backend"] = request.text("--backend");
  document["precision"] = request.text("--precision");
  document["heads"] = heads;
  document["head_dim"] = head_dim;
  document["threads"] = thread_count(request.threads);
  document["time_ms"] = time_ms;
  document["flops"] = flops;
  document["gflops_per_s"] = flops / time_ms * 1e-6;
  document["output"] = out;
  return document;
}

std::string text(const Json& document, const Style&) {
  const auto field = [&](const char* name) { return number_text(document.at(name)); };
  return facts(
      {{"output", field("output")},
       {"pattern", fmt::format("{}, {} phase of {}, on {}", field("pattern"), field("phase"),
                               field("spelled"), extents_text(document.at("grid")))},
       {"shape", fmt::format("{} heads, {} tokens, {} channels", field("heads"), field("tokens"),
                             field("head_dim"))},
       {"back end", fmt::format("{}, {}", field("backend"), field("precision"))},
       {"time", field("time_ms") + " ms"},
       {"work", fmt::format("{:.4g} GFLOP", document.at("flops").get<double>() * 1e-9)},
       {"rate", field("gflops_per_s") + " GFLOP/s"}});
}

}  // namespace

Command attend_command() {
  return {
      .name = "attend",
      .summary = "Sparse attention over q, k, v of an HDF5 file",
      .example =
          "  python3 -c \"import h5py, numpy; r = numpy.random.default_rng(0); "
          "f = h5py.File('in.h5', 'w'); [\n"
          "    f.create_dataset(n, data=r.standard_normal((2, 75600, 128), dtype='f4')) "
          "for n in 'qkv']\"\n"
          "  ospsim attend --input in.h5 --output out.h5 --grid 21x45x80 --pattern skiparse-2d "
          "--ratio 2 "
          "--phase token --backend cpu",
      .options = joined({{{"--input",
                           "IN.h5",
                           "q, k and v, each [heads, tokens, head_dim], tokens in (t,y,x) order",
                           {},
                           Option::Occurs::once},
                          {"--output",
                           "OUT.h5",
                           "receives o, of the same shape, in float32",
                           {},
                           Option::Occurs::once}},
                         grid_options(),
                         pattern_options(),
                         {phase_option(),
                          {"--backend",
                           "naive|cpu|cuda",
                           "naive computes in double precision, the others in float32",
                           {},
                           Option::Occurs::once},
                          {"--precision", "f32|bf16",
                           "bf16 rounds q, k, v and o to bfloat16, to the nearest and ties to "
                           "even; the arithmetic "
                           "stays the back end's",
                           "f32"}}}),
      .run = run,
      .text = text};
}

}  // namespace ospsim
