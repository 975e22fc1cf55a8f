#include "experiments/store/mapped_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels_ref/errors.hpp"

namespace ospsim {

MappedFile::MappedFile(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe waits for its writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0)
    throw InputError(fmt::format("{}: cannot be opened ({})", path, std::strerror(errno)));
  struct stat status {};
  const bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  void* mapped = nullptr;
  if (regular && status.st_size > 0) {
    size_ = static_cast<std::size_t>(status.st_size);
    mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  }
  const int error = errno;
  ::close(descriptor);
  if (!regular) throw InputError(fmt::format("{}: is not a regular file", path));
  if (mapped == MAP_FAILED)
    throw InputError(fmt::format("{}: cannot be mapped ({})", path, std::strerror(error)));
  if (mapped != nullptr) madvise(mapped, size_, MADV_SEQUENTIAL);
  data_ = static_cast<const std::byte*>(mapped);
}

void MappedFile::release(std::size_t begin, std::size_t size) const {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t first = (begin + page - 1) / page * page, end = (begin + size) / page * page;
  if (first < end) madvise(const_cast<std::byte*>(data_) + first, end - first, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace ospsim
