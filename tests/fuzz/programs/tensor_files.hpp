#pragma once

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/store/tensor_file.hpp"
#include "tests/fuzz/programs/fuzz.hpp"

namespace ospsim {

/// A folder for files to be read back, which goes away with its owner.
class TensorFolder {
 public:
  TensorFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "ospsim-fuzz-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TensorFolder() { std::filesystem::remove_all(path_); }

  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

/// `header` after its length, a little-endian number of `bytes` bytes.
inline std::string with_length(const std::string& header, int bytes) {
  std::string length;
  for (int i = 0; i < bytes; ++i) length += static_cast<char>(header.size() >> 8 * i);
  return length + header;
}

/// `sound` with a part replaced: two bytes say where, one how long, the rest what by.
inline std::string damaged(std::string sound, std::string_view text) {
  if (text.size() < 3) return sound;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t from = (byte(0) + 256u * byte(1)) % sound.size();
  sound.replace(from, std::min<std::size_t>(byte(2) % 64, sound.size() - from), text.substr(3));
  return sound;
}

/// Opens a small file and reads all of it twice, whole and in two pieces.
inline void read_tensors(const std::string& path) {
  only_input_errors([&] {
    const TensorFile file = TensorFile::open(path);
    require(!file.tensors().empty());
    for (std::size_t i = 0; i < file.tensors().size(); ++i) {
      const auto& tensor = file.tensors()[i];
      require(file.tensors()[file.index_of(tensor.name)].shape == tensor.shape);
      std::vector<float> values(static_cast<std::size_t>(tensor.elements())), again = values;
      file.read(i, 0, values);
      const std::size_t half = values.size() / 2;
      file.read(i, 0, std::span(again).first(half));
      file.read(i, static_cast<std::int64_t>(half), std::span(again).subspan(half));
      require(std::equal(values.begin(), values.end(), again.begin(),
                         [](float a, float b) { return a == b || (a != a && b != b); }));
    }
  });
}

}  // namespace ospsim
