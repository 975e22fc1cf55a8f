#include <nlohmann/json.hpp>

#include "experiments/store/result_store.hpp"
#include "tests/fuzz/programs/damaged_file.hpp"
#include "tests/fuzz/programs/fuzz.hpp"

using namespace ospsim;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const DamagedFile file([](const std::string& path) {
    save_result({{"number", 1.5}, {"rows", {{{"x", 1}}, {{"x", 2}}}}},
                {{"seed", 1}, {"cpu", "any"}}, path);
  });
  only_input_errors([&] { load_result(file.damage(data, size)); });
  return 0;
}
