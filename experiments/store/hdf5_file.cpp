#include "experiments/store/hdf5_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

static_assert(std::is_same_v<hid_t, std::int64_t>);

/// Once per process: errors are reported through return values alone, and no clean-up runs at exit,
/// where a file that could not be written would be tried again.
void quiet_library() {
  static const bool done = [] {
    H5dont_atexit();
    H5open();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    return true;
  }();
  static_cast<void>(done);
}

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  const int error = errno;
  throw InputError(fmt::format("{}: {}{}", path, what,
                               error == 0 ? "" : fmt::format(" ({})", std::strerror(error))));
}

/// Owns one HDF5 identifier. Construction from the failure value of an HDF5 call throws.
class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle(hid_t id, Closer closer, const std::string& path, const std::string& what)
      : id_(id), closer_(closer) {
    if (id < 0) fail(path, what);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (id_ >= 0) closer_(id_);
  }
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  Closer closer_;
};

template <class T>
hid_t memory_type() {
  if constexpr (std::is_same_v<T, float>) return H5T_NATIVE_FLOAT;
  if constexpr (std::is_same_v<T, double>) return H5T_NATIVE_DOUBLE;
  if constexpr (std::is_same_v<T, std::int64_t>) return H5T_NATIVE_INT64;
}

/// Texts have a fixed length, padded with zeros: unlike texts of variable length, which live in a
/// heap of the file, they can be read from a damaged file without the library losing its way.
Handle text_type(std::size_t length, const std::string& path) {
  errno = 0;
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, path, "cannot describe text");
  if (H5Tset_size(type, length) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
      H5Tset_cset(type, H5T_CSET_UTF8) < 0)
    fail(path, "cannot describe text");
  return type;
}

/// The length of a stored text type; throws for any other type.
std::size_t text_length(hid_t type, const std::string& path, const std::string& what) {
  errno = 0;
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0)
    fail(path, fmt::format("{} is not a text of fixed length", what));
  const std::size_t length = H5Tget_size(type);
  std::error_code ignored;
  if (length > std::filesystem::file_size(path, ignored))
    fail(path, fmt::format("cannot read {}: damaged or truncated", what));
  return length;
}

Handle open_dataset(hid_t file, const std::string& path, const std::string& name) {
  errno = 0;
  if (H5Lexists(file, name.c_str(), H5P_DEFAULT) <= 0) {
    errno = 0;
    fail(path, fmt::format("has no dataset '{}'", name));
  }
  return {H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, path,
          fmt::format("'{}' is not a dataset that can be read", name)};
}

Handle dataspace(std::span<const std::int64_t> shape, const std::string& path) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose, path, "cannot describe a scalar"};
  std::vector<hsize_t> extents;
  for (const auto extent : shape) extents.push_back(static_cast<hsize_t>(extent));
  return {H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose,
          path, "cannot describe a shape"};
}

std::vector<hsize_t> extents_of(hid_t dataset, const std::string& path, const std::string& name) {
  const Handle space(H5Dget_space(dataset), H5Sclose, path, fmt::format("'{}' has no shape", name));
  if (H5Sget_simple_extent_type(space) == H5S_NULL) return {0};
  const int rank = H5Sget_simple_extent_ndims(space);
  if (rank < 0) fail(path, fmt::format("'{}' has no shape", name));
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  if (rank > 0 && H5Sget_simple_extent_dims(space, extents.data(), nullptr) < 0)
    fail(path, fmt::format("'{}' has no shape", name));
  return extents;
}

Handle create(hid_t file, const std::string& path, const std::string& name, hid_t type,
              hid_t space) {
  errno = 0;
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, path, "cannot create links");
  H5Pset_create_intermediate_group(links, 1);
  return {H5Dcreate2(file, name.c_str(), type, space, links, H5P_DEFAULT, H5P_DEFAULT), H5Dclose,
          path, fmt::format("cannot create dataset '{}'", name)};
}

/// The part of a dataset's file space that holds rows [first, first + count).
Handle select_rows(hid_t dataset, const std::string& path, const std::string& name,
                   std::int64_t first, std::int64_t count) {
  auto extents = extents_of(dataset, path, name);
  std::vector<hsize_t> start(extents.size(), 0);
  Handle space(H5Dget_space(dataset), H5Sclose, path, fmt::format("'{}' has no shape", name));
  if (extents.empty()) return space;
  start[0] = static_cast<hsize_t>(first);
  extents[0] = static_cast<hsize_t>(count);
  if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, extents.data(), nullptr) <
      0)
    fail(path, fmt::format("'{}' has no rows {} to {}", name, first, first + count));
  return space;
}

