#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace ospsim {

/// Parses `text`, which is `what` ("its header") in a file. Throws InputError for what is not JSON,
/// nests deeper than `max_depth`, repeats a key in an object, has control characters in a key or
/// an array of more than 1000 values. `on_key` hears of every key in order, with the number of
/// objects and arrays it lies in.
nlohmann::json parse_strictly(
    std::string_view text, const std::string& path, const std::string& what, std::size_t max_depth,
    const std::function<void(std::size_t depth, const std::string& key)>& on_key = {});

}  // namespace ospsim
