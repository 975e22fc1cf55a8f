#include "experiments/store/strict_json.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "experiments/store/tensor_contents.hpp"
#include "kernels_ref/errors.hpp"

namespace ospsim {
namespace {

using nlohmann::json;

/// Builds the document. The library's parser with a callback takes time quadratic in the number of
/// an object's members, and its parser without one keeps the last of equal keys.
class Builder final : public nlohmann::json_sax<json> {
 public:
  Builder(const std::string& path, const std::string& what, std::size_t max_depth,
          const std::function<void(std::size_t, const std::string&)>& on_key)
      : path_(path), what_(what), max_depth_(max_depth), on_key_(on_key) {}

  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& key) override {
    require_printable(path_, key);
    if (open_.back()->contains(key)) fail(fmt::format("has '{}' twice", key));
    if (on_key_) on_key_(open_.size(), key);
    key_ = std::move(key);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    fail("is not JSON");
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw InputError(fmt::format("{}: {} {}", path_, what_, why));
  }
  json& place() {
    if (open_.empty()) return root_;
    json& parent = *open_.back();
    if (parent.is_object()) return parent[key_];
    if (parent.size() >= 1000) fail("has an array of more than 1000 values");
    return parent.emplace_back();
  }
  bool add(json value) {
    place() = std::move(value);
    return true;
  }
  bool open(json value) {
    if (open_.size() >= max_depth_) fail(fmt::format("nests deeper than {}", max_depth_));
    json& opened = place() = std::move(value);
    open_.push_back(&opened);
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& path_;
  const std::string& what_;
  std::size_t max_depth_;
  const std::function<void(std::size_t, const std::string&)>& on_key_;
  json root_;
  std::vector<json*> open_;
  std::string key_;
};

}  // namespace

json parse_strictly(std::string_view text, const std::string& path, const std::string& what,
                    std::size_t max_depth,
                    const std::function<void(std::size_t, const std::string&)>& on_key) {
  Builder builder(path, what, max_depth, on_key);
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

}  // namespace ospsim
