#pragma once

#include <cstdint>
#include <string>

#include "experiments/store/result_store.hpp"

namespace ospsim {

/// The layout of result files; counts up when a reader of an older one would be misled.
inline constexpr std::int64_t schema_version = 1;

/// What a result came from: everything needed to obtain it again, as a flat object of texts and
/// integers. `options` are the settings the result depends on; `configuration` is their JSON text
/// and `fingerprint` its hash, equal for equal settings on every machine.
Json provenance(const std::string& command_line, const std::string& command, const Json& options,
                std::int64_t seed);

/// FNV-1a, 64 bits, as 16 hexadecimal digits.
std::string fingerprint(const std::string& text);

}  // namespace ospsim
