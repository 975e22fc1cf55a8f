#include "experiments/device/measure.cuh"
#include "kernels_ref/block/modulation.hpp"
#include "kernels_ref/block/norm.hpp"

/// Kernels that move data: rearrangement, packing, and what a block does between its products, at
/// the sizes of a 768P and a 720P video. Their floor is the copy bandwidth.
namespace ospsim {
namespace {

constexpr std::int64_t head_dim = RecordSizes::head_dim;
constexpr std::int64_t checked_rows = 24;

/// The rows of a tensor in double precision.
std::vector<double> rows_of(CudaExecutor& on, const Bfloat16* x, std::int64_t dim,
                            const std::vector<std::int64_t>& rows) {
  std::vector<double> all;
  for (const auto row : rows) {
    const auto one =
        row < 0 ? std::vector<double>(index(dim)) : download_bf16(on, x + row * dim, dim);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

/// Every element within one rounding to bf16 of the exact one, and what float32 adds.
Check check_rounded(const std::vector<double>& got, const std::vector<double>& exact) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    worst = larger(worst, std::abs(got[i] - exact[i]) / (std::abs(exact[i]) + 1e-2));
  return check_of(
      "largest error of sampled rows against double precision, relative to |x| + 0.01; "
      "one rounding to bf16 and 1 % of it",
      worst, 1.01 * half_ulp);
}

template <class Kernel>
Check check_everywhere(CudaExecutor& on, const Kernel& kernel) {
  return check_of(
      "largest error of all elements against a plain kernel in double precision, relative to |x| + "
      "0.01; one rounding to bf16 and 1 % of it",
      largest_error(on, kernel), 1.01 * half_ulp);
}

Layout layout(const char* pattern, const Grid& grid, Phase phase = Phase::token) {
  return {parse_pattern(pattern, {2, 2, 2}), grid, phase};
}

/// Rows of `bytes` gathered by a map; checked to the bit on a sample.
void gather(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes, const std::string& name,
            const std::vector<std::int32_t>& map, std::int64_t from_rows, std::int64_t row_bytes) {
  const std::int64_t width = row_bytes / 2, rows = std::ssize(map);
  const auto from = normal_array(on, from_rows * width, 1);
  auto to = on.array<Bfloat16>(rows * width);
  const auto source = on.upload(std::span<const std::int32_t>(map));
  const GatherRows kernel{reinterpret_cast<const unsigned char*>(from.data()),
                          reinterpret_cast<unsigned char*>(to.data()),
                          source.data(),
                          rows,
                          static_cast<std::int32_t>(row_bytes),
                          std::ranges::count_if(map, [](std::int32_t at) { return at < 0; })};
  poison(on, to);
  const auto times_ms = measure_ms(on, sizes, [&] { on.launch(Work::rearrange, kernel); });
  std::int64_t wrong = not_finite(on, to.data(), rows * width);
  for (const auto row : some_of(rows, 256)) {
    const auto got = download(on, to.data() + row * width, width);
    const std::int64_t at = map[index(row)];
    const auto expected = at < 0 ? std::vector<Bfloat16>(index(width))
                                 : download(on, from.data() + at * width, width);
    wrong += got != expected;
  }
  const Check everywhere =
      check_of("bytes that differ", differences(on, CompareGather{.made = kernel}), 0);
  recorder.row(
      {.name = name,
       .sizes = {{"rows", rows}, {"row_bytes", row_bytes}},
       .cost = kernel.cost(),
       .formula = "rows (2 row_bytes + 4) - padding row_bytes",
       .times_ms = times_ms,
       .check = worst_of({check_of("elements not written, and rows of 256 sampled that differ from "
                                   "the host's",
                                   static_cast<double>(wrong), 0),
                          everywhere})});
}

void record_gathers(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const std::int64_t dim = sizes.dim();
  const Grid p768 = sizes.unpadded, p720 = sizes.padded;
  const auto order = [&](const char* pattern, const Grid& grid, Phase phase, PaddingRows padding) {
    return row_order(layout(pattern, grid, phase), padding);
  };
  const auto rearrange = [&](const std::string& name, const RowOrder& from, const RowOrder& to) {
    gather(on, recorder, sizes, name, row_map(from, to), from.rows(), dim * 2);
  };
  const auto kept = PaddingRows::kept, left_out = PaddingRows::left_out;
  const RowOrder full = order("full", p768, Phase::token, kept);
  for (const auto* const pattern : {"skiparse-2d", "skiparse-1d", "skiparse-3d"}) {
    const RowOrder token = order(pattern, p768, Phase::token, kept),
                   group = order(pattern, p768, Phase::group, kept);
    rearrange(std::string(pattern) + ", 768P: full to token", full, token);
    rearrange(std::string(pattern) + ", 768P: token to group", token, group);
    rearrange(std::string(pattern) + ", 768P: group to full", group, full);
  }
  const RowOrder full_720 = order("full", p720, Phase::token, kept),
                 token_720 = order("skiparse-2d", p720, Phase::token, kept);
  rearrange("skiparse-2d, 720P: full to token, padding added", full_720, token_720);
  rearrange("skiparse-2d, 720P: token to full, padding removed", token_720, full_720);
  rearrange("skiparse-2d, 720P: full to token, padding left out", full_720,
            order("skiparse-2d", p720, Phase::token, left_out));
  // What a rank sends and receives: rows by destination, or pieces of rows by destination.
  for (const std::int64_t ranks : {2, 4, 8}) {
    const std::int64_t rows = p768.tokens() / ranks;
    const auto of = std::to_string(ranks) + " ranks";
    gather(on, recorder, sizes, "Ulysses pack, " + of, split_heads_map(rows, ranks), rows * ranks,
           dim * 2 / ranks);
    gather(on, recorder, sizes, "Ulysses unpack, " + of, merge_heads_map(rows, ranks), rows * ranks,
           dim * 2 / ranks);
  }
  // A sub-sequence of the other phase goes to one rank: a rank sends its rows in the order of that
  // phase, and what it receives comes source by source.
  const RowOrder token = order("skiparse-2d", p768, Phase::token, kept),
                 group = order("skiparse-2d", p768, Phase::group, kept);
  const auto shared_rows = [&](const RowOrder& in_order, const RowOrder& with) {
    std::vector<bool> held(index(p768.tokens()));
    for (const auto t : with.tokens) held[index(t)] = true;
    RowOrder rows{.tokens = {}, .lengths = {}, .first = {}};
    for (const auto t : in_order.tokens)
      if (held[index(t)]) rows.tokens.push_back(t);
    return rows;
  };
  for (const std::int64_t ranks : {2, 4}) {
    const auto of = std::to_string(ranks) + " ranks";
    const std::int64_t held = 4 / ranks;
    const RowOrder sent = part_of(token, 0, held), received = part_of(group, 0, held);
    RowOrder by_source{.tokens = {}, .lengths = {}, .first = {}};
    for (std::int64_t source = 0; source < ranks; ++source) {
      const auto rows = shared_rows(received, part_of(token, source * held, held)).tokens;
      by_source.tokens.insert(by_source.tokens.end(), rows.begin(), rows.end());
    }
    gather(on, recorder, sizes, "SSP pack, " + of, row_map(sent, shared_rows(group, sent)),
           sent.rows(), dim * 2);
    gather(on, recorder, sizes, "SSP unpack, " + of, row_map(by_source, received), received.rows(),
           dim * 2);
  }
}

void record_norms(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const std::int64_t dim = sizes.dim();
  const Grid grid = sizes.unpadded;
  const std::int64_t rows = grid.tokens();
  const RowOrder token = row_order(layout("skiparse-2d", grid), PaddingRows::kept),
                 group = row_order(layout("skiparse-2d", grid, Phase::group), PaddingRows::kept);
  const auto map = row_map(token, group);
  const auto source = on.upload(std::span<const std::int32_t>(map));
  const auto x = normal_array(on, rows * dim, 1), residual = normal_array(on, rows * dim, 2);
  auto sum = on.array<Bfloat16>(rows * dim), normed = on.array<Bfloat16>(rows * dim);
  std::vector<float> vectors(3 * index(dim));
  for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i] = 0.3f * FillNormal::number(9, i);
  const auto vectors_there = on.upload(std::span<const float>(vectors));
  const std::vector<double> all(vectors.begin(), vectors.end());
  const auto part = [&](std::int64_t i) {
    return std::span<const double>(all).subspan(index(i * dim), index(dim));
  };

  const ResidualNorm everything{.rows = rows,
                                .dim = static_cast<std::int32_t>(dim),
                                .x = x.data(),
                                .residual = residual.data(),
                                .gate = vectors_there.data(),
                                .source = source.data(),
                                .sum = sum.data(),
                                .normed = normed.data(),
                                .scale = vectors_there.data() + dim,
                                .shift = vectors_there.data() + 2 * dim};
  ResidualNorm in_order = everything, norm_only = everything, residual_only = everything;
  in_order.source = nullptr;
  norm_only.source = nullptr;
  norm_only.residual = nullptr;
  norm_only.sum = nullptr;
  residual_only.source = nullptr;
  residual_only.normed = nullptr;
  for (const auto& [name, kernel] :
       {std::pair("residual, rearrange, norm, modulate", everything),
        std::pair("residual, norm, modulate", in_order), std::pair("norm, modulate", norm_only),
        std::pair("residual", residual_only)}) {
    poison(on, sum);
    poison(on, normed);
    const auto times_ms = measure_ms(on, sizes, [&] { on.launch(Work::norm, kernel); });

    const auto sampled = some_of(rows, checked_rows);
    std::vector<std::int64_t> from = sampled;
    if (kernel.source != nullptr)
      for (auto& row : from) row = map[index(row)];
    const RowsShape shape{checked_rows, dim};
    auto exact_sum = rows_of(on, x.data(), dim, from);
    if (kernel.residual != nullptr)
      gated_residual_forward<Backend::naive>(shape, std::vector(exact_sum),
                                             rows_of(on, residual.data(), dim, from), part(0),
                                             exact_sum);
    std::vector<Check> checks{check_everywhere(on, CompareNorm{.made = kernel})};
    auto rounded_sum = exact_sum;
    if (kernel.sum != nullptr) {
      rounded_sum = rows_of(on, sum.data(), dim, sampled);
      checks.push_back(check_rounded(rounded_sum, exact_sum));
      checks.push_back(check_of("elements not written",
                                static_cast<double>(not_finite(on, sum.data(), rows * dim)), 0));
    }
    if (kernel.normed != nullptr) {
      std::vector<double> exact(exact_sum.size());
      layer_norm_forward<Backend::naive>(shape, rounded_sum, {}, {}, dit_epsilon, exact);
      modulate_forward<Backend::naive>(shape, std::vector(exact), part(1), part(2), exact);
      checks.push_back(check_of("elements not written",
                                static_cast<double>(not_finite(on, normed.data(), rows * dim)), 0));
      checks.push_back(check_rounded(rows_of(on, normed.data(), dim, sampled), exact));
    }
    recorder.row({.name = name,
                  .sizes = {{"rows", rows}, {"dim", dim}},
                  .cost = kernel.cost(),
                  .formula = "2 rows dim tensors read and written (+ 4 rows where rearranged)",
                  .times_ms = times_ms,
                  .check = worst_of(checks)});
  }
}

void record_rope(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const std::int64_t dim = sizes.dim();
  const Grid grid = sizes.unpadded;
  const std::int64_t rows = grid.tokens();
  const RowOrder order = row_order(layout("full", grid), PaddingRows::kept);
  const RopeTables tables = rope_tables(grid, head_dim);
  const auto positions = device_positions(order, grid);
  const auto positions_there = on.upload(std::span<const DevicePosition>(positions));
  std::vector<float> weight(index(dim));
  for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = 1 + 0.1f * FillNormal::number(9, i);
  const auto weight_there = on.upload(std::span<const float>(weight));
  std::deque<DeviceBuffer<Turn>> turns;
  for (const auto& axis : tables.turns) turns.push_back(on.upload(std::span<const Turn>(axis)));
  for (const bool rope : {true, false}) {
    const auto original = normal_array(on, rows * dim, 1);
    auto x = normal_array(on, rows * dim, 1);
    RmsNormRope kernel{.rows = rows,
                       .dim = static_cast<std::int32_t>(dim),
                       .head_dim = head_dim,
                       .x = x.data(),
                       .weight = weight_there.data(),
                       .positions = rope ? positions_there.data() : nullptr};
    for (std::size_t a = 0; a < 3; ++a) kernel.axes[a] = {turns[a].data(), tables.pairs[a]};
    on.launch(Work::norm, kernel);
    const auto sampled = some_of(rows, checked_rows);
    std::vector<TokenPosition> sampled_positions;
    const auto in_place = positions_in_place(grid);
    for (const auto row : sampled) sampled_positions.push_back(in_place[index(row)]);
    std::vector<double> exact(index(checked_rows * dim));
    rms_norm_forward<Backend::naive>(
        {checked_rows, dim}, rows_of(on, original.data(), dim, sampled),
        std::vector<double>(weight.begin(), weight.end()), dit_epsilon, exact);
    if (rope)
      rope_3d_forward<Backend::naive>({sizes.heads, head_dim}, sampled_positions,
                                      std::vector(exact), exact);
    const Check check =
        worst_of({check_everywhere(on, CompareRope{.made = kernel, .original = original.data()}),
                  check_rounded(rows_of(on, x.data(), dim, sampled), exact)});
    // Again and again on what it made: the norm keeps numbers where they are.
    const auto times_ms = measure_ms(on, sizes, [&] { on.launch(Work::norm, kernel); });
    recorder.row({.name = rope ? "RMS norm, 3-D RoPE" : "RMS norm",
                  .sizes = {{"rows", rows}, {"dim", dim}},
                  .cost = kernel.cost(),
                  .formula = "4 rows dim (+ 8 rows of positions)",
                  .times_ms = times_ms,
                  .check = check});
  }
}

}  // namespace

void record_memory(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  record_gathers(on, recorder, sizes);
  record_norms(on, recorder, sizes);
  record_rope(on, recorder, sizes);
}

}  // namespace ospsim
