#pragma once

#include <initializer_list>
#include <string>

namespace ospsim {

/// What the libraries that are used are called, the best version first.
inline constexpr std::initializer_list<const char*> cublaslt_sonames{"libcublasLt.so.13",
                                                                     "libcublasLt.so.12"};
inline constexpr std::initializer_list<const char*> cudnn_sonames{"libcudnn.so.9"};

/// A shared library that is opened at run time, so that programs start on machines without it. It
/// stays open until the program ends: what it hands out may be used by then.
class Library {
 public:
  /// Opens the first of `sonames` that the dynamic linker finds, e.g. {"libcudnn.so.9"}. Throws
  /// UnavailableError, naming the first and saying how to make it findable.
  explicit Library(std::initializer_list<const char*> sonames);

  /// The function of this name; F is its type: symbol<decltype(cudnnCreate)>("cudnnCreate").
  /// Throws UnavailableError where this version of the library lacks it.
  template <class F>
  F* symbol(const char* name) const {
    return reinterpret_cast<F*>(address(name));
  }

 private:
  void* address(const char* name) const;

  std::string soname_;
  void* handle_ = nullptr;
};

}  // namespace ospsim
