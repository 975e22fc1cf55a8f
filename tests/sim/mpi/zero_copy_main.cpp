#include <fmt/format.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/parallel/mpi/mpi_communicator.hpp"
#include "sim/parallel/mpi/zero_copy_switch.hpp"
#include "sim/parallel/parallel_model.hpp"

/// A job that switches phases with packing and through MPI datatypes and compares:
///   zero_copy [PATTERN RATIO GRID BATCH exists|none]...
/// `none`: the sub-sequences of a rank are no choice of digits, so that only packing works.
namespace ospsim {
namespace {

constexpr std::int64_t channels = 6;

/// Which row and channel a number came from, exact in float32.
std::vector<float> named_elements(const Shard& shard) {
  std::vector<float> values;
  for (const std::int64_t row : shard.rows)
    for (std::int64_t c = 0; c < channels; ++c)
      values.push_back(static_cast<float>(row * channels + c));
  return values;
}

void require_same(const Sequence& sequence, bool exists, Communicator& communicator) {
  const ParallelPlan plan(
      make_parallelism(Strategy::ssp, communicator.size(), {}, {}, Boundary::all_gather, sequence),
      sequence, 4, 1);
  ParallelModel model(plan, communicator, {4}, 1);
  for (const auto& [from, to] :
       {std::pair{Phase::token, Phase::group}, {Phase::group, Phase::token}}) {
    const auto kind_of = [](Phase phase) {
      return phase == Phase::token ? BlockKind::token : BlockKind::group;
    };
    const auto x = named_elements(model.shard(kind_of(from)));
    const auto packed = model.hand_over(kind_of(from), kind_of(to), 0, x);
    if (packed != named_elements(model.shard(kind_of(to))))
      throw std::runtime_error("the packed switch brings other rows than the plan names");
    const auto direct = ZeroCopySwitch::make(sequence, from, to, MPI_COMM_WORLD);
    if (direct.has_value() != exists)
      throw std::runtime_error(direct ? "there is a switch without packing"
                                      : "there is no switch without packing");
    if (!direct) continue;
    std::vector<float> y(packed.size(), -1);
    for (int again = 0; again < 2; ++again) direct->run(x, y);
    if (y != packed) throw std::runtime_error("the two switches differ");
  }
}

}  // namespace
}  // namespace ospsim

int main(int argc, char** argv) {
  using namespace ospsim;
  return run_as_rank(argc, argv, "zero_copy", [&] {
    const MpiSettings settings;
    MpiCommunicator communicator(settings);
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.size() % 5 != 0) throw std::runtime_error("five words a case are needed");
    for (std::size_t i = 0; i < words.size(); i += 5) try {
        const Sequence sequence{.grid = parse_grid(words[i + 2]),
                                .pattern = parse_pattern(words[i], parse_ratio(words[i + 1])),
                                .batch = std::stoll(words[i + 3]),
                                .heads = 2,
                                .head_dim = channels / 2};
        require_same(sequence, words[i + 4] == "exists", communicator);
      } catch (const std::exception& error) {
        throw std::runtime_error(fmt::format("{} ratio {} on {}, batch {}: {}", words[i],
                                             words[i + 1], words[i + 2], words[i + 3],
                                             error.what()));
      }
    if (communicator.rank() == 0) fmt::print("{} cases\n", words.size() / 5);
  });
}
