#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "experiments/store/element_type.hpp"

namespace ospsim {

/// An open HDF5 file. Every call throws InputError in one line that names the file and the dataset;
/// the HDF5 library itself prints nothing. Datasets are named by path, "a/b"; groups on the way are
/// made. T is float, double or std::int64_t; stored numbers are converted to it on reading.
class Hdf5File {
 public:
  using Attribute = std::variant<std::int64_t, std::string>;

  static Hdf5File open(const std::string& path);  ///< for reading
  /// For writing; replaces what is there. Messages call the file `name`.
  static Hdf5File create(const std::string& path, const std::string& name);
  Hdf5File(Hdf5File&& other) noexcept;
  Hdf5File& operator=(Hdf5File&&) = delete;
  ~Hdf5File();

  /// Writes out what is buffered and closes. A file that is only destroyed may be incomplete.
  void close();

  enum class Kind { integer, real, text, other };
  Kind kind(const std::string& dataset) const;
  /// Empty for a scalar; {0} for a dataset that has no shape because it is empty.
  std::vector<std::int64_t> shape(const std::string& dataset) const;
  /// The paths of all datasets, by name; links to other places are not followed.
  std::vector<std::string> datasets() const;
  /// Nothing unless the numbers are stored in one of these formats.
  std::optional<ElementType> element_type(const std::string& dataset) const;

  template <class T>
  void create_dataset(const std::string& dataset, std::span<const std::int64_t> shape);
  /// Elements [first, first + count) along the leading index, as one contiguous block.
  template <class T>
  void write_rows(const std::string& dataset, std::int64_t first, std::int64_t count,
                  std::span<const T> values);
  template <class T>
  void read_rows(const std::string& dataset, std::int64_t first, std::int64_t count,
                 std::span<T> values) const;
  /// Elements from `first` on in row-major order, as many as fit, in the bytes they are stored in.
  void read_stored(const std::string& dataset, std::int64_t first,
                   std::span<std::byte> bytes) const;

  /// Creates and fills a dataset; an empty shape makes a scalar.
  template <class T>
  void write(const std::string& dataset, std::span<const std::int64_t> shape,
             std::span<const T> values);
  void write_texts(const std::string& dataset, std::span<const std::int64_t> shape,
                   std::span<const std::string> values);
  /// A scalar text.
  std::string read_text(const std::string& dataset) const;
  void create_group(const std::string& group);

  /// Attributes of the root group.
  void set_attribute(const std::string& name, const Attribute& value);
  void for_each_attribute(const std::function<void(const std::string&, const Attribute&)>& f) const;

 private:
  Hdf5File(std::string path, std::int64_t id);

  std::string path_;  ///< as messages call it
  std::int64_t id_;   ///< an hid_t; hdf5.h stays out of this header
};

}  // namespace ospsim
