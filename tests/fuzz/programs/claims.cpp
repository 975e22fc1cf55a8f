#include "experiments/claims/claims.hpp"

#include "tests/fuzz/programs/fuzz.hpp"

using namespace ospsim;

namespace {

const std::string valid =
    R"({"claims": [{"id": "a.b", "source": "s", "statement": "t", "kind": "claim",
  "published": 80640, "unit": "tokens", "how": "exact", "tolerance": {"absolute": 0}, "neutral": 1,
  "comparison": "at least", "method": {"name": "padded_tokens", "grid": "21x45x80",
  "pattern": "skiparse-2d", "ratio": "2"}, "expected": "reproduced", "reason": "r"}]})";

}  // namespace

// The text itself, and a sound document with a part of it replaced by the text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  only_input_errors([&] { parse_claims(text_of(data, size)); });
  if (size < 4) return 0;
  const std::size_t from = (data[0] + 256u * data[1]) % valid.size(), length = data[2] % 64;
  std::string edited = valid;
  edited.replace(from, std::min<std::size_t>(length, valid.size() - from),
                 text_of(data + 3, size - 3));
  only_input_errors([&] {
    for (const auto& claim : parse_claims(edited)) require(!claim.id.empty());
  });
  return 0;
}
