#include "experiments/store/attention_input.hpp"

#include <vector>

#include "tests/fuzz/programs/damaged_file.hpp"
#include "tests/fuzz/programs/fuzz.hpp"

using namespace ospsim;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::int64_t shape[] = {2, 4, 3};
  static const DamagedFile file([](const std::string& path) {
    Hdf5File sound = Hdf5File::create(path, path);
    const std::vector<float> values(24, 0.5f);
    for (const char* tensor : {"q", "k", "v"}) sound.write<float>(tensor, shape, values);
    sound.close();
  });
  only_input_errors([&] {
    const AttentionInput input(file.damage(data, size), Grid{1, 2, 2});
    if (input.head_dim() > 1000) return;
    std::vector<float> head(static_cast<std::size_t>(4 * input.head_dim()));
    for (const char* tensor : {"q", "k", "v"}) input.read<float>(tensor, 0, Precision::f32, head);
  });
  return 0;
}
