#include "analysis/mask.hpp"

#include "kernels_ref/layout/valid_lengths.hpp"
#include "tests/fuzz/programs/fuzz.hpp"

using namespace ospsim;

// A mask on a small grid whose sides depend on the first bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const Grid grid{1 + data[0] % 5, 1 + data[1] % 12, 1 + data[2] % 12};
  const std::string_view text = text_of(data + 3, size - 3);
  only_input_errors([&] {
    const Mask mask = parse_mask(text, grid);
    for (std::int64_t token = 0; token < grid.tokens(); ++token)
      require(mask.attends(token, token));
    const auto tokens = static_cast<Count>(grid.tokens());
    require(attended_pairs(mask) >= tokens && attended_pairs(mask) <= tokens * tokens);
  });
  return 0;
}
