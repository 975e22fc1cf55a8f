#include "kernels_ref/cuda/library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include "kernels_ref/errors.hpp"

namespace ospsim {

Library::Library(std::initializer_list<const char*> sonames) {
  std::string reason;
  for (const char* const soname : sonames) {
    handle_ = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    soname_ = soname;
    if (handle_ != nullptr) return;
    if (reason.empty()) reason = dlerror();
  }
  throw UnavailableError(fmt::format(
      "cannot open {} ({}); put its folder on LD_LIBRARY_PATH: PyTorch's wheels carry it, under "
      "site-packages/nvidia/*/lib",
      *sonames.begin(), reason));
}

void* Library::address(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr)
    throw UnavailableError(fmt::format("{} has no {}: another version is needed", soname_, name));
  return found;
}

}  // namespace ospsim
