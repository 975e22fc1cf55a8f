#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace ospsim {

/// A file's bytes, mapped for reading from front to back; no descriptor stays open. Sizes are
/// checked against this one look at the file: who shortens it later ends the program by SIGBUS.
class MappedFile {
 public:
  /// Throws InputError in one line that names the file.
  explicit MappedFile(const std::string& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Lets go of the memory behind a part that has been read; it can be read again.
  void release(std::size_t begin, std::size_t size) const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ospsim
