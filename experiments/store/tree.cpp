#include "experiments/store/tree.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "build_info.hpp"

namespace ospsim {

std::string result_file(const std::string& name, bool of_record) {
  return fmt::format("results/{}{}.h5", of_record ? "" : "scratch/", name);
}

std::string result_path(const std::string& name, bool of_record) {
  const std::string path = path_in_tree(result_file(name, of_record));
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  return path;
}

std::string path_in_tree(const std::string& relative) {
  return fmt::format("{}/{}", build::source_directory, relative);
}

}  // namespace ospsim
