#include "kernels_ref/layout/grid.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <vector>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

std::optional<std::vector<std::int64_t>> positive_numbers(std::string_view text,
                                                          std::size_t count) {
  std::vector<std::int64_t> numbers;
  while (numbers.size() < count) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value < 1 || value > max_tokens) return std::nullopt;
    numbers.push_back(value);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (numbers.size() == count) break;
    if (text.empty() || text.front() != 'x') return std::nullopt;
    text.remove_prefix(1);
  }
  if (!text.empty()) return std::nullopt;
  return numbers;
}

}  // namespace

Grid parse_grid(std::string_view text) {
  const auto extents = positive_numbers(text, 3);
  if (!extents)
    throw InputError(fmt::format(
        "grid '{}' is not TxHxW in tokens: three whole numbers of at least 1, such as 21x45x80",
        text));
  const Grid grid{(*extents)[0], (*extents)[1], (*extents)[2]};
  if (static_cast<long double>(grid.t) * static_cast<long double>(grid.h) *
          static_cast<long double>(grid.w) >
      static_cast<long double>(max_tokens))
    throw InputError(
        fmt::format("grid '{}' has more than 2^53 tokens, the most that is supported", text));
  return grid;
}

Grid grid_of_video(std::string_view resolution, std::int64_t frames) {
  std::vector<std::int64_t> pixels;
  if (resolution == "480p")
    pixels = {480, 832};
  else if (resolution == "720p")
    pixels = {720, 1280};
  else if (resolution == "768p")
    pixels = {768, 1280};
  else if (const auto numbers = positive_numbers(resolution, 2))
    pixels = *numbers;
  else
    throw InputError(fmt::format(
        "resolution '{}' is not 480p, 720p, 768p or HEIGHTxWIDTH in pixels", resolution));
  constexpr std::int64_t spatial_stride = 8 * 2;  // VAE times patch
  constexpr std::int64_t temporal_stride = 4;
  if (pixels[0] % spatial_stride != 0 || pixels[1] % spatial_stride != 0)
    throw InputError(
        fmt::format("resolution '{}' does not divide into tokens: height and width must be "
                    "multiples of {} pixels",
                    resolution, spatial_stride));
  if (frames < 1 || frames % temporal_stride != 1)
    throw InputError(fmt::format(
        "frames {} does not divide into tokens: the count must be 4n + 1, such as 81", frames));
  return parse_grid(fmt::format("{}x{}x{}", (frames - 1) / temporal_stride + 1,
                                pixels[0] / spatial_stride, pixels[1] / spatial_stride));
}

std::string to_string(const Grid& grid) {
  return fmt::format("{}x{}x{}", grid.t, grid.h, grid.w);
}

}  // namespace ospsim
