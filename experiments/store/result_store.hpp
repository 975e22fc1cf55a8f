#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ospsim {

using Json = nlohmann::ordered_json;

class Hdf5File;

/// A result file is HDF5. Its root attributes are the provenance; the dataset `document` holds the
/// result as JSON text; and the same result lies beside it as a tree for h5py and its like:
///   object            group
///   number, text      scalar dataset (true and false are 1 and 0; null is NaN)
///   array of numbers  dataset; of equally long arrays of numbers: dataset of more dimensions
///   array of objects  group with one dataset per field (a table's columns)
///   any other array   dataset with each element as JSON text

/// Writes a result file, whole or not at all. `provenance` is an object of texts and integers, as
/// made by `provenance()`. Throws InputError in one line that names the file.
void save_result(const Json& document, const Json& provenance, const std::string& path);

/// {"document": ..., "provenance": ...} of a file that `save_result` wrote. Throws InputError.
Json load_result(const std::string& path);

/// JSON text, indented unless `indent` is negative; bytes that are no UTF-8 are replaced.
std::string json_text(const Json& value, int indent = -1);

/// Writes `provenance` as attributes of the root group.
void write_provenance(Hdf5File& file, const Json& provenance);

}  // namespace ospsim
