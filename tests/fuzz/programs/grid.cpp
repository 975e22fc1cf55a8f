#include "kernels_ref/layout/grid.hpp"

#include "tests/fuzz/programs/fuzz.hpp"

using namespace ospsim;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = text_of(data, size);
  only_input_errors([&] {
    const Grid grid = parse_grid(text);
    require(grid.tokens() >= 1 && grid.tokens() <= max_tokens);
    require(parse_grid(to_string(grid)) == grid);
  });
  only_input_errors([&] { require(grid_of_video(text, 81).t == 21); });
  return 0;
}
