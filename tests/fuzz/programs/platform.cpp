#include "sim/hardware/platform.hpp"

#include "tests/fuzz/programs/fuzz.hpp"

using namespace ospsim;

// A user's platform file, read alone and as changes to a preset.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(text_of(data, size));
  for (const std::string& json :
       {text, R"({"like": "h200-fat-tree-4to1", "name": "mine", )" + text + "}"})
    only_input_errors([&] {
      const Platform platform = parse_platform(json, "mine");
      require(platform.node_devices() >= 1);
      require(platform.node_nics() <= platform.node_devices());
      for (const auto& [field, quantity] : quantities(platform)) require(!quantity.source.empty());
    });
  return 0;
}
