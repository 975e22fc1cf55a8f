#pragma once

#include <string>

namespace ospsim {

/// A path below the top of the source tree, as one that can be opened.
std::string path_in_tree(const std::string& relative);

/// Where a named result is kept, relative to the top of the tree: results/NAME.h5 for the result of
/// record, else in results/scratch/.
std::string result_file(const std::string& name, bool of_record);
/// The same as a path that can be opened; makes the folder.
std::string result_path(const std::string& name, bool of_record);

}  // namespace ospsim
