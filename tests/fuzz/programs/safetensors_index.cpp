#include "tests/fuzz/programs/tensor_files.hpp"

using namespace ospsim;

namespace {

const std::string shard = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                          R"("b":{"dtype":"U8","shape":[],"data_offsets":[4,5]}})";
const std::string index =
    R"({"metadata":{"total_size":5},"weight_map":{"a":"1.safetensors","b":"1.safetensors"}})";

}  // namespace

// The bytes as an index, and a sound index, damaged, beside a sound shard.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TensorFolder folder;
  static const std::string beside = folder.write("1.safetensors", with_length(shard, 8) + "12345");
  if (size == 0) return 0;
  const std::string text(text_of(data + 1, size - 1));
  read_tensors(folder.write("m.safetensors.index.json", data[0] % 2 ? text : damaged(index, text)));
  return 0;
}
