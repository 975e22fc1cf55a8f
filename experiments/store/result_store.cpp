#include "experiments/store/result_store.hpp"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "experiments/store/hdf5_file.hpp"
#include "experiments/store/part_file.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

using Shape = std::vector<std::int64_t>;

bool is_number(const Json& value) {
  return value.is_number() || value.is_boolean() || value.is_null();
}

/// The shape of numbers nested in arrays of equal lengths; nothing for any other value.
std::optional<Shape> shape_of_numbers(const Json& value) {
  if (is_number(value)) return Shape{};
  if (!value.is_array()) return std::nullopt;
  if (value.empty()) return Shape{0};
  const auto inner = shape_of_numbers(value[0]);
  if (!inner) return std::nullopt;
  for (const auto& element : value)
    if (shape_of_numbers(element) != inner) return std::nullopt;
  Shape shape{static_cast<std::int64_t>(value.size())};
  shape.insert(shape.end(), inner->begin(), inner->end());
  return shape;
}

bool all_whole(const Json& value) {
  if (!value.is_array()) return value.is_number_integer() || value.is_boolean();
  for (const auto& element : value)
    if (!all_whole(element)) return false;
  return true;
}

template <class T>
T number_of(const Json& value) {
  if (value.is_boolean()) return static_cast<T>(value.get<bool>());
  if (value.is_null()) return std::numeric_limits<T>::quiet_NaN();
  return value.get<T>();
}

template <class T>
void flatten(const Json& value, std::vector<T>& into) {
  if (!value.is_array()) return into.push_back(number_of<T>(value));
  for (const auto& element : value) flatten(element, into);
}

template <class T>
void write_numbers(Hdf5File& file, const std::string& name, const Shape& shape, const Json& value) {
  std::vector<T> numbers;
  flatten(value, numbers);
  file.write<T>(name, shape, numbers);
}

void write_value(Hdf5File& file, const std::string& name, const Json& value);

/// The rows of a table, each an object, turned into columns.
Json columns_of(const Json& rows) {
  Json columns = Json::object();
  for (const auto& row : rows)
    for (const auto& [field, unused] : row.items()) columns[field];
  for (auto& [field, column] : columns.items())
    for (const auto& row : rows) column.push_back(row.value(field, Json()));
  return columns;
}

bool all_objects(const Json& array) {
  for (const auto& element : array)
    if (!element.is_object()) return false;
  return true;
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

void write_array(Hdf5File& file, const std::string& name, const Json& array) {
  if (all_objects(array)) return write_value(file, name, columns_of(array));
  std::vector<std::string> texts;
  for (const auto& element : array) texts.push_back(text_of(element));
  file.write_texts(name, Shape{static_cast<std::int64_t>(texts.size())}, texts);
}

void write_value(Hdf5File& file, const std::string& name, const Json& value) {
  if (value.is_object()) {
    file.create_group(name);
    for (const auto& [field, element] : value.items())
      write_value(file, fmt::format("{}/{}", name, field), element);
  } else if (const auto shape = shape_of_numbers(value)) {
    if (all_whole(value))
      write_numbers<std::int64_t>(file, name, *shape, value);
    else
      write_numbers<double>(file, name, *shape, value);
  } else if (value.is_array()) {
    write_array(file, name, value);
  } else {
    file.write_texts(name, {}, std::vector{value.get<std::string>()});
  }
}

constexpr const char* document_name = "document";

}  // namespace

std::string json_text(const Json& value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

void write_provenance(Hdf5File& file, const Json& provenance) {
  for (const auto& [name, value] : provenance.items()) {
    if (value.is_string())
      file.set_attribute(name, value.get<std::string>());
    else
      file.set_attribute(name, number_of<std::int64_t>(value));
  }
}

void save_result(const Json& document, const Json& provenance, const std::string& path) {
  PartFile part(path);
  Hdf5File file = Hdf5File::create(part.part(), path);
  write_provenance(file, provenance);
  file.write_texts(document_name, {}, std::vector{json_text(document)});
  for (const auto& [field, value] : document.items())
    if (field != document_name) write_value(file, field, value);
  file.close();
  part.commit();
}

Json load_result(const std::string& path) {
  const Hdf5File file = Hdf5File::open(path);
  Json result;
  result[document_name] =
      Json::parse(file.read_text(document_name), /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!result[document_name].is_object())
    throw InputError(fmt::format("{}: its dataset '{}' is not a JSON object", path, document_name));
  Json& provenance = result["provenance"] = Json::object();
  file.for_each_attribute([&](const std::string& name, const Hdf5File::Attribute& value) {
    std::visit([&](const auto& v) { provenance[name] = v; }, value);
  });
  return result;
}

}  // namespace ospsim
