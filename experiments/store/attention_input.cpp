#include "experiments/store/attention_input.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "kernels_ref/errors.hpp"
#include "kernels_ref/formats/wide_float.hpp"
#include "kernels_ref/names.hpp"

namespace ospsim {

Precision parse_precision(const std::string& text) {
  constexpr Named<Precision> names[]{{"f32", Precision::f32}, {"bf16", Precision::bf16}};
  return parse_name(names, "precision", text);
}

AttentionInput::AttentionInput(const std::string& path, const Grid& grid)
    : path_(path), file_(Hdf5File::open(path)) {
  for (const char* tensor : {"q", "k", "v"}) {
    if (file_.kind(tensor) != Hdf5File::Kind::real)
      throw InputError(fmt::format("{}: '{}' holds no floating-point numbers", path, tensor));
    const auto shape = file_.shape(tensor);
    if (shape.size() != 3 || shape[0] < 1 || shape[1] != grid.tokens() || shape[2] < 1)
      throw InputError(
          fmt::format("{}: '{}' has the shape [{}]; grid {} needs [heads, {}, head_dim]", path,
                      tensor, fmt::join(shape, ", "), to_string(grid), grid.tokens()));
    if (tensor[0] == 'q') {
      heads_ = shape[0];
      head_dim_ = shape[2];
    } else if (shape[0] != heads_ || shape[2] != head_dim_) {
      throw InputError(
          fmt::format("{}: '{}' has the shape [{}], but 'q' has {} heads of {} channels", path,
                      tensor, fmt::join(shape, ", "), heads_, head_dim_));
    }
  }
}

template <class T>
void AttentionInput::read(const std::string& tensor, std::int64_t head, Precision precision,
                          std::span<T> into) const {
  file_.read_rows<T>(tensor, head, 1, into);
  for (std::size_t i = 0; i < into.size(); ++i) {
    const T stored = into[i];
    if (precision == Precision::bf16)
      into[i] = static_cast<T>(round_to_bf16(static_cast<float>(stored)));
    if (std::isfinite(into[i])) continue;
    const auto element = static_cast<std::int64_t>(i);
    throw InputError(fmt::format("{}: {}[{}, {}, {}] is {}; only finite numbers can be attended to",
                                 path_, tensor, head, element / head_dim_, element % head_dim_,
                                 stored));
  }
}

template void AttentionInput::read<float>(const std::string&, std::int64_t, Precision,
                                          std::span<float>) const;
template void AttentionInput::read<double>(const std::string&, std::int64_t, Precision,
                                           std::span<double>) const;

}  // namespace ospsim