/// Whether floats of `stored` are laid out as IEEE 754 says for these sizes, or as a bfloat16.
bool has_layout(hid_t stored, std::size_t bytes, std::size_t fraction_bits, bool big_endian,
                const std::string& path) {
  const std::size_t exponent_bits = 8 * bytes - 1 - fraction_bits;
  const Handle type(H5Tcopy(H5T_IEEE_F64LE), H5Tclose, path, "cannot describe a type");
  // The fields are set before the size: a type cannot be smaller than its fields.
  return H5Tset_fields(type, 8 * bytes - 1, fraction_bits, exponent_bits, 0, fraction_bits) >= 0 &&
         H5Tset_ebias(type, (std::size_t{1} << (exponent_bits - 1)) - 1) >= 0 &&
         H5Tset_size(type, bytes) >= 0 &&
         H5Tset_order(type, big_endian ? H5T_ORDER_BE : H5T_ORDER_LE) >= 0 &&
         H5Tequal(type, stored) > 0;
}

/// The largest box that starts at element `first` and whose elements, at most `limit`, follow each
/// other in row-major order: whole rows of some dimension. Returns how many elements it has.
std::uint64_t select_box(hid_t space, std::vector<hsize_t> extents, hsize_t first, hsize_t limit) {
  hsize_t stride = 1, taken = 1;
  std::vector<hsize_t> start(extents.size()), count(extents.size(), 1);
  for (std::size_t d = extents.size(); d-- > 0;) {
    start[d] = first / stride % extents[d];
    if (first % stride == 0 && limit >= stride) {
      count[d] = std::min(extents[d] - start[d], limit / stride);
      taken = count[d] * stride;
    }
    stride *= extents[d];
  }
  if (H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr) < 0)
    return 0;
  return taken;
}

}  // namespace

Hdf5File::Hdf5File(std::string path, std::int64_t id) : path_(std::move(path)), id_(id) {}

Hdf5File::Hdf5File(Hdf5File&& other) noexcept
    : path_(std::move(other.path_)), id_(std::exchange(other.id_, -1)) {}

Hdf5File::~Hdf5File() {
  if (id_ >= 0) H5Fclose(id_);
}

Hdf5File Hdf5File::open(const std::string& path) {
  quiet_library();
  errno = 0;
  const int descriptor = ::open(path.c_str(), O_RDONLY);
  if (descriptor < 0) fail(path, "cannot be opened");
  ::close(descriptor);
  if (H5Fis_hdf5(path.c_str()) <= 0) {
    errno = 0;
    fail(path, "is not an HDF5 file");
  }
  const hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  errno = 0;
  if (id < 0) fail(path, "is a damaged or truncated HDF5 file");
  return {path, id};
}

Hdf5File Hdf5File::create(const std::string& path, const std::string& name) {
  quiet_library();
  errno = 0;
  // The file format since HDF5 1.8 has checksums on what describes the data.
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, name, "cannot be written");
  H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  const hid_t id = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
  if (id < 0) fail(name, "cannot be written");
  return {name, id};
}

void Hdf5File::close() {
  errno = 0;
  if (H5Fflush(id_, H5F_SCOPE_LOCAL) < 0 || H5Fclose(std::exchange(id_, -1)) < 0)
    fail(path_, "cannot be written");
}

Hdf5File::Kind Hdf5File::kind(const std::string& dataset) const {
  const Handle handle = open_dataset(id_, path_, dataset);
  const Handle type(H5Dget_type(handle), H5Tclose, path_, fmt::format("'{}' has no type", dataset));
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return Kind::integer;
    case H5T_FLOAT:
      return Kind::real;
    case H5T_STRING:
      return Kind::text;
    default:
      return Kind::other;
  }
}

std::vector<std::int64_t> Hdf5File::shape(const std::string& dataset) const {
  const Handle handle = open_dataset(id_, path_, dataset);
  const auto extents = extents_of(handle, path_, dataset);
  std::vector<std::int64_t> shape;
  for (const auto extent : extents) shape.push_back(static_cast<std::int64_t>(extent));
  return shape;
}

std::vector<std::string> Hdf5File::datasets() const {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5L_info_t* info, void* into) {
    if (info->type == H5L_TYPE_HARD)
      static_cast<std::vector<std::string>*>(into)->emplace_back(name);
    return herr_t{0};
  };
  errno = 0;
  if (H5Lvisit(id_, H5_INDEX_NAME, H5_ITER_INC, collect, &names) < 0)
    fail(path_, "its datasets cannot be listed: damaged or truncated");
  std::erase_if(names, [&](const std::string& name) {
    const Handle object(H5Oopen(id_, name.c_str(), H5P_DEFAULT), H5Oclose, path_,
                        fmt::format("'{}' cannot be opened: damaged or truncated", name));
    return H5Iget_type(object) != H5I_DATASET;
  });
  return names;
}

