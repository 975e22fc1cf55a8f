#include "kernels_ref/backend.hpp"

#include <fmt/format.h>

#include "kernels_ref/errors.hpp"

namespace ospsim {

Backend parse_backend(std::string_view text) {
  if (text == "naive") return Backend::naive;
  if (text == "cpu") return Backend::cpu;
  if (text == "cuda") return Backend::cuda;
  throw InputError(fmt::format("backend '{}' is not naive, cpu or cuda", text));
}

}  // namespace ospsim
