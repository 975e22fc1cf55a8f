#include <numeric>

#include "experiments/device/measure.cuh"
#include "kernels_ref/attention/inplace.hpp"
#include "kernels_ref/attention/plain_kernel.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"

/// Attention of heads of 128 channels, in bf16: by cuDNN, on sequences as they lie after a
/// rearrangement and with that rearrangement; and by our own kernels.
namespace ospsim {
namespace {

constexpr std::int64_t head_dim = RecordSizes::head_dim;

/// q, k, v and o of one size, k and v of `key_rows`.
struct Tensors {
  DeviceBuffer<Bfloat16> q, k, v, o;
  Tensors(CudaExecutor& on, std::int64_t rows, std::int64_t key_rows, std::int64_t dim)
      : q(normal_array(on, rows * dim, 1)),
        k(normal_array(on, key_rows * dim, 2)),
        v(normal_array(on, key_rows * dim, 3)),
        o(on.array<Bfloat16>(rows * dim)) {}
};

/// The first `rows` rows of one head, in double precision.
std::vector<double> head_rows(CudaExecutor& on, const Bfloat16* x, std::int64_t row_stride,
                              std::int64_t head, std::int64_t rows) {
  on.wait();
  std::vector<Bfloat16> bits(index(rows * head_dim));
  check_cuda(cudaMemcpy2D(bits.data(), head_dim * 2, x + head * head_dim,
                          static_cast<std::size_t>(row_stride) * 2, head_dim * 2,
                          static_cast<std::size_t>(rows), cudaMemcpyDeviceToHost));
  std::vector<double> to(bits.size());
  for (std::size_t i = 0; i < bits.size(); ++i) to[i] = to_float(bits[i]);
  return to;
}

/// softmax(q k^T / sqrt(d)) v of each query with the roundings to bf16 that no kernel avoids:
/// weights before they meet v, and the result.
std::vector<double> plain_in_bf16(const std::vector<double>& q, const std::vector<double>& k,
                                  const std::vector<double>& v) {
  const std::size_t d = head_dim, keys = k.size() / d;
  std::vector<double> o(q.size()), p(keys);
  for (std::size_t i = 0; i < q.size() / d; ++i) {
    double largest = -INFINITY, sum = 0;
    for (std::size_t j = 0; j < keys; ++j) {
      double logit = 0;
      for (std::size_t c = 0; c < d; ++c) logit += q[i * d + c] * k[j * d + c];
      p[j] = logit / std::sqrt(static_cast<double>(d));
      largest = std::max(largest, p[j]);
    }
    for (auto& weight : p) {
      weight = std::exp(weight - largest);
      sum += weight;
      weight = round_to_bf16(static_cast<float>(weight));
    }
    for (std::size_t j = 0; j < keys; ++j)
      for (std::size_t c = 0; c < d; ++c) o[i * d + c] += p[j] * v[j * d + c];
    for (std::size_t c = 0; c < d; ++c)
      o[i * d + c] = round_to_bf16(static_cast<float>(o[i * d + c] / sum));
  }
  return o;
}

/// Some queries of one head of one sequence against the naive back end: rows of q and o are named,
/// keys are all rows of k and v.
Check check_queries(const std::vector<double>& q, const std::vector<double>& k,
                    const std::vector<double>& v, const std::vector<double>& o) {
  const auto view = [](auto& x) {
    return rows_first(x.data(), 1, std::ssize(x) / head_dim, head_dim);
  };
  std::vector<double> exact(q.size());
  attention_forward<Backend::naive>(
      group_of_all(std::ssize(q) / head_dim, std::ssize(k) / head_dim), view(q), view(k), view(v),
      view(exact), {});
  return check_of(
      "relative L2 of sampled queries against double precision, at most twice that of double "
      "precision with weights and result rounded to bf16",
      relative_l2(o, exact), 2 * relative_l2(plain_in_bf16(q, k, v), exact));
}

std::vector<double> chosen(const std::vector<double>& rows,
                           const std::vector<std::int64_t>& which) {
  std::vector<double> some;
  for (const auto row : which)
    some.insert(some.end(), rows.begin() + row * head_dim, rows.begin() + (row + 1) * head_dim);
  return some;
}

/// The last head of the last batch.
Check check_batched(CudaExecutor& on, const BatchedAttention& a, std::int64_t keys,
                    const Bfloat16* q, const Bfloat16* k, const Bfloat16* v, const Bfloat16* o) {
  const std::int64_t batch = a.batches - 1, head = a.heads - 1;
  const auto rows = [&](const Bfloat16* x, BatchStrides s, std::int64_t length) {
    return head_rows(on, x + batch * s.batch_stride, s.row_stride, head, length);
  };
  const auto some = some_of(a.query_length, 16);
  return check_queries(chosen(rows(q, a.q, a.query_length), some), rows(k, a.k, keys),
                       rows(v, a.v, keys), chosen(rows(o, a.o, a.query_length), some));
}

/// The last head of the last sub-sequence, of tensors in the order of the grid.
Check check_in_place(CudaExecutor& on, const Layout& layout, const Tensors& t, std::int64_t heads) {
  const auto tokens = layout.tokens_of(layout.subsequences() - 1);
  const auto head = [&](const DeviceBuffer<Bfloat16>& x) {
    return chosen(head_rows(on, x.data(), heads * head_dim, heads - 1, layout.grid().tokens()),
                  tokens);
  };
  const auto some = some_of(std::ssize(tokens), 16);
  return check_queries(chosen(head(t.q), some), head(t.k), head(t.v), chosen(head(t.o), some));
}

std::vector<AttentionGroup> groups_of(const BatchedAttention& a,
                                      const std::vector<std::int32_t>& lengths = {}) {
  std::vector<AttentionGroup> groups;
  for (std::int64_t batch = 0; batch < a.batches; ++batch) {
    const auto rows = [&](BatchStrides s, std::int64_t length) {
      std::vector<std::int64_t> named(index(lengths.empty() ? length : lengths[index(batch)]));
      std::iota(named.begin(), named.end(), batch * s.batch_stride / s.row_stride);
      return named;
    };
    groups.push_back({rows(a.q, a.query_length), rows(a.k, a.key_length)});
  }
  return groups;
}

/// Some queries of every group, its last one among them, in every head, against the plain kernel:
/// each head of each query by itself, so that a key that is left out or a wrong head shows.
Check check_every_head(CudaExecutor& on, std::vector<AttentionGroup> groups, const Tensors& t,
                       std::int64_t heads) {
  const std::int64_t dim = heads * head_dim;
  const auto rows = static_cast<std::int64_t>(t.q.size()) / dim,
             key_rows = static_cast<std::int64_t>(t.k.size()) / dim;
  for (auto& group : groups) {
    std::vector<std::int64_t> some{group.queries.back()};
    for (const auto i : some_of(std::ssize(group.queries) - 1, 16))
      some.push_back(group.queries[index(i)]);
    group.queries = some;
  }
  const KeyLists lists(groups);
  const auto queries = on.upload(std::span<const QueryKeys>(lists.queries));
  const auto keys = on.upload(std::span<const std::int32_t>(lists.keys));
  const auto expected = on.array<Bfloat16>(rows * dim);
  const auto view = [&](auto* x, std::int64_t of) { return rows_first(x, heads, of, head_dim); };
  on.launch(Work::self_attention,
            PlainAttention<Bfloat16>{.q = view(static_cast<const Bfloat16*>(t.q.data()), rows),
                                     .k = view(static_cast<const Bfloat16*>(t.k.data()), key_rows),
                                     .v = view(static_cast<const Bfloat16*>(t.v.data()), key_rows),
                                     .o = view(expected.data(), rows),
                                     .queries = queries.data(),
                                     .query_count = std::ssize(lists.queries),
                                     .keys = keys.data()});
  double worst = 0;
  for (const auto& query : lists.queries) {
    const auto exact = download_bf16(on, expected.data() + query.row * dim, dim),
               got = download_bf16(on, t.o.data() + query.row * dim, dim);
    for (std::int64_t head = 0; head < heads; ++head) {
      const auto part = [&](const std::vector<double>& x) {
        return std::vector(x.begin() + head * head_dim, x.begin() + (head + 1) * head_dim);
      };
      worst = larger(worst, relative_l2(part(got), part(exact)));
    }
  }
  return check_of(
      "largest relative L2 of a sampled query's head, in every head, against the plain kernel; "
      "three roundings to bf16",
      worst, 0x1p-7);
}

BatchedAttention sequences(std::int64_t batches, std::int64_t heads, std::int64_t length,
                           std::int64_t spacing) {
  const BatchStrides s{spacing * heads * head_dim, heads * head_dim};
  return {.batches = batches,
          .heads = heads,
          .head_dim = head_dim,
          .query_length = length,
          .key_length = length,
          .q = s,
          .k = s,
          .v = s,
          .o = s};
}

constexpr const char* formula = "4 pairs heads head_dim";

Count pairs(const BatchedAttention& a) {
  return static_cast<Count>(a.batches) * static_cast<Count>(a.query_length) *
         static_cast<Count>(a.key_length);
}

/// One call of cuDNN.
void bare(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes, const std::string& name,
          const BatchedAttention& a, std::int64_t key_rows) {
  const Tensors t(on, a.batches * a.query_length, key_rows, a.heads * head_dim);
  const auto start = [&] {
    on.attention(Work::self_attention, a, t.q.data(), t.k.data(), t.v.data(), t.o.data());
  };
  check_cuda(cudaMemsetAsync(t.o.data(), 0xff, t.o.size() * 2, on.stream()));
  const auto times_ms = measure_ms(on, sizes, start);
  const Check written = check_of(
      "elements not written",
      static_cast<double>(not_finite(on, t.o.data(), static_cast<std::int64_t>(t.o.size()))), 0);
  recorder.row({.name = name,
                .sizes = {{"batches", a.batches},
                          {"heads", a.heads},
                          {"queries", a.query_length},
                          {"keys", a.key_length}},
                .notes = {{"by", "cuDNN"}},
                .cost = a.cost(pairs(a)),
                .formula = formula,
                .times_ms = times_ms,
                .check = worst_of({written, check_every_head(on, groups_of(a), t, a.heads),
                                   check_batched(on, a, a.key_length, t.q.data(), t.k.data(),
                                                 t.v.data(), t.o.data())})});
}

/// A sparse block's attention where q, k, v and o stay in the order of the grid: rearranged,
/// called, rearranged back.
void rearranged(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes, const Grid& grid,
                Phase phase) {
  const Layout layout(parse_pattern("skiparse-2d", {2, 2, 2}), grid, phase);
  const RowOrder in_place =
                     row_order({parse_pattern("full", {}), grid, phase}, PaddingRows::left_out),
                 order = row_order(layout, PaddingRows::left_out);
  const std::int64_t rows = grid.tokens(), dim = sizes.heads * head_dim;
  const auto there = row_map(in_place, order), back = row_map(order, in_place);
  const auto there_map = on.upload(std::span<const std::int32_t>(there)),
             back_map = on.upload(std::span<const std::int32_t>(back));
  Tensors t(on, rows, rows, dim);
  const auto q = on.array<Bfloat16>(rows * dim), k = on.array<Bfloat16>(rows * dim),
             v = on.array<Bfloat16>(rows * dim);
  auto o = on.array<Bfloat16>(rows * dim);
  const auto move = [&](const Bfloat16* from, Bfloat16* to, const std::int32_t* map) {
    on.launch(Work::rearrange, GatherRows{reinterpret_cast<const unsigned char*>(from),
                                          reinterpret_cast<unsigned char*>(to), map, rows,
                                          static_cast<std::int32_t>(dim * 2)});
  };
  const auto attend = [&] {
    for (const auto& run : equal_runs(order)) {
      const std::int64_t at = order.first[index(run.first_subsequence)] * dim;
      on.attention(Work::self_attention,
                   sequences(run.subsequences, sizes.heads, run.length, run.spacing), q.data() + at,
                   k.data() + at, v.data() + at, o.data() + at);
    }
  };
  const auto start = [&] {
    move(t.q.data(), q.data(), there_map.data());
    move(t.k.data(), k.data(), there_map.data());
    move(t.v.data(), v.data(), there_map.data());
    attend();
    move(o.data(), t.o.data(), back_map.data());
  };
  poison(on, o);
  poison(on, t.o);
  const auto times_ms = measure_ms(on, sizes, start);
  const auto attention_ms = measure_ms(on, sizes, attend);

  const Check check =
      worst_of({check_of("elements not written",
                         static_cast<double>(not_finite(on, t.o.data(), rows * dim)), 0),
                check_every_head(on, groups_in_place(layout), t, sizes.heads),
                check_in_place(on, layout, t, sizes.heads)});
  const Cost cost =
      attention_forward_cost(attended_pairs(layout), sizes.heads, rows, rows, head_dim, 2);
  for (const bool whole : {true, false})
    recorder.row({.name = whole ? "sparse block's attention, rearranged"
                                : "sparse block's attention, already rearranged",
                  .sizes = {{"t", grid.t}, {"h", grid.h}, {"w", grid.w}, {"heads", sizes.heads}},
                  .notes = {{"pattern", "skiparse-2d, ratio 2"},
                            {"phase", std::string(to_string(phase))},
                            {"by", "cuDNN"}},
                  .cost = cost,
                  .formula = formula,
                  .times_ms = whole ? times_ms : attention_ms,
                  .check = check});
}

/// One call for sub-sequences with padding at their ends, which is told how long each is.
void with_lengths(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes,
                  const Grid& grid) {
  const RowOrder order =
      row_order({parse_pattern("skiparse-2d", {2, 2, 2}), grid, Phase::token}, PaddingRows::kept);
  const std::int64_t length = order.rows() / order.subsequences();
  const std::vector<std::int32_t> lengths(order.lengths.begin(), order.lengths.end());
  const auto lengths_there = on.upload(std::span<const std::int32_t>(lengths));
  BatchedAttention a = sequences(order.subsequences(), sizes.heads, length, length);
  a.query_lengths = a.key_lengths = lengths_there.data();
  const Tensors t(on, order.rows(), order.rows(), sizes.heads * head_dim);
  const auto times_ms = measure_ms(on, sizes, [&] {
    on.attention(Work::self_attention, a, t.q.data(), t.k.data(), t.v.data(), t.o.data());
  });
  Count pairs = 0;
  for (const auto valid : lengths) pairs += static_cast<Count>(valid) * static_cast<Count>(valid);
  BatchedAttention checked = a;
  checked.query_length = lengths.back();
  recorder.row({.name = "sub-sequences with padding, one call with lengths",
                .sizes = {{"t", grid.t}, {"h", grid.h}, {"w", grid.w}, {"heads", sizes.heads}},
                .notes = {{"pattern", "skiparse-2d, ratio 2"}, {"phase", "token"}, {"by", "cuDNN"}},
                .cost = a.cost(pairs),
                .formula = formula,
                .times_ms = times_ms,
                .check = worst_of({check_every_head(on, groups_of(a, lengths), t, sizes.heads),
                                   check_batched(on, checked, lengths.back(), t.q.data(),
                                                 t.k.data(), t.v.data(), t.o.data())})});
}

/// A version of our own kernel on tensors in the order of the grid.
void in_place(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes, int version,
              const Layout& layout, const std::string& pattern, Phase phase) {
  const Grid& grid = layout.grid();
  const std::int64_t rows = grid.tokens(), dim = sizes.heads * head_dim;
  Tensors t(on, rows, rows, dim);
  attempt(on, recorder, "attention in place", [&] {
    InPlaceAttention attention(layout, sizes.heads, {.version = version});
    attention.prepare({t.q.data(), t.k.data(), t.v.data(), t.o.data(), nullptr, dim});
    poison(on, t.o);
    const auto times_ms = measure_ms(on, sizes, [&] { attention.execute(on.stream()); });
    const Check written = check_of("elements not written",
                                   static_cast<double>(not_finite(on, t.o.data(), rows * dim)), 0);
    recorder.row(
        {.name = "attention in place",
         .sizes = {{"t", grid.t}, {"h", grid.h}, {"w", grid.w}, {"heads", sizes.heads}},
         .notes = {{"pattern", pattern},
                   {"phase", std::string(to_string(phase))},
                   {"by", "ospsim, version " + std::to_string(version)}},
         .cost = attention.cost(),
         .formula = formula,
         .times_ms = times_ms,
         .check = worst_of({written, check_every_head(on, groups_in_place(layout), t, sizes.heads),
                            check_in_place(on, layout, t, sizes.heads)})});
  });
}

void in_place(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes, int version) {
  const auto time = [&](const char* pattern, const Grid& grid, Phase phase) {
    const Layout layout(parse_pattern(pattern, {2, 2, 2}), grid, phase);
    in_place(on, recorder, sizes, version, layout, pattern, phase);
  };
  for (const Grid& grid : {sizes.unpadded, sizes.padded})
    for (const Phase phase : {Phase::token, Phase::group}) time("skiparse-2d", grid, phase);
  time("full", sizes.unpadded, Phase::token);
}

/// The plain kernel, on one head.
void plain(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes, const Grid& grid) {
  const Layout layout(parse_pattern("skiparse-2d", {2, 2, 2}), grid, Phase::token);
  const std::int64_t rows = grid.tokens();
  Tensors t(on, rows, rows, head_dim);
  const KeyLists lists(groups_in_place(layout));
  const auto queries = on.upload(std::span<const QueryKeys>(lists.queries));
  const auto keys = on.upload(std::span<const std::int32_t>(lists.keys));
  const auto view = [&](auto* x) { return rows_first(x, 1, rows, head_dim); };
  const PlainAttention<Bfloat16> kernel{.q = view(static_cast<const Bfloat16*>(t.q.data())),
                                        .k = view(static_cast<const Bfloat16*>(t.k.data())),
                                        .v = view(static_cast<const Bfloat16*>(t.v.data())),
                                        .o = view(t.o.data()),
                                        .queries = queries.data(),
                                        .query_count = std::ssize(lists.queries),
                                        .keys = keys.data(),
                                        .pairs = static_cast<std::int64_t>(attended_pairs(layout))};
  poison(on, t.o);
  const auto times_ms = measure_ms(on, sizes, [&] { on.launch(Work::self_attention, kernel); });
  recorder.row(
      {.name = "attention in place, one head",
       .sizes = {{"t", grid.t}, {"h", grid.h}, {"w", grid.w}, {"heads", 1}},
       .notes = {{"pattern", "skiparse-2d"}, {"phase", "token"}, {"by", "ospsim, plain kernel"}},
       .cost = kernel.cost(),
       .formula = formula,
       .times_ms = times_ms,
       .check =
           worst_of({check_of("elements not written",
                              static_cast<double>(not_finite(on, t.o.data(), rows * head_dim)), 0),
                     check_in_place(on, layout, t, 1)})});
}

}  // namespace

void record_attention(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  const std::int64_t heads = sizes.heads, text_tokens = sizes.text_tokens;
  const auto time = [&](const std::string& name, const BatchedAttention& a, std::int64_t key_rows) {
    attempt(on, recorder, name, [&] { bare(on, recorder, sizes, name, a, key_rows); });
  };
  for (const Grid& grid : {sizes.padded, sizes.unpadded})
    for (const std::int64_t ranks : {1, 2, 4, 8})
      time("full attention", sequences(1, heads / ranks, grid.tokens(), grid.tokens()),
           grid.tokens());
  const std::int64_t length = sizes.unpadded.tokens() / 4;
  for (const auto& [ranks, batches, heads_here] :
       {std::array{1l, 4l, heads}, {2l, 2l, heads}, {4l, 1l, heads}, {8l, 1l, heads / 2}})
    time("sub-sequences, one of " + std::to_string(ranks),
         sequences(batches, heads_here, length, length), batches * length);

  for (const Grid& grid : {sizes.unpadded, sizes.padded})
    for (const Phase phase : {Phase::token, Phase::group})
      attempt(on, recorder, "rearranged attention",
              [&] { rearranged(on, recorder, sizes, grid, phase); });
  attempt(on, recorder, "attention with lengths",
          [&] { with_lengths(on, recorder, sizes, sizes.padded); });
  plain(on, recorder, sizes, sizes.unpadded);

  BatchedAttention text = sequences(1, heads, 4 * length, 4 * length);
  text.key_length = text_tokens;
  time("cross-attention, one text", text, text_tokens);
  text = sequences(4, heads, length, length);
  text.key_length = text_tokens;
  text.k.batch_stride = text.v.batch_stride = text_tokens * heads * head_dim;
  time("cross-attention, a text for every sub-sequence", text, 4 * text_tokens);
}

void record_in_place(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  for (const int version : {1, 2, 3}) in_place(on, recorder, sizes, version);
}
void record_in_place_pairs(CudaExecutor& on, Recorder& recorder, const RecordSizes& sizes) {
  in_place(on, recorder, sizes, 4);
}

}  // namespace ospsim
