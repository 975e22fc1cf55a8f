#include "experiments/store/tensor_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string_view>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

bool starts_with(std::span<const std::byte> bytes, std::string_view signature) {
  return bytes.size() >= signature.size() &&
         std::memcmp(bytes.data(), signature.data(), signature.size()) == 0;
}

TensorContents contents_of(const std::string& path) {
  const auto extension = std::filesystem::path(path).extension();
  if (extension == ".npy") return npy_contents(path);
  if (extension == ".safetensors") return safetensors_contents(path);
  if (extension == ".json") return safetensors_index_contents(path);
  if (extension == ".h5" || extension == ".hdf5") return hdf5_contents(path);
  const MappedFile file(path);
  const auto bytes = file.bytes();
  if (starts_with(bytes, "\x93NUMPY")) return npy_contents(path);
  if (starts_with(bytes, "\x89HDF\r\n\x1a\n")) return hdf5_contents(path);
  if (bytes.size() > 8 && bytes[8] == std::byte{'{'}) return safetensors_contents(path);
  throw InputError(
      fmt::format("{}: is none of .npy, .safetensors, .safetensors.index.json and HDF5", path));
}

}  // namespace

TensorFile::TensorFile(std::string path, TensorContents contents)
    : path_(std::move(path)), contents_(std::move(contents)) {}

TensorFile TensorFile::open(const std::string& path) {
  TensorFile file(path, contents_of(path));
  if (!file.tensors().empty()) return file;
  const auto& skipped = file.skipped();
  throw InputError(fmt::format(
      "{}: has no floating-point tensor{}", path,
      skipped.empty() ? "" : fmt::format(" ('{}': {})", skipped[0].name, skipped[0].reason)));
}

std::size_t TensorFile::index_of(const std::string& name) const {
  const auto found = std::ranges::find(tensors(), name, &TensorInfo::name);
  if (found != tensors().end()) return static_cast<std::size_t>(found - tensors().begin());
  const auto skip = std::ranges::find(skipped(), name, &SkippedTensor::name);
  if (skip != skipped().end())
    throw InputError(fmt::format("{}: '{}' cannot be read: {}", path_, name, skip->reason));
  constexpr std::size_t shown = 4;
  std::string names;
  for (std::size_t i = 0; i < std::min(shown, tensors().size()); ++i)
    names += fmt::format("{}'{}'", i == 0 ? "" : ", ", tensors()[i].name);
  if (tensors().size() > shown) names += fmt::format(" and {} more", tensors().size() - shown);
  throw InputError(fmt::format("{}: has no tensor '{}'; it has {}", path_, name, names));
}

void TensorFile::read(std::size_t i, std::int64_t first, std::span<float> values) const {
  const std::int64_t elements = tensors().at(i).elements();
  if (first < 0 || first > elements ||
      values.size() > static_cast<std::uint64_t>(elements) - static_cast<std::uint64_t>(first))
    throw std::out_of_range("elements beyond the end of a tensor");
  contents_.readers[i](first, values);
}

TensorArgument parse_tensor_argument(const std::string& text) {
  for (auto end = text.size(); end != std::string::npos && end > 0;
       end = text.rfind(':', end - 1)) {
    std::error_code ignored;
    const std::string path = text.substr(0, end);
    if (!std::filesystem::is_regular_file(path, ignored)) continue;
    if (end == text.size()) return {path, std::nullopt};
    return {path, text.substr(end + 1)};
  }
  return {text, std::nullopt};
}

}  // namespace ospsim
