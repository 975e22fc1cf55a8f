#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "experiments/store/strict_json.hpp"
#include "experiments/store/tensor_contents.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

constexpr std::size_t max_index = 100'000'000;

struct Shard {
  TensorContents contents;
  std::unordered_map<std::string, std::size_t> tensors, skipped;
};

Shard open_shard(const std::string& path) {
  Shard shard{safetensors_contents(path), {}, {}};
  for (const auto& tensor : shard.contents.tensors)
    shard.tensors.emplace(tensor.name, shard.tensors.size());
  for (const auto& tensor : shard.contents.skipped)
    shard.skipped.emplace(tensor.name, shard.skipped.size());
  return shard;
}

}  // namespace

TensorContents safetensors_index_contents(const std::string& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  if (text.size() > max_index)
    throw InputError(fmt::format("{}: is too large for an index of .safetensors files", path));
  std::vector<std::string> names;
  bool in_map = false;
  const auto json =
      parse_strictly(text, path, "the index", 8, [&](std::size_t depth, const std::string& key) {
        if (depth == 1) in_map = key == "weight_map";
        if (depth == 2 && in_map) names.push_back(key);
      });
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    throw InputError(fmt::format("{}: has no object weight_map of tensors and their files", path));

  TensorContents contents;
  std::map<std::string, Shard> shards;
  for (const auto& name : names) {
    const auto& value = json["weight_map"][name];
    const std::filesystem::path relative = value.is_string() ? value.get<std::string>() : "";
    require_printable(path, relative.string());
    if (!relative.has_filename() || relative.is_absolute() ||
        std::ranges::find(relative, "..") != relative.end())
      throw InputError(
          fmt::format("{}: '{}' is not mapped to a file below the index's folder", path, name));
    auto shard = shards.find(relative.string());
    if (shard == shards.end()) {
      const auto folder = std::filesystem::path(path).parent_path();
      shard = shards.emplace(relative.string(), open_shard((folder / relative).string())).first;
    }
    auto& [held, tensors, skipped] = shard->second;
    if (const auto i = tensors.find(name); i != tensors.end())
      contents.add(held.tensors[i->second], held.readers[i->second]);
    else if (const auto j = skipped.find(name); j != skipped.end())
      contents.skipped.push_back(held.skipped[j->second]);
    else
      throw InputError(fmt::format("{}: '{}' is not in '{}'", path, name, relative.string()));
  }
  return contents;
}

}  // namespace ospsim