std::optional<ElementType> Hdf5File::element_type(const std::string& dataset) const {
  const Handle handle = open_dataset(id_, path_, dataset);
  const Handle type(H5Dget_type(handle), H5Tclose, path_, fmt::format("'{}' has no type", dataset));
  if (H5Tget_class(type) != H5T_FLOAT) return std::nullopt;
  using enum ElementType::Format;
  for (const bool big_endian : {false, true}) {
    if (has_layout(type, 8, 52, big_endian, path_)) return ElementType{f64, big_endian};
    if (has_layout(type, 4, 23, big_endian, path_)) return ElementType{f32, big_endian};
    if (has_layout(type, 2, 10, big_endian, path_)) return ElementType{f16, big_endian};
    if (has_layout(type, 2, 7, big_endian, path_)) return ElementType{bf16, big_endian};
  }
  return std::nullopt;
}

template <class T>
void Hdf5File::create_dataset(const std::string& dataset, std::span<const std::int64_t> shape) {
  const Handle space = dataspace(shape, path_);
  const Handle handle = ospsim::create(id_, path_, dataset, memory_type<T>(), space);
}

template <class T>
void Hdf5File::write_rows(const std::string& dataset, std::int64_t first, std::int64_t count,
                          std::span<const T> values) {
  if (values.empty()) return;
  const Handle handle = open_dataset(id_, path_, dataset);
  const std::int64_t size = static_cast<std::int64_t>(values.size());
  const Handle memory = dataspace(std::span(&size, 1), path_);
  const Handle rows = select_rows(handle, path_, dataset, first, count);
  errno = 0;
  if (H5Dwrite(handle, memory_type<T>(), memory, rows, H5P_DEFAULT, values.data()) < 0)
    fail(path_, fmt::format("cannot write '{}'", dataset));
}

template <class T>
void Hdf5File::read_rows(const std::string& dataset, std::int64_t first, std::int64_t count,
                         std::span<T> values) const {
  const Handle handle = open_dataset(id_, path_, dataset);
  const std::int64_t size = static_cast<std::int64_t>(values.size());
  const Handle memory = dataspace(std::span(&size, 1), path_);
  const Handle rows = select_rows(handle, path_, dataset, first, count);
  errno = 0;
  if (H5Dread(handle, memory_type<T>(), memory, rows, H5P_DEFAULT, values.data()) < 0)
    fail(path_, fmt::format("cannot read '{}': damaged or truncated", dataset));
}

void Hdf5File::read_stored(const std::string& dataset, std::int64_t first,
                           std::span<std::byte> bytes) const {
  const Handle handle = open_dataset(id_, path_, dataset);
  const Handle type(H5Dget_type(handle), H5Tclose, path_, fmt::format("'{}' has no type", dataset));
  const Handle space(H5Dget_space(handle), H5Sclose, path_,
                     fmt::format("'{}' has no shape", dataset));
  const auto extents = extents_of(handle, path_, dataset);
  const std::size_t size = H5Tget_size(type);
  while (!bytes.empty()) {
    errno = 0;
    const std::uint64_t count =
        extents.empty()
            ? 1
            : select_box(space, extents, static_cast<hsize_t>(first), bytes.size() / size);
    const std::int64_t elements = static_cast<std::int64_t>(count);
    const Handle memory = dataspace(std::span(&elements, 1), path_);
    if (count == 0 || H5Dread(handle, type, memory, space, H5P_DEFAULT, bytes.data()) < 0)
      fail(path_, fmt::format("cannot read '{}': damaged or truncated", dataset));
    first += elements;
    bytes = bytes.subspan(count * size);
  }
}

template <class T>
void Hdf5File::write(const std::string& dataset, std::span<const std::int64_t> shape,
                     std::span<const T> values) {
  create_dataset<T>(dataset, shape);
  write_rows<T>(dataset, 0, shape.empty() ? 1 : shape[0], values);
}

template void Hdf5File::create_dataset<float>(const std::string&, std::span<const std::int64_t>);
template void Hdf5File::write_rows<float>(const std::string&, std::int64_t, std::int64_t,
                                          std::span<const float>);
template void Hdf5File::read_rows<float>(const std::string&, std::int64_t, std::int64_t,
                                         std::span<float>) const;
