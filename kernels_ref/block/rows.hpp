#pragma once

#include <cstdint>

namespace ospsim {

/// A contiguous array [rows, dim]; a row is a token.
struct RowsShape {
  std::int64_t rows = 0, dim = 0;
  std::int64_t elements() const { return rows * dim; }
};

}  // namespace ospsim
