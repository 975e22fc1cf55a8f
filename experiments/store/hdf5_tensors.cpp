#include <fmt/format.h>
#include <fmt/ranges.h>

#include "experiments/store/hdf5_file.hpp"
#include "experiments/store/tensor_contents.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

const char* described(Hdf5File::Kind kind) {
  switch (kind) {
    case Hdf5File::Kind::integer:
      return "integer";
    case Hdf5File::Kind::real:
      return "this floating-point type";
    case Hdf5File::Kind::text:
      return "text";
    default:
      return "a compound or other type";
  }
}

}  // namespace

TensorContents hdf5_contents(const std::string& path) {
  const auto file = std::make_shared<const Hdf5File>(Hdf5File::open(path));
  TensorContents contents;
  for (const auto& name : file->datasets()) {
    require_printable(path, name);
    const auto type = file->element_type(name);
    if (!type) {
      contents.skipped.push_back({name, not_readable(described(file->kind(name)))});
      continue;
    }
    TensorInfo info{name, type->name(), file->shape(name)};
    if (!bytes_of(info.shape, 8 * type->bytes()))
      throw InputError(fmt::format("{}: '{}' has the shape [{}], more than can be counted", path,
                                   name, fmt::join(info.shape, ", ")));
    contents.add(std::move(info), [file, name, type](std::int64_t first, std::span<float> values) {
      std::vector<std::byte> stored(values.size() * static_cast<std::size_t>(type->bytes()));
      file->read_stored(name, first, stored);
      widen(*type, stored.data(), values);
    });
  }
  return contents;
}

}  // namespace ospsim
