#include "kernels_ref/backend.hpp"

#include "kernels_ref/names.hpp"

namespace ospsim {

Backend parse_backend(std::string_view text) {
  constexpr Named<Backend> names[]{
      {"naive", Backend::naive}, {"cpu", Backend::cpu}, {"cuda", Backend::cuda}};
  return parse_name(names, "backend", text);
}

}  // namespace ospsim
