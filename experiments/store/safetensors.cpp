#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>
#include <utility>

#include "experiments/store/strict_json.hpp"
#include "experiments/store/tensor_contents.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

constexpr std::uint64_t max_header = 100'000'000;

struct Dtype {
  std::string_view name;
  int bits;
  std::optional<ElementType> type;
};
constexpr Dtype dtypes[] = {
    {"F64", 64, ElementType{ElementType::Format::f64}},
    {"F32", 32, ElementType{ElementType::Format::f32}},
    {"F16", 16, ElementType{ElementType::Format::f16}},
    {"BF16", 16, ElementType{ElementType::Format::bf16}},
    {"F8_E4M3", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"F4", 4, {}},
    {"C64", 64, {}},
    {"I64", 64, {}},
    {"U64", 64, {}},
    {"I32", 32, {}},
    {"U32", 32, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"I8", 8, {}},
    {"U8", 8, {}},
    {"BOOL", 8, {}},
};

struct Entry {
  std::string name, dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin, end;
  auto place() const { return std::tie(begin, end, name); }
};

Entry parse_entry(const std::string& path, const std::string& name, const nlohmann::json& value) {
  const auto is_text = [&](const char* key) {
    return value.contains(key) && value[key].is_string();
  };
  // Counts that 63 bits hold; larger ones are no sizes of files.
  const auto counts = [&](const char* key) -> std::optional<std::vector<std::int64_t>> {
    if (!value.contains(key) || !value[key].is_array()) return std::nullopt;
    std::vector<std::int64_t> numbers;
    for (const auto& number : value[key]) {
      if (!number.is_number_unsigned() || !std::in_range<std::int64_t>(number.get<std::uint64_t>()))
        return std::nullopt;
      numbers.push_back(number.get<std::int64_t>());
    }
    return numbers;
  };
  const auto shape = counts("shape"), offsets = counts("data_offsets");
  if (!is_text("dtype") || !shape || !offsets || offsets->size() != 2)
    throw InputError(fmt::format(
        "{}: '{}' is not described by a dtype, a shape and two data_offsets", path, name));
  Entry entry{name, value["dtype"], *shape, static_cast<std::uint64_t>(offsets->at(0)),
              static_cast<std::uint64_t>(offsets->at(1))};
  require_printable(path, entry.dtype);
  if (entry.begin > entry.end)
    throw InputError(fmt::format("{}: '{}' ends at byte {}, before it begins at {}", path, name,
                                 entry.end, entry.begin));
  return entry;
}

/// The entries of the header in the order of their data, which they must cover without overlap.
std::vector<Entry> parse_header(const std::string& path, std::string_view header,
                                std::uint64_t data_size) {
  const auto json = parse_strictly(header, path, "its header", 3);
  std::vector<Entry> entries;
  for (const auto& [name, value] : json.items()) {
    if (name != "__metadata__") {
      entries.push_back(parse_entry(path, name, value));
      continue;
    }
    if (!value.is_object() ||
        !std::ranges::all_of(value, [](const auto& text) { return text.is_string(); }))
      throw InputError(fmt::format("{}: its __metadata__ is not an object of texts", path));
  }
  std::ranges::sort(entries, {}, &Entry::place);
  std::uint64_t covered = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    if (entry.begin < covered)
      throw InputError(
          fmt::format("{}: '{}' overlaps '{}'", path, entry.name, entries[i - 1].name));
    if (entry.begin > covered)
      throw InputError(fmt::format("{}: bytes {} to {} of its data belong to no tensor", path,
                                   covered, entry.begin));
    covered = entry.end;
    if (covered > data_size)
      throw InputError(fmt::format("{}: '{}' ends at byte {} of the data, but the file holds {}",
                                   path, entry.name, covered, data_size));
  }
  if (covered < data_size)
    throw InputError(fmt::format("{}: bytes {} to {} of its data belong to no tensor", path,
                                 covered, data_size));
  return entries;
}

}  // namespace

TensorContents safetensors_contents(const std::string& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()),
                               file->bytes().size());
  if (bytes.size() < 8)
    throw InputError(fmt::format("{}: is not a .safetensors file: shorter than 8 bytes", path));
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  if (length > max_header)
    throw InputError(fmt::format("{}: claims a header of {} bytes; the format allows {}", path,
                                 length, max_header));
  if (length > bytes.size() - 8)
    throw InputError(fmt::format("{}: claims a header of {} bytes, but {} follow", path, length,
                                 bytes.size() - 8));
  const std::string_view header = bytes.substr(8, length);
  if (!header.starts_with('{'))
    throw InputError(fmt::format("{}: its header does not begin with '{{'", path));

  const std::size_t data = 8 + length;
  TensorContents contents;
  for (const Entry& entry : parse_header(path, header, bytes.size() - data)) {
    const auto dtype = std::ranges::find(dtypes, entry.dtype, &Dtype::name);
    if (dtype != std::end(dtypes)) {
      const auto needed = bytes_of(entry.shape, dtype->bits);
      if (!needed || static_cast<std::uint64_t>(*needed) != entry.end - entry.begin)
        throw InputError(fmt::format("{}: '{}' has {} bytes, which is not [{}] of {}", path,
                                     entry.name, entry.end - entry.begin,
                                     fmt::join(entry.shape, ", "), entry.dtype));
    }
    if (dtype == std::end(dtypes) || !dtype->type)
      contents.skipped.push_back({entry.name, not_readable(entry.dtype)});
    else
      contents.add({entry.name, entry.dtype, entry.shape}, *dtype->type, file, data + entry.begin);
  }
  return contents;
}

}  // namespace ospsim
