#include "experiments/store/tensor_contents.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels_ref/errors.hpp"

namespace ospsim {

std::int64_t TensorInfo::elements() const {
  std::int64_t product = 1;
  for (const auto extent : shape) product *= extent;
  return product;
}

void TensorContents::add(TensorInfo info, Reader reader) {
  tensors.push_back(std::move(info));
  readers.push_back(std::move(reader));
}

void TensorContents::add(TensorInfo info, ElementType type, std::shared_ptr<const MappedFile> file,
                         std::size_t begin) {
  add(std::move(info),
      [type, file = std::move(file), begin](std::int64_t first, std::span<float> values) {
        const auto at = begin + static_cast<std::size_t>(first * type.bytes());
        const auto size = values.size() * static_cast<std::size_t>(type.bytes());
        if (size == 0) return;
        widen(type, file->bytes().data() + at, values);
        file->release(at, size);
      });
}

std::optional<std::int64_t> bytes_of(std::span<const std::int64_t> shape,
                                     std::int64_t bits_per_element) {
  std::int64_t bits = bits_per_element;
  for (const auto extent : shape)
    if (extent < 0 || __builtin_mul_overflow(bits, extent, &bits)) return std::nullopt;
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

void require_printable(const std::string& path, std::string_view text) {
  if (std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    throw InputError(fmt::format("{}: a name in it has control characters", path));
}

}  // namespace ospsim