template void Hdf5File::read_rows<double>(const std::string&, std::int64_t, std::int64_t,
                                          std::span<double>) const;
template void Hdf5File::read_rows<std::int64_t>(const std::string&, std::int64_t, std::int64_t,
                                                std::span<std::int64_t>) const;
template void Hdf5File::write<float>(const std::string&, std::span<const std::int64_t>,
                                     std::span<const float>);
template void Hdf5File::write<double>(const std::string&, std::span<const std::int64_t>,
                                      std::span<const double>);
template void Hdf5File::write<std::int64_t>(const std::string&, std::span<const std::int64_t>,
                                            std::span<const std::int64_t>);

void Hdf5File::write_texts(const std::string& dataset, std::span<const std::int64_t> shape,
                           std::span<const std::string> values) {
  std::size_t length = 1;
  for (const auto& value : values) length = std::max(length, value.size());
  std::string padded(length * values.size(), '\0');
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i].copy(padded.data() + i * length, length);
  const Handle type = text_type(length, path_);
  const Handle space = dataspace(shape, path_);
  const Handle handle = ospsim::create(id_, path_, dataset, type, space);
  errno = 0;
  if (!values.empty() && H5Dwrite(handle, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()) < 0)
    fail(path_, fmt::format("cannot write '{}'", dataset));
}

std::string Hdf5File::read_text(const std::string& dataset) const {
  const std::string name = fmt::format("'{}'", dataset);
  const Handle handle = open_dataset(id_, path_, dataset);
  const Handle stored(H5Dget_type(handle), H5Tclose, path_, name + " has no type");
  const std::size_t length = text_length(stored, path_, name);
  if (!extents_of(handle, path_, dataset).empty()) fail(path_, name + " is not a single text");
  std::string text(length, '\0');
  if (H5Dread(handle, text_type(length, path_), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0)
    fail(path_, fmt::format("cannot read {}: damaged or truncated", name));
  text.erase(std::min(text.find('\0'), text.size()));
  return text;
}

void Hdf5File::create_group(const std::string& group) {
  errno = 0;
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, path_, "cannot create links");
  H5Pset_create_intermediate_group(links, 1);
  const Handle handle(H5Gcreate2(id_, group.c_str(), links, H5P_DEFAULT, H5P_DEFAULT), H5Gclose,
                      path_, fmt::format("cannot create group '{}'", group));
}

void Hdf5File::set_attribute(const std::string& name, const Attribute& value) {
  const Handle space = dataspace({}, path_);
  const auto write = [&](hid_t type, const void* data) {
    errno = 0;
    const Handle handle(H5Acreate2(id_, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT),
                        H5Aclose, path_, fmt::format("cannot create attribute '{}'", name));
    if (H5Awrite(handle, type, data) < 0)
      fail(path_, fmt::format("cannot write attribute '{}'", name));
  };
  if (const auto* number = std::get_if<std::int64_t>(&value))
    return write(H5T_NATIVE_INT64, number);
  const std::string& text = std::get<std::string>(value);
  write(text_type(text.size() + 1, path_), text.c_str());
}

void Hdf5File::for_each_attribute(
    const std::function<void(const std::string&, const Attribute&)>& f) const {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5A_info_t*, void* into) {
    static_cast<std::vector<std::string>*>(into)->emplace_back(name);
    return herr_t{0};
  };
  errno = 0;
  if (H5Aiterate2(id_, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect, &names) < 0)
    fail(path_, "its attributes cannot be read: damaged or truncated");
  for (const auto& name : names) {
    const std::string unreadable = fmt::format("cannot read attribute '{}'", name);
    const Handle handle(H5Aopen(id_, name.c_str(), H5P_DEFAULT), H5Aclose, path_, unreadable);
    const Handle space(H5Aget_space(handle), H5Sclose, path_, unreadable);
    const Handle stored(H5Aget_type(handle), H5Tclose, path_, unreadable);
    if (H5Sget_simple_extent_type(space) != H5S_SCALAR) continue;
    if (H5Tget_class(stored) == H5T_INTEGER) {
      std::int64_t number = 0;
      if (H5Aread(handle, H5T_NATIVE_INT64, &number) < 0) fail(path_, unreadable);
      f(name, number);
    } else {
      const std::size_t length = text_length(stored, path_, fmt::format("attribute '{}'", name));
      std::string text(length, '\0');
      if (H5Aread(handle, text_type(length, path_), text.data()) < 0) fail(path_, unreadable);
      text.erase(std::min(text.find('\0'), text.size()));
      f(name, text);
    }
  }
}

}  // namespace ospsim
