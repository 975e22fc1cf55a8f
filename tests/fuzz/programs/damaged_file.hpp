#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace ospsim {

/// A sound file, and damaged copies of it.
class DamagedFile {
 public:
  /// `write` makes the sound file at the path it is given.
  template <class F>
  explicit DamagedFile(const F& write)
      : path_(std::filesystem::temp_directory_path() /
              ("ospsim-fuzz-" + std::to_string(getpid()) + ".h5")) {
    write(path_.string());
    std::ifstream file(path_, std::ios::binary);
    sound_.assign(std::istreambuf_iterator<char>(file), {});
  }
  ~DamagedFile() { std::filesystem::remove(path_); }

  /// Two bytes say how much is cut off the end, then each three change one byte.
  const std::string damage(const std::uint8_t* data, std::size_t size) const {
    std::string bytes = sound_;
    if (size >= 2) bytes.resize(bytes.size() - (data[0] + 256u * data[1]) % bytes.size());
    for (std::size_t i = 2; i + 2 < size; i += 3)
      bytes[(data[i] + 256u * data[i + 1]) % bytes.size()] = static_cast<char>(data[i + 2]);
    std::ofstream(path_, std::ios::binary) << bytes;
    return path_.string();
  }

 private:
  std::filesystem::path path_;
  std::string sound_;
};

}  // namespace ospsim
