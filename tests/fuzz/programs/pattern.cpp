#include "kernels_ref/layout/pattern.hpp"

#include "kernels_ref/layout/layout.hpp"
#include "kernels_ref/layout/valid_lengths.hpp"
#include "tests/fuzz/programs/fuzz.hpp"

using namespace ospsim;

// "RATIO PATTERN", laid on a small grid whose sides depend on the first bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const Grid grid{1 + data[0] % 5, 1 + data[1] % 20, 1 + data[2] % 20};
  const std::string_view text = text_of(data + 3, size - 3);
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return 0;
  only_input_errors([&] {
    const Pattern pattern =
        parse_pattern(text.substr(space + 1), parse_ratio(text.substr(0, space)));
    for (const Phase phase : {Phase::token, Phase::group}) {
      const Layout layout(pattern, grid, phase);
      require(layout.subsequences() * layout.subsequence_length() == layout.padded_tokens());
      std::int64_t valid = 0;
      for (const auto& [length, subsequences] : valid_lengths(layout))
        valid += length * subsequences;
      require(valid == grid.tokens());
      for (std::int64_t token = 0; token < grid.tokens(); ++token)
        require(layout.token(layout.place(token)) == token);
    }
    if (pattern.name != "full") require(!pattern.spelled().empty());
  });
  return 0;
}
