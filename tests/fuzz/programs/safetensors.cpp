#include "tests/fuzz/programs/tensor_files.hpp"

using namespace ospsim;

namespace {

std::string file_of(const std::string& header) {
  return with_length(header, 8) +
         std::string("\x01\x80\xff\x7f\x01\x02\x03\x04\x05\x06\x07\x08", 12);
}

const std::string header = R"({"__metadata__":{"format":"pt"},
  "a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},
  "b":{"dtype":"I64","shape":[],"data_offsets":[4,12]},
  "c":{"dtype":"F32","shape":[0,7],"data_offsets":[12,12]}})";

}  // namespace

// The bytes as a file and as a header; and a sound file and a sound header, damaged.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TensorFolder folder;
  if (size == 0) return 0;
  const std::string text(text_of(data + 1, size - 1));
  const std::string files[] = {text, file_of(text), damaged(file_of(header), text),
                               file_of(damaged(header, text))};
  read_tensors(folder.write("x.safetensors", files[data[0] % 4]));
  return 0;
}
