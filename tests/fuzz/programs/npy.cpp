#include "tests/fuzz/programs/tensor_files.hpp"

using namespace ospsim;

namespace {

std::string file_of(const std::string& header, char version) {
  return std::string("\x93NUMPY") + version + '\0' + with_length(header, version == 1 ? 2 : 4) +
         "\x01\x80\xff\x7f\x01\x02\x03\x04";
}

const std::string header = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }    \n";

}  // namespace

// The bytes as a file and as a header; and a sound file and a sound header, damaged.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TensorFolder folder;
  if (size == 0) return 0;
  const std::string text(text_of(data + 1, size - 1));
  const char version = static_cast<char>(1 + data[0] / 4 % 3);
  const std::string files[] = {text, file_of(text, version),
                               damaged(file_of(header, version), text),
                               file_of(damaged(header, text), version)};
  read_tensors(folder.write("x.npy", files[data[0] % 4]));
  return 0;
}
