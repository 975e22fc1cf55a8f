#include "kernels_ref/layout/digits.hpp"

#include <algorithm>

namespace ospsim {

AxisDigits axis_digits(const Layout& layout, int axis) {
  struct Flagged {
    std::int64_t stride, radix;
    bool names_subsequence;
  };
  std::vector<Flagged> found;
  for (int d = 0; d < layout.digit_count(); ++d)
    if (layout.digit(d).axis == axis)
      found.push_back(
          {layout.digit(d).stride, layout.digit(d).radix, d < layout.subsequence_digits()});
  std::sort(found.begin(), found.end(),
            [](const Flagged& a, const Flagged& b) { return a.stride < b.stride; });
  AxisDigits digits{.extent = layout.axis(axis).extent, .radix = {}, .names_subsequence = {}};
  for (const auto& digit : found) {
    digits.radix.push_back(digit.radix);
    digits.names_subsequence.push_back(digit.names_subsequence);
  }
  return digits;
}

std::vector<std::int64_t> AxisDigits::last_valid() const {
  std::vector<std::int64_t> digits;
  std::int64_t rest = extent - 1;
  for (const auto r : radix) {
    digits.push_back(rest % r);
    rest /= r;
  }
  return digits;
}

}  // namespace ospsim
