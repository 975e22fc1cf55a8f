#include "sim/parallel/trial.hpp"

#include <cmath>

#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/index.hpp"
#include "kernels_ref/random.hpp"

namespace ospsim {
namespace {

/// Arrays of made-up numbers: uniform, mean 0, standard deviation `deviation`; element `place` of
/// array `array` is the same wherever it is made.
class MadeUp {
 public:
  MadeUp(std::uint64_t seed, std::uint64_t array) : key_(random_bits(seed, array)) {}
  float operator()(std::int64_t place, double deviation = 1) const {
    const auto bits = random_bits(key_, static_cast<std::uint64_t>(place)) >> 11;
    return static_cast<float>((static_cast<double>(bits) * 0x1p-52 - 1) * std::sqrt(3.0) *
                              deviation);
  }
  std::vector<float> array(std::int64_t elements, double deviation) const {
    std::vector<float> values(index(elements));
    for (std::int64_t i = 0; i < elements; ++i) values[index(i)] = (*this)(i, deviation);
    return values;
  }

 private:
  std::uint64_t key_;
};

/// Everything a block needs but the hidden state.
struct MadeUpBlock {
  DitBlockWeights<float> weights;
  std::vector<float> text, modulation;

  MadeUpBlock(const Trial& trial, const DitBlockShape& shape, int block)
      : weights(zero_weights<float>(shape)) {
    std::uint64_t array = 1000 * static_cast<std::uint64_t>(block + 1);
    const double matrix = 1 / std::sqrt(static_cast<double>(shape.dim));
    const std::int64_t longest_vector = std::max(shape.dim, shape.ffn_dim);
    for_each_weight(weights, [&](std::vector<float>& values) {
      const auto elements = std::ssize(values);
      values =
          MadeUp(trial.seed, array++).array(elements, elements > longest_vector ? matrix : 0.3);
    });
    text = MadeUp(trial.seed, 1).array(shape.text_rows * shape.dim, 1);
    modulation = MadeUp(trial.seed, array).array(6 * shape.dim, 0.3);
  }
  ParallelModel::Conditioning conditioning() const { return {&weights, text, modulation}; }
};

/// Rows of the input; those of padding are zero, as they are in a model.
std::vector<float> input_rows(const Trial& trial, const RowNumbers& numbers,
                              std::span<const std::int64_t> rows) {
  const MadeUp input(trial.seed, 0);
  const std::int64_t dim = trial.sequence.dim();
  std::vector<float> x(rows.size() * index(dim));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto token = numbers.token(rows[i]);
    if (!token) continue;
    const std::int64_t first =
        (numbers.sample(rows[i]) * trial.sequence.grid.tokens() + *token) * dim;
    for (std::int64_t c = 0; c < dim; ++c) {
      const float value = input(first + c);
      x[i * index(dim) + index(c)] = trial.bytes_per_element == 2 ? round_to_bf16(value) : value;
    }
  }
  return x;
}

}  // namespace

std::vector<float> run_trial(const Trial& trial, const ParallelPlan& plan,
                             Communicator& communicator, int threads) {
  ParallelModel model(plan, communicator, {trial.bytes_per_element}, threads);
  const bool payload = communicator.carries_payload();
  std::vector<float> x;
  if (payload) x = input_rows(trial, plan.numbers, model.shard(trial.schedule.front()).rows);
  for (int block = 0; block + 1 < std::ssize(trial.schedule); ++block) {
    const BlockKind before = trial.schedule[index(block)], kind = trial.schedule[index(block + 1)];
    x = model.hand_over(before, kind, block, x);
    if (payload) {
      const MadeUpBlock made(trial, plan.shape(0), block);
      x = model.forward(kind, block, made.conditioning(), x);
    } else {
      x = model.forward(kind, block, {}, x);
    }
    model.forget(block);
  }
  return x;
}

TrialExchanges::TrialExchanges(const Trial& trial, const ParallelPlan& plan,
                               Communicator& communicator)
    : schedule_(trial.schedule), model_(plan, communicator, {trial.bytes_per_element}, 1, false) {
  for (const BlockKind kind : schedule_)
    x_.emplace_back(communicator.carries_payload() ? index(model_.shard(kind).elements()) : 0,
                    1.0f);
}

void TrialExchanges::run() {
  for (std::size_t i = 0; i + 1 < schedule_.size(); ++i)
    model_.move(schedule_[i], schedule_[i + 1], static_cast<int>(i), x_[i], x_[i + 1]);
}

std::vector<float> one_rank_output(const Trial& trial, const RowNumbers& numbers, int threads) {
  std::vector<std::int64_t> rows;
  for (std::int64_t sample = 0; sample < trial.sequence.batch; ++sample)
    for (std::int64_t token = 0; token < trial.sequence.grid.tokens(); ++token)
      rows.push_back(numbers.row(sample, token));
  const DitBlockShape shape{std::ssize(rows), trial.text_rows, trial.sequence.dim(),
                            trial.sequence.heads, trial.ffn_dim};
  const auto positions = positions_of(numbers, rows);
  std::vector<float> x = input_rows(trial, numbers, rows), y(x.size());
  for (int block = 0; block + 1 < std::ssize(trial.schedule); ++block) {
    const MadeUpBlock made(trial, shape, block);
    const auto groups = attention_groups(numbers, trial.schedule[index(block + 1)], rows, rows);
    DitBlockActivations<float> activations;
    dit_block_forward<Backend::cpu>(shape, made.weights,
                                    {x, made.text, made.modulation, groups, positions}, y,
                                    activations, threads);
    std::swap(x, y);
  }
  return x;
}

}  // namespace ospsim
