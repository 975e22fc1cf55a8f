#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <string_view>

#include "experiments/store/tensor_contents.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
};

/// The part of Python's literals that numpy writes, like
/// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
 public:
  HeaderParser(const std::string& path, std::string_view text) : path_(path), rest_(text) {}

  Header parse() {
    Header header;
    expect("{");
    while (!accept("}")) {
      const std::string key = text();
      expect(":");
      if (key == "descr" && !header.descr)
        header.descr = type();
      else if (key == "fortran_order" && !header.fortran_order)
        header.fortran_order = truth();
      else if (key == "shape" && !header.shape)
        header.shape = shape();
      else
        fail();
      if (accept(",")) continue;
      expect("}");
      break;
    }
    skip_spaces();
    if (!rest_.empty() || !header.descr || !header.fortran_order || !header.shape) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const {
    throw InputError(fmt::format(
        "{}: its header is not a dictionary of 'descr', 'fortran_order' and 'shape'", path_));
  }
  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size()));
  }
  bool accept(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail();
  }

  std::string text() {
    skip_spaces();
    if (!rest_.starts_with('\'') && !rest_.starts_with('"')) fail();
    const std::size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) fail();
    const std::string inside(rest_.substr(1, end - 1));
    require_printable(path_, inside);
    rest_.remove_prefix(end + 1);
    return inside;
  }
  std::string type() {
    skip_spaces();
    if (rest_.starts_with('[') || rest_.starts_with('('))
      throw InputError(fmt::format("{}: its elements are records, not numbers", path_));
    return text();
  }
  bool truth() {
    if (accept("True")) return true;
    expect("False");
    return false;
  }
  std::int64_t extent() {
    skip_spaces();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc{} || value < 0) fail();
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    if (rest_.starts_with('L')) rest_.remove_prefix(1);  // as Python 2 wrote it
    return value;
  }
  std::vector<std::int64_t> shape() {
    std::vector<std::int64_t> extents;
    expect("(");
    while (!accept(")")) {
      extents.push_back(extent());
      if (accept(",")) continue;
      if (extents.size() == 1) fail();  // (3) is a number, (3,) a tuple
      expect(")");
      break;
    }
    return extents;
  }

  const std::string& path_;
  std::string_view rest_;
};

std::optional<ElementType> type_of(std::string_view descr) {
  using enum ElementType::Format;
  // numpy writes <V2 for ml_dtypes.bfloat16 and |V2 for two bytes of unknown meaning.
  if (descr == "<V2" || descr == "bfloat16") return ElementType{bf16};
  const bool big_endian = descr.starts_with('>');
  if (descr.find_first_of("<>=|") == 0) descr.remove_prefix(1);
  if (descr == "f8") return ElementType{f64, big_endian};
  if (descr == "f4") return ElementType{f32, big_endian};
  if (descr == "f2") return ElementType{f16, big_endian};
  return std::nullopt;
}

}  // namespace

TensorContents npy_contents(const std::string& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()),
                               file->bytes().size());
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  constexpr std::string_view magic = "\x93NUMPY";
  if (!bytes.starts_with(magic)) throw InputError(fmt::format("{}: is not a .npy file", path));

  const auto truncated = [&] { return InputError(fmt::format("{}: ends in its header", path)); };
  if (bytes.size() < 10) throw truncated();
  const int major = byte(6), minor = byte(7);
  if (major < 1 || major > 3 || minor != 0)
    throw InputError(
        fmt::format("{}: is of .npy version {}.{}, not 1.0, 2.0 or 3.0", path, major, minor));
  const std::size_t start = major == 1 ? 10 : 12;
  if (bytes.size() < start) throw truncated();
  std::size_t length = 0;
  for (std::size_t i = start; i-- > 8;) length = length << 8 | byte(i);
  if (bytes.size() - start < length) throw truncated();

  const Header header = HeaderParser(path, bytes.substr(start, length)).parse();
  TensorContents contents;
  TensorInfo info{std::filesystem::path(path).stem().string(), "", *header.shape};
  const auto type = type_of(*header.descr);
  if (!type) {
    contents.skipped.push_back({info.name, not_readable(*header.descr)});
    return contents;
  }
  if (*header.fortran_order && info.shape.size() > 1)
    throw InputError(fmt::format(
        "{}: is in Fortran order; save numpy.ascontiguousarray(...) of the array instead", path));
  const std::size_t begin = start + length, held = bytes.size() - begin;
  const auto needed = bytes_of(info.shape, 8 * type->bytes());
  if (!needed || static_cast<std::size_t>(*needed) != held)
    throw InputError(fmt::format("{}: holds {} bytes of data; [{}] of {} needs {}", path, held,
                                 fmt::join(info.shape, ", "), *header.descr,
                                 needed ? std::to_string(*needed) : "more than can be counted"));
  info.dtype = type->name();
  contents.add(std::move(info), *type, file, begin);
  return contents;
}

}  // namespace ospsim
